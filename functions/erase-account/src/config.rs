//! The settings of erase-account.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What erase-account reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its secret key.
    pub supabase_secret_key: SecretString,
    /// Stripe's API.
    pub stripe_api_url: Url,
    /// The account's key; a restricted one that may write subscriptions and checkout sessions will do.
    pub stripe_secret_key: SecretString,
    /// The bucket of images.
    pub media_bucket: String,
    /// What our URLs of images begin with.
    pub media_base_url: Url,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            supabase_url: settings.url("SUPABASE_URL")?,
            supabase_secret_key: settings.secret("SUPABASE_SECRET_KEY")?,
            stripe_api_url: settings.url_or("STRIPE_API_URL", stripe_client::API_URL)?,
            stripe_secret_key: settings.secret("STRIPE_SECRET_KEY")?,
            media_bucket: settings.text("MEDIA_BUCKET")?,
            media_base_url: settings.url("MEDIA_BASE_URL")?,
        })
    }
}
