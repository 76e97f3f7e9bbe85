//! The settings of cancel-generation-job.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What cancel-generation-job reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its secret key.
    pub supabase_secret_key: SecretString,
    /// Its legacy HS256 secret, where tokens are still signed with it.
    pub supabase_jwt_secret: Option<SecretString>,
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
            supabase_jwt_secret: settings.optional("SUPABASE_JWT_SECRET").map(Into::into),
        })
    }
}
