//! `POST /generation-jobs/{id}/retry`: asks for a picture that failed once more, as a new job. Answers as create-generation-job.
//!
//! - Who may call: a signed-in user of the Supabase project, for jobs of her own.
//! - Effects: as create-generation-job's; the credits of the one that failed are back already.
//! - Once only: a job has one retry. Asked again, that is the answer, whatever came of it; it may be retried itself.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use job_queue::Queue;
use lambda_http::{Body, Request, Response};
use lambda_kit::ApiError;
use supabase_client::Service;

pub use config::Config;

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
        // Keys, the database and the queue's twelve seconds: all of it within the API's 30 seconds.
        let http = http_client::client(Duration::from_secs(5))?;
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
/// 401 `unauthenticated`, 402 `insufficient_credits` with `credits` and `cost`, 404 `no_such_job`, 409 `not_failed`,
/// 422 `invalid_fields` when something that it was made of is no longer there, 429 `rate_limited`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let job_id = job_desk::job_id(&request)?;

    let asked = deps.supabase.retry_generation_job(caller.user_id, job_id).await;
    let asked = asked.map_err(|error| ApiError::unavailable("database_unavailable", error))?;
    job_desk::answer(&deps.queue, asked).await
}
