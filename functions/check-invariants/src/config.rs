//! The settings of check-invariants.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What check-invariants reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its secret key.
    pub supabase_secret_key: SecretString,
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
        })
    }
}
