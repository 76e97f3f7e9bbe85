//! SQS: brings a generation job one step further, whatever step is next.
//!
//! - Trigger: a [`GenerateImage`] message from create-generation-job, from a prediction's webhook, or from the sweeper.
//! - Effects: a prediction at the provider; the picture and its smaller sizes in the bucket; the job completed, or failed and its
//!   credits given back. It never waits for a prediction: it notes it and ends, and the webhook's message goes on.
//! - Once only: messages come twice and late. One worker holds a job at a time, by a lease. A prediction that an earlier worker
//!   asked for and died is looked for before another is asked for, so that none is paid for twice. A job ends once.
//! - What can never succeed fails the job at once. What may succeed later goes back to the queue; the last failure is recorded
//!   too, and the message lies among the dead letters.

mod config;
mod picture;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use domain::{generation::Failure, text::ImagePrompt};
use http_client::guarded::{FetchError, Guarded, Policy};
use image_models::{ModelError, Order, Provider, Providers, Standing};
use imaging::ImageError;
use jiff::Timestamp;
use job_queue::{GenerateImage, Queue};
use lambda_kit::{Message, Spool, metrics};
use media_store::MediaStore;
use supabase_client::{ClaimOutcome, ClaimedJob, JobMove, JobOutput, Service, SupabaseError};
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

pub use config::Config;

