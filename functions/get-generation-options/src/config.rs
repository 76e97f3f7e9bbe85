//! The settings of get-generation-options.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What get-generation-options reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its publishable key.
    pub supabase_publishable_key: SecretString,
    /// Its legacy HS256 secret, where tokens are still signed with it.
    pub supabase_jwt_secret: Option<SecretString>,
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
            supabase_publishable_key: settings.secret("SUPABASE_PUBLISHABLE_KEY")?,
            supabase_jwt_secret: settings.optional("SUPABASE_JWT_SECRET").map(Into::into),
            media_bucket: settings.text("MEDIA_BUCKET")?,
            media_base_url: settings.url("MEDIA_BASE_URL")?,
        })
    }
}
