//! The settings of process-generation-job.

use image_models::{FAL_API_URL, FAL_PLATFORM_URL, Fal, Provider, Providers, REPLICATE_API_URL, Replicate};
use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What process-generation-job reads from the environment.
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
    /// The queue that it reads: a job that is to be looked at again goes there.
    pub generation_queue_url: Url,
    /// How often the queue hands a message out before it counts as dead.
    pub generation_max_receive_count: u32,
    /// Replicate's API.
    pub replicate_api_url: Url,
    /// The token for it.
    pub replicate_api_token: SecretString,
    /// Where Replicate says that a prediction is done.
    pub replicate_webhook_url: Url,
    /// fal's queue.
    pub fal_api_url: Url,
    /// fal's list of requests.
    pub fal_platform_url: Url,
    /// The key for both; without one fal is not used.
    pub fal_key: Option<SecretString>,
    /// Hosts from which images may be fetched: each name and everything below it.
    pub image_hosts: Vec<String>,
    /// Most bytes of an image.
    pub max_image_bytes: u64,
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
            generation_queue_url: settings.url("GENERATION_QUEUE_URL")?,
            generation_max_receive_count: settings.number("GENERATION_MAX_RECEIVE_COUNT")?,
            replicate_api_url: settings.url_or("REPLICATE_API_URL", REPLICATE_API_URL)?,
            replicate_api_token: settings.secret("REPLICATE_API_TOKEN")?,
            replicate_webhook_url: settings.url("REPLICATE_WEBHOOK_URL")?,
            fal_api_url: settings.url_or("FAL_API_URL", FAL_API_URL)?,
            fal_platform_url: settings.url_or("FAL_PLATFORM_URL", FAL_PLATFORM_URL)?,
            fal_key: settings.optional("FAL_KEY").map(Into::into),
            image_hosts: settings.list("IMAGE_HOSTS"),
            max_image_bytes: settings.number("MAX_IMAGE_BYTES")?,
            local_image_origin: match settings.optional("LOCAL_IMAGE_ORIGIN") {
                Some(_) => Some(settings.url("LOCAL_IMAGE_ORIGIN")?),
                None => None,
            },
        })
    }

    /// The providers that are set up.
    pub(crate) fn providers(&self) -> anyhow::Result<Providers> {
        let replicate = Replicate::new(self.replicate_api_url.clone(), self.replicate_api_token.clone())?;
        let mut all = vec![Provider::Replicate(replicate)];
        if let Some(key) = &self.fal_key {
            all.push(Provider::Fal(Fal::new(self.fal_api_url.clone(), self.fal_platform_url.clone(), key.clone())?));
        }
        Ok(Providers(all))
    }
}
