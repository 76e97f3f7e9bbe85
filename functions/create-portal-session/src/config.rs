//! The settings of create-portal-session.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use stripe_client::Site;
use url::Url;

/// What create-portal-session reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call.
    pub auth: auth::Config,
    /// Stripe's API, or on one machine what stands in for it.
    pub stripe_api_url: Url,
    /// Its secret key.
    pub stripe_secret_key: SecretString,
    /// The origins of our pages: Stripe sends people back to these only.
    pub site: Site,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        let malformed = SettingError::Malformed("SITE_ORIGINS", "a list of origins such as https://example.com");
        Ok(Self {
            auth: auth::Config::read(settings)?,
            stripe_api_url: settings.url_or("STRIPE_API_URL", stripe_client::API_URL)?,
            stripe_secret_key: settings.secret("STRIPE_SECRET_KEY")?,
            site: Site::of(&settings.list("SITE_ORIGINS")).ok_or(malformed)?,
        })
    }
}
