//! The settings of publish-image.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;

/// What publish-image reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call.
    pub auth: auth::Config,
    /// The Supabase project's secret key.
    pub supabase_secret_key: SecretString,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self { auth: auth::Config::read(settings)?, supabase_secret_key: settings.secret("SUPABASE_SECRET_KEY")? })
    }
}
