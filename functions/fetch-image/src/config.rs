//! The settings of fetch-image.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What fetch-image reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its secret key.
    pub supabase_secret_key: SecretString,
    /// The bucket of images.
    pub media_bucket: String,
    /// What our URLs of images begin with.
    pub media_base_url: Url,
    /// Hosts from which images may be fetched: each name and everything below it.
    pub image_hosts: Vec<String>,
    /// Most bytes of an image.
    pub max_image_bytes: u64,
    /// How often the queue hands a message out before it counts as dead.
    pub image_max_receive_count: u32,
    /// Development only: an origin on loopback that may be fetched over plain http.
    pub local_image_origin: Option<Url>,
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
            media_bucket: settings.text("MEDIA_BUCKET")?,
            media_base_url: settings.url("MEDIA_BASE_URL")?,
            image_hosts: settings.list("IMAGE_HOSTS"),
            max_image_bytes: settings.number("MAX_IMAGE_BYTES")?,
            image_max_receive_count: settings.number("IMAGE_MAX_RECEIVE_COUNT")?,
            local_image_origin: match settings.optional("LOCAL_IMAGE_ORIGIN") {
                Some(_) => Some(settings.url("LOCAL_IMAGE_ORIGIN")?),
                None => None,
            },
        })
    }
}
