//! SQS: brings the first image of a character into our bucket and completes her.
//!
//! - Trigger: a [`FetchImage`] message from n8n-callback.
//! - Effects: the image at its key in the bucket, then one RPC that stores our URL and locks her.
//! - Once only: messages come twice, late and out of order. One whose start of the set-up is not (or no longer) waiting for an
//!   image does nothing; an image of the same or a later start in the bucket is left alone; the RPC locks once. Killed between
//!   bucket and database, the message comes again and finds its way.
//! - What can never succeed fails her at once, with a sentence for the user. What may succeed later goes back to the queue; the
//!   last failure is recorded too, and the message lies among the dead letters.

mod config;
mod picture;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use domain::influencer::{Failure, State};
use http_client::guarded::{FetchError, Guarded, Policy};
use job_queue::FetchImage;
use lambda_kit::{Message, Spool, metrics};
use media_store::MediaStore;
use supabase_client::{FailOutcome, LockOutcome, Service, SetUp};
use tokio::sync::Semaphore;

pub use config::Config;
use picture::PictureError;

/// All that is done for one image. The function has 30 s, and needs some to read the set-up before and to record a failure after.
const BRING_TOTAL: Duration = Duration::from_secs(18);
/// A fetch that takes longer is tried again later.
const FETCH_TOTAL: Duration = Duration::from_secs(12);
/// A silence of the other side that is long enough to give up.
const FETCH_STALL: Duration = Duration::from_secs(5);

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    supabase: Service,
    web: Guarded,
    media: MediaStore,
    max_receive_count: u32,
    /// Decoding takes memory by the pixel: one image at a time.
    decoding: Arc<Semaphore>,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built, or `LOCAL_IMAGE_ORIGIN` is not on loopback.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(5))?;
        let policy = Policy {
            hosts: config.image_hosts,
            local_origin: config.local_image_origin,
            max_bytes: config.max_image_bytes,
            stall: FETCH_STALL,
            total: FETCH_TOTAL,
        };
        Ok(Self {
            supabase: Service::new(http, config.supabase_url, config.supabase_secret_key),
            web: Guarded::new(policy)?,
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
            max_receive_count: config.image_max_receive_count,
            decoding: Arc::new(Semaphore::new(1)),
        })
    }
}

/// Why an image did not get into the bucket.
#[derive(Debug, thiserror::Error)]
enum BringError {
    /// It never will.
    #[error("it can never succeed")]
    Never(Failure, #[source] anyhow::Error),
    /// It may at another time.
    #[error("it may succeed later")]
    Later(#[source] anyhow::Error),
}

/// Serves one message.
///
/// # Errors
/// When it may succeed later, so that the message goes back to the queue.
pub async fn handle(deps: Arc<Deps>, message: Message<FetchImage>) -> anyhow::Result<()> {
    let job = &message.body;
    let set_up = deps.supabase.set_up(job.influencer_id).await.context("failed to read the set-up")?;
    if !set_up.is_some_and(|set_up| waits_for(&set_up, job)) {
        tracing::info!(influencer.id = %job.influencer_id, attempt = job.attempt, "image not wanted (any more)");
        return Ok(());
    }

    let brought = tokio::time::timeout(BRING_TOTAL, bring(&deps, job)).await;
    match brought.unwrap_or_else(|late| Err(BringError::Later(late.into()))) {
        Ok(()) => Ok(()),
        Err(BringError::Never(failure, cause)) => fail(&deps, job, failure, &cause).await.map(drop),
        Err(BringError::Later(cause)) if message.receive_count >= deps.max_receive_count => {
            match fail(&deps, job, Failure::ImageUnavailable, &cause).await {
                // It was done after all: only the answer was lost.
                Ok(FailOutcome::Locked) => Ok(()),
                // Should recording fail too, the deadline tells the user instead.
                _ => Err(cause),
            }
        }
        Err(BringError::Later(cause)) => Err(cause),
    }
}

/// Whether the set-up is at the step that this message is for. One that was given up may be redriven.
fn waits_for(set_up: &SetUp, job: &FetchImage) -> bool {
    let given_up = set_up.failure_code.as_deref() == Some(Failure::ImageUnavailable.code());
    set_up.attempt == job.attempt && (set_up.state == State::ImagePending || given_up)
}

/// Fetches, looks, stores, locks.
async fn bring(deps: &Deps, job: &FetchImage) -> Result<(), BringError> {
    let later = |error: std::io::Error| BringError::Later(error.into());
    let file = Spool::new().map_err(later)?;
    let mut sink = file.writer().map_err(later)?;
    let bytes = deps.web.fetch(&job.image_url, &mut sink).await?;
    let kind = picture::inspect(&file.path(), &deps.decoding).await?;

    let key = MediaStore::initial_image_key(job.user_id, job.influencer_id, kind.extension);
    let stored = deps.media.put_initial_image(&key, &file.path(), kind.content_type, job.attempt).await;
    let stored = stored.map_err(BringError::Later)?;
    let locked = deps.supabase.lock_influencer(job.influencer_id, job.attempt, &deps.media.url(&key)).await;
    let outcome = locked.context("failed to lock the influencer").map_err(BringError::Later)?;
    tracing::info!(influencer.id = %job.influencer_id, attempt = job.attempt, bytes, ?stored, ?outcome, "image stored");
    if outcome == LockOutcome::Locked {
        metrics::count("InfluencersCompleted", 1);
    }
    Ok(())
}

async fn fail(deps: &Deps, job: &FetchImage, failure: Failure, cause: &anyhow::Error) -> anyhow::Result<FailOutcome> {
    let recorded = deps.supabase.fail_influencer(
        job.influencer_id,
        Some(job.attempt),
        State::ImagePending,
        failure,
        failure.message(),
    );
    let outcome = recorded.await.context("failed to record that the image cannot be had")?;
    let (code, cause) = (failure.code(), format!("{cause:#}"));
    tracing::warn!(influencer.id = %job.influencer_id, attempt = job.attempt, code, cause, ?outcome, "image failed");
    if outcome == FailOutcome::Failed {
        metrics::count_of("InfluencersFailed", ("Reason", code), 1);
    }
    Ok(outcome)
}

impl From<FetchError> for BringError {
    fn from(error: FetchError) -> Self {
        let failure = match &error {
            FetchError::NotAllowed(_) => Failure::ImageHostNotAllowed,
            FetchError::Gone(_) => Failure::ImageNotFound,
            FetchError::TooLarge(_) => Failure::ImageTooLarge,
            FetchError::Unavailable(_) | FetchError::Sink(_) => return Self::Later(error.into()),
        };
        Self::Never(failure, error.into())
    }
}

impl From<PictureError> for BringError {
    fn from(error: PictureError) -> Self {
        let failure = match &error {
            PictureError::TooLarge => Failure::ImageTooLarge,
            PictureError::Invalid(_) => Failure::ImageInvalid,
            PictureError::Unreadable(_) => return Self::Later(error.into()),
        };
        Self::Never(failure, error.into())
    }
}
