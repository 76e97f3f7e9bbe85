//! The settings of create-checkout-session.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use stripe_client::Site;
use url::Url;

/// What create-checkout-session reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call.
    pub auth: auth::Config,
    /// The Supabase project's secret key.
    pub supabase_secret_key: SecretString,
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
            supabase_secret_key: settings.secret("SUPABASE_SECRET_KEY")?,
            stripe_api_url: settings.url_or("STRIPE_API_URL", stripe_client::API_URL)?,
            stripe_secret_key: settings.secret("STRIPE_SECRET_KEY")?,
            site: Site::of(&settings.list("SITE_ORIGINS")).ok_or(malformed)?,
        })
    }
}
