//! Image models, whoever runs them: asks for a picture, and says how it stands.
//!
//! Replicate (<https://replicate.com/docs/reference/http>) and fal
//! (<https://fal.ai/docs/api-reference/inference-api>) look the same from outside; which one works on a job is a word in
//! a row ([`Providers::named`]). Nothing is fetched here, and no rule about jobs lives here. A prediction costs money: no
//! request that makes one is repeated, and [`Provider::find`] finds the one whose maker died before it could note it.

mod fal;
mod reading;
mod replicate;
mod rest;
pub mod webhook;

use domain::id::JobId;
use jiff::Timestamp;
use url::Url;

pub use fal::Fal;
pub use replicate::Replicate;
pub use rest::ModelError;

/// Where Replicate's API is.
pub const REPLICATE_API_URL: &str = "https://api.replicate.com";
/// Where fal's queue is.
pub const FAL_API_URL: &str = "https://queue.fal.run";
/// Where fal says which requests there were.
pub const FAL_PLATFORM_URL: &str = "https://api.fal.ai";

/// A picture to make, upright: 2:3.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// For which job.
    pub job_id: JobId,
    /// The provider's name for the model: `black-forest-labs/flux-1.1-pro`, `owner/name:version`, `fal-ai/flux/dev`.
    pub model: &'a str,
    /// What it is to show.
    pub prompt: &'a str,
    /// Give one: by prompt and seed a prediction is known again where nothing else tells whose it is.
    pub seed: Option<i64>,
    /// A link to the picture to start from, which the provider can open.
    pub image_url: Option<&'a str>,
    /// Where the provider may say that it is done; [`webhook::read`] then tells for which job. Whoever waits for that must
    /// look now and then all the same: webhooks get lost, and fal sends none.
    pub webhook: Option<&'a Url>,
}

/// How a prediction stands. The messages are the provider's words and may quote the prompt: not for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Under way.
    Running {
        /// Percent, where the model says.
        progress: Option<u8>,
    },
    /// Done.
    Succeeded {
        /// Links to what was made, at least one. They end within the hour.
        images: Vec<String>,
        /// The seed that made it, where it is known.
        seed: Option<i64>,
    },
    /// The model would not: its safety rules.
    Refused {
        /// Why.
        message: String,
    },
    /// The model could not.
    Failed {
        /// Why.
        message: String,
        /// Whether another prediction may do better.
        retryable: bool,
    },
    /// Somebody stopped it, or it ran for longer than we let it.
    Cancelled,
    /// The provider does not know it, or what it made, any more.
    Unknown,
}

/// Who runs models.
#[derive(Clone, Debug)]
pub enum Provider {
    /// Replicate.
    Replicate(Replicate),
    /// fal.
    Fal(Fal),
}

impl Provider {
    /// Its name in rows.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Replicate(_) => "replicate",
            Self::Fal(_) => "fal",
        }
    }

    /// Has the picture made; answers the prediction's id. Once for each job, unless [`find`](Self::find) found nothing or
    /// the last one came to nothing.
    ///
    /// # Errors
    /// When it is not certain that a prediction was made: it may have been, but after [`ModelError::Refused`] and where
    /// [`ModelError::Unavailable`] says that the request was not taken.
    pub async fn submit(&self, order: &Order<'_>) -> Result<String, ModelError> {
        match self {
            Self::Replicate(replicate) => replicate.submit(order).await,
            Self::Fal(fal) => fal.submit(order).await,
        }
    }

    /// How a prediction stands.
    ///
    /// # Errors
    /// When the provider gives no usable answer, which says nothing about the prediction.
    pub async fn standing(&self, id: &str) -> Result<Standing, ModelError> {
        match self {
            Self::Replicate(replicate) => replicate.standing(id).await,
            Self::Fal(fal) => fal.standing(id).await,
        }
    }

    /// The prediction that was made for this order at `since` or later, the newest if there are several; `None` when it is certain
    /// that there is none.
    ///
    /// # Errors
    /// When the provider gives no usable answer, or cannot know yet: ask again then, and do not submit. [`ModelError::Lost`] when
    /// it never will know.
    pub async fn find(&self, order: &Order<'_>, since: Timestamp) -> Result<Option<String>, ModelError> {
        match self {
            Self::Replicate(replicate) => replicate.find(order, since).await,
            Self::Fal(fal) => fal.find(order, since).await,
        }
    }

    /// Stops a prediction that nobody waits for; one that has ended, or that nobody knows, is left as it is.
    ///
    /// # Errors
    /// When the provider gives no usable answer.
    pub async fn cancel(&self, id: &str) -> Result<(), ModelError> {
        match self {
            Self::Replicate(replicate) => replicate.cancel(id).await,
            Self::Fal(fal) => fal.cancel(id).await,
        }
    }
}

/// Those that are set up.
#[derive(Clone, Debug)]
pub struct Providers(pub Vec<Provider>);

impl Providers {
    /// The one that rows call so; `None` when it is not set up.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.name() == name)
    }
}

impl Order<'_> {
    /// Whether a prediction with these words and this seed may be ours. Without a seed of our own it may as well not be.
    fn is_like(&self, input: &serde_json::Value) -> bool {
        self.seed.is_some() && input["seed"].as_i64() == self.seed && input["prompt"] == self.prompt
    }
}
