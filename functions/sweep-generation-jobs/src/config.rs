//! The settings of sweep-generation-jobs.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What sweep-generation-jobs reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its secret key.
    pub supabase_secret_key: SecretString,
    /// The queue that process-generation-job reads.
    pub generation_queue_url: Url,
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
            supabase_url: settings.url("SUPABASE_URL")?,
            supabase_secret_key: settings.secret("SUPABASE_SECRET_KEY")?,
            generation_queue_url: settings.url("GENERATION_QUEUE_URL")?,
            erasure_queue_url: settings.url("ERASURE_QUEUE_URL")?,
        })
    }
}
