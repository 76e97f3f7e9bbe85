//! The settings of replicate-webhook.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What replicate-webhook reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Signs what Replicate sends: `whsec_` and base64.
    pub replicate_webhook_secret: SecretString,
    /// The queue that process-generation-job reads.
    pub generation_queue_url: Url,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            replicate_webhook_secret: settings.secret("REPLICATE_WEBHOOK_SECRET")?,
            generation_queue_url: settings.url("GENERATION_QUEUE_URL")?,
        })
    }
}