/// How long a worker has a job for itself. The function has 90 s, and no step outlives its lease.
const LEASE_SECONDS: u32 = 100;
/// All that is done for one message.
const WORK_TOTAL: Duration = Duration::from_secs(70);
/// When the sweeper asks how a prediction stands whose webhook did not come.
const LOOK_SECONDS: u32 = 240;
/// When it comes back to a job whose step failed.
const AGAIN_SECONDS: u32 = 60;
/// A fetch that takes longer is tried again later.
const FETCH_TOTAL: Duration = Duration::from_secs(30);
/// A silence of the other side that is long enough to give up.
const FETCH_STALL: Duration = Duration::from_secs(5);
/// Predictions for one job, where they fail in a way that another try may mend.
const MAX_PREDICTIONS: i32 = 3;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    supabase: Service,
    models: Providers,
    web: Guarded,
    media: MediaStore,
    queue: Queue,
    webhook_url: Url,
    max_receive_count: u32,
    /// Decoding takes memory by the pixel: one picture at a time.
    decoding: Arc<Semaphore>,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built, or `LOCAL_IMAGE_ORIGIN` is not on loopback.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(5))?;
        let models = config.providers()?;
        let policy = Policy {
            hosts: config.image_hosts,
            local_origin: config.local_image_origin,
            max_bytes: config.max_image_bytes,
            stall: FETCH_STALL,
            total: FETCH_TOTAL,
        };
        Ok(Self {
            supabase: Service::new(http, config.supabase_url, config.supabase_secret_key),
            models,
            web: Guarded::new(policy)?,
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
            queue: Queue::new(config.generation_queue_url),
            webhook_url: config.replicate_webhook_url,
            max_receive_count: config.generation_max_receive_count,
            decoding: Arc::new(Semaphore::new(1)),
        })
    }
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
enum StepError {
    /// It never will be.
    #[error("it can never succeed")]
    Never(Failure, #[source] anyhow::Error),
    /// It may be at another time.
    #[error("it may succeed later")]
    Later(#[source] anyhow::Error),
}

/// What is to happen next with a job that was worked on.
enum Next {
    /// Nothing: it has ended, somebody else has it, or its webhook comes.
    Nothing,
    /// There may be news already.
    LookAgain,
}

/// Serves one message.
///
/// # Errors
/// When it may succeed later, so that the message goes back to the queue.
pub async fn handle(deps: Arc<Deps>, message: Message<GenerateImage>) -> anyhow::Result<()> {
    let (job_id, token) = (message.body.job_id, Uuid::new_v4());
    let claimed = deps.supabase.claim_generation_job(job_id, token, LEASE_SECONDS).await;
    let job = match claimed.context("failed to claim the job")? {
        ClaimOutcome::Claimed { job } => job,
        // Whoever is at it is told that there may be news.
        outcome @ (ClaimOutcome::Busy | ClaimOutcome::Finished { .. } | ClaimOutcome::NotFound) => {
            tracing::info!(job.id = %job_id, ?outcome, "nothing to do for this job");
            return Ok(());
        }
    };

    let step = tokio::time::timeout(WORK_TOTAL, step(&deps, &job, token)).await;
    match step.unwrap_or_else(|late| Err(StepError::Later(late.into()))) {
        Ok(Next::Nothing) => Ok(()),
        Ok(Next::LookAgain) => deps.queue.send(&message.body).await,
        Err(StepError::Never(failure, cause)) => fail(&deps, &job, token, failure, &cause).await,
        Err(StepError::Later(cause)) if message.receive_count >= deps.max_receive_count => {
            fail(&deps, &job, token, Failure::Unavailable, &cause).await?;
            Err(cause)
        }
        Err(StepError::Later(cause)) => {
            // Best effort: else the lease ends by itself.
            let released = deps.supabase.release_generation_job(job_id, token, AGAIN_SECONDS, None, false).await;
            tracing::info!(job.id = %job_id, released = ?released.ok(), "job let go");
            Err(cause)
        }
    }
}

async fn step(deps: &Deps, job: &ClaimedJob, token: Uuid) -> Result<Next, StepError> {
    let Some(model) = deps.models.named(&job.provider) else {
        return Err(never(Failure::Unavailable, "its provider is not set up"));
    };
    let Some(prediction) = &job.prediction_id else { return submit(deps, model, job, token).await };
    match model.standing(prediction).await? {
        Standing::Succeeded { images, seed } => match images.first() {
            Some(image) => bring(deps, job, image, seed).await,
            None => Err(never(Failure::OutputInvalid, "it made no picture")),
        },
        Standing::Running { .. } if job.past_deadline => {
            match model.cancel(prediction).await {
                // It cannot be stopped, and nobody waits for it any more.
                Ok(()) | Err(ModelError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            Err(never(Failure::TimedOut, "it runs past its deadline"))
        }
        Standing::Running { progress } => {
            moved(deps.supabase.release_generation_job(job.id, token, LOOK_SECONDS, progress, false).await)
        }
        Standing::Failed { retryable: true, .. } if job.predictions < MAX_PREDICTIONS && !job.past_deadline => {
            again(deps, job, token).await
        }
        // The provider's words may quote the prompt: they stay out of the log.
        Standing::Refused { .. } => Err(never(Failure::Refused, "the model refused")),
        Standing::Failed { .. } => Err(never(Failure::ModelFailed, "the model failed")),
        // By us, who could not say so then, or because the provider's own time for it was over.
        Standing::Cancelled => Err(never(Failure::TimedOut, "the prediction was stopped")),
        Standing::Unknown => Err(never(Failure::OutputInvalid, "the provider knows it no more")),
    }
}

/// Has the picture made, once: what an earlier worker may have asked for before it died is looked for first.
async fn submit(deps: &Deps, model: &Provider, job: &ClaimedJob, token: Uuid) -> Result<Next, StepError> {
    // A client may have put the row in by itself, past create-generation-job.
    let words = ImagePrompt::parse(&job.prompt).map_err(|error| StepError::Never(Failure::Refused, error.into()))?;
    let prompt = prompt(job, &words);
    let image_url = match job.input_asset_id {
        Some(asset_id) => {
            let key = MediaStore::clean_copy_key(job.user_id, asset_id);
            let link = deps.media.link(&deps.media.url(&key), Timestamp::now()).await.map_err(StepError::Later)?;
            Some(link.url)
        }
        None => None,
    };
    let order = Order {
        job_id: job.id,
        model: &job.model,
        prompt: &prompt,
        seed: Some(job.base_seed.unwrap_or_else(|| seed_of(job))),
        image_url: image_url.as_deref(),
        webhook: Some(&deps.webhook_url),
    };
    let earlier = match job.submitted_before {
        Some(since) => model.find(&order, since).await?,
        None => None,
    };
    let prediction = match earlier {
        Some(prediction) => prediction,
        None if job.past_deadline => return Err(never(Failure::TimedOut, "it was not begun before its deadline")),
        None if job.submitted_before.is_some() && !afresh(deps, job, token).await? => return Ok(Next::Nothing),
        None => match model.submit(&order).await {
            Err(error @ ModelError::Unavailable { not_taken: true, .. }) => {
                // Best effort: else the next worker looks for what was never asked for.
                let _ = deps.supabase.release_generation_job(job.id, token, AGAIN_SECONDS, None, true).await;
                return Err(error.into());
            }
            submitted => submitted?,
        },
    };
    tracing::info!(job.id = %job.id, prediction.id = prediction, "prediction under way");
    moved(deps.supabase.note_prediction(job.id, token, &prediction, LOOK_SECONDS).await)
}

/// Lets the next message ask for a prediction afresh.
async fn again(deps: &Deps, job: &ClaimedJob, token: Uuid) -> Result<Next, StepError> {
    moved(deps.supabase.release_generation_job(job.id, token, 0, None, true).await)?;
    Ok(Next::LookAgain)
}

/// Nothing came of what was asked for before: from now on only what is asked for next has to be looked for. Whether the job is
/// still ours.
async fn afresh(deps: &Deps, job: &ClaimedJob, token: Uuid) -> Result<bool, StepError> {
    moved(deps.supabase.release_generation_job(job.id, token, 0, None, true).await)?;
    let claimed = deps.supabase.claim_generation_job(job.id, token, LEASE_SECONDS).await;
    let claimed = claimed.context("failed to claim the job again").map_err(StepError::Later)?;
    Ok(matches!(claimed, ClaimOutcome::Claimed { .. }))
}

/// The character's words, those of the presets, and the user's.
fn prompt(job: &ClaimedJob, words: &ImagePrompt) -> String {
    let parts = job.base_prompt.as_deref().into_iter().chain([words.as_str()]);
    parts
        .chain(job.preset_prompts.iter().map(String::as_str))
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// A seed for who has none: the same job asks for the same picture.
fn seed_of(job: &ClaimedJob) -> i64 {
    (job.id.0.as_u128() & 0x7fff_ffff) as i64
}

/// Fetches, looks, renders, stores, completes.
async fn bring(deps: &Deps, job: &ClaimedJob, url: &str, seed: Option<i64>) -> Result<Next, StepError> {
    let later = |error: std::io::Error| StepError::Later(error.into());
    let file = Spool::new().map_err(later)?;
    let bytes = deps.web.fetch(url, &mut file.writer().map_err(later)?).await?;
    let folder = tempfile::tempdir().map_err(later)?;
    let rendered = picture::render(&file.path(), folder.path(), &deps.decoding).await?;

    let key = |name: &str| MediaStore::output_key(job.user_id, job.id, name);
    let original = key(&format!("original.{}", rendered.extension));
    for (key, path, content_type) in [
        (&original, &file.path(), rendered.content_type),
        (&key("screen.webp"), &rendered.screen, "image/webp"),
        (&key("thumb.webp"), &rendered.thumb, "image/webp"),
    ] {
        deps.media.put(key, path, content_type).await.map_err(StepError::Later)?;
    }
    let output = JobOutput {
        image_url: deps.media.url(&original),
        object_key: original,
        content_type: rendered.content_type.to_owned(),
        bytes,
        width: rendered.width,
        height: rendered.height,
        blurhash: rendered.blurhash,
        seed,
    };
    let completed = deps.supabase.complete_generation_job(job.id, &output).await;
    let outcome = completed.context("failed to complete the job").map_err(StepError::Later)?;
    tracing::info!(job.id = %job.id, user.id = %job.user_id, bytes, ?outcome, "picture stored");
    if outcome == JobMove::Completed {
        metrics::count("GenerationJobsCompleted", 1);
    }
    Ok(Next::Nothing)
}

async fn fail(
    deps: &Deps,
    job: &ClaimedJob,
    token: Uuid,
    failure: Failure,
    cause: &anyhow::Error,
) -> anyhow::Result<()> {
    let recorded = deps.supabase.fail_generation_job(job.id, token, failure.code(), failure.message()).await;
    let outcome = recorded.context("failed to record that the job came to nothing")?;
    let (code, cause) = (failure.code(), format!("{cause:#}"));
    tracing::warn!(job.id = %job.id, user.id = %job.user_id, code, cause, ?outcome, "job failed");
    if outcome == JobMove::Failed {
        metrics::count_of("GenerationJobsFailed", ("Reason", code), 1);
    }
    Ok(())
}

fn never(failure: Failure, cause: &'static str) -> StepError {
    StepError::Never(failure, anyhow::anyhow!(cause))
}

/// What a move of the database means for what comes next.
fn moved(answer: Result<JobMove, SupabaseError>) -> Result<Next, StepError> {
    match answer.context("failed to let go of the job").map_err(StepError::Later)? {
        JobMove::Poked => Ok(Next::LookAgain),
        _ => Ok(Next::Nothing),
    }
}

impl From<ModelError> for StepError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Refused { .. } | ModelError::Lost => Self::Never(Failure::Unavailable, error.into()),
            ModelError::Unavailable { .. } | ModelError::Garbled(_) => Self::Later(error.into()),
        }
    }
}

impl From<FetchError> for StepError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::NotAllowed(_) | FetchError::Gone(_) | FetchError::TooLarge(_) => {
                Self::Never(Failure::OutputInvalid, error.into())
            }
            FetchError::Unavailable(_) | FetchError::Sink(_) => Self::Later(error.into()),
        }
    }
}

impl From<ImageError> for StepError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::TooLarge | ImageError::Invalid(_) => Self::Never(Failure::OutputInvalid, error.into()),
            ImageError::Unreadable(_) => Self::Later(error.into()),
        }
    }
}
