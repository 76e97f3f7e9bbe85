//! `POST /generation-jobs {prompt, input_asset_id? | influencer_id?, model_preset, pose_preset, scene_preset,
//! generation_type}`: asks for a picture. 202, or 200 when the same request was answered before.
//!
//! - Who may call: a signed-in user of the Supabase project.
//! - Effects: one RPC checks the wish and the hourly limit, reserves the credits and makes the job; then its message goes to
//!   process-generation-job's queue. When the queue does not answer, the sweeper sends the message within minutes.
//! - Once only: the same `Idempotency-Key` is the same job; while that still waits, its message is sent again, which does no
//!   harm. A request without a key is one of its own.

mod config;
mod wish;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use domain::id::UserId;
use job_queue::Queue;
use lambda_http::{Body, Request, Response};
use lambda_kit::ApiError;
use supabase_client::{CreateJobOutcome, Service, SupabaseError};

pub use config::Config;
use wish::Wish;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: Service,
    queue: Queue,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        // Keys, two tries, and the queue's twelve seconds: all of it within the API's 30 seconds.
        let http = http_client::client(Duration::from_secs(4))?;
        Ok(Self {
            verifier: Verifier::new(http.clone(), config.auth.clone()),
            supabase: Service::new(http, config.auth.supabase_url, config.supabase_secret_key),
            queue: Queue::new(config.generation_queue_url),
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 400 `malformed_json`, 401 `unauthenticated`, 402 `insufficient_credits` with `credits` and `cost`, 422 `invalid_fields`,
/// 429 `rate_limited`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let wish = Wish::parse(&request)?;

    let asked = ask(&deps.supabase, caller.user_id, &wish).await;
    let asked = asked.map_err(|error| ApiError::unavailable("database_unavailable", error))?;
    job_desk::answer(&deps.queue, asked).await
}

/// Asks once more when no answer comes: the first request may have been carried out all the same, and its user may not know
/// its key.
async fn ask(supabase: &Service, user_id: UserId, wish: &Wish) -> Result<CreateJobOutcome, SupabaseError> {
    match supabase.create_generation_job(user_id, &wish.request_key, &wish.generation).await {
        Err(SupabaseError::Unavailable(_)) => {
            supabase.create_generation_job(user_id, &wish.request_key, &wish.generation).await
        }
        answer => answer,
    }
}
