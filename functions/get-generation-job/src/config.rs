//! The settings of get-generation-job.

use lambda_kit::{SettingError, Settings};
use url::Url;

/// What get-generation-job reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call.
    pub auth: auth::Config,
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
            auth: auth::Config::read(settings)?,
            media_bucket: settings.text("MEDIA_BUCKET")?,
            media_base_url: settings.url("MEDIA_BASE_URL")?,
        })
    }
}
