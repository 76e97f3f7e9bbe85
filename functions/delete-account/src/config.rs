//! The settings of delete-account.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What delete-account reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call.
    pub auth: auth::Config,
    /// The Supabase project's secret key.
    pub supabase_secret_key: SecretString,
    /// The queue that erase-account reads.
    pub erasure_queue_url: Url,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            auth: auth::Config::read(settings)?,
            supabase_secret_key: settings.secret("SUPABASE_SECRET_KEY")?,
            erasure_queue_url: settings.url("ERASURE_QUEUE_URL")?,
        })
    }
}
