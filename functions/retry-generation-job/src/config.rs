//! The settings of retry-generation-job.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What retry-generation-job reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call.
    pub auth: auth::Config,
    /// The Supabase project's secret key.
    pub supabase_secret_key: SecretString,
    /// The queue of jobs to work on.
    pub generation_queue_url: Url,
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
            generation_queue_url: settings.url("GENERATION_QUEUE_URL")?,
        })
    }
}
