//! The settings of n8n-callback.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What n8n-callback reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its secret key.
    pub supabase_secret_key: SecretString,
    /// Signed the callback tokens.
    pub callback_token_secret: SecretString,
    /// Key of the signature that may come instead of a token.
    pub callback_hmac_secret: SecretString,
    /// The queue that fetch-image reads.
    pub image_queue_url: Url,
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
            callback_token_secret: settings.secret("CALLBACK_TOKEN_SECRET")?,
            callback_hmac_secret: settings.secret("CALLBACK_HMAC_SECRET")?,
            image_queue_url: settings.url("IMAGE_QUEUE_URL")?,
        })
    }
}
