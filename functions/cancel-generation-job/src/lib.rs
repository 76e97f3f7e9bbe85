//! `DELETE /generation-jobs/{id}`: cancels a picture that nobody has started, and gives its credits back.
//!
//! - Who may call: a signed-in user of the Supabase project, for jobs of her own.
//! - Effects: one RPC, which decides against the worker: whichever comes first. The job's message, when it comes, finds it over.
//! - Once only: cancelled again, it is cancelled; the credits come back once.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json, metrics};
use serde_json::json;
use supabase_client::{CancelOutcome, Service};

pub use config::Config;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: Service,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(5))?;
        Ok(Self {
            verifier: Verifier::new(http.clone(), config.auth.clone()),
            supabase: Service::new(http, config.auth.supabase_url, config.supabase_secret_key),
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 404 `no_such_job`, 409 `already_started` or `already_finished`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let job_id = job_desk::job_id(&request)?;

    let cancelled = deps.supabase.cancel_generation_job(caller.user_id, job_id).await;
    match cancelled.map_err(|error| ApiError::unavailable("database_unavailable", error))? {
        CancelOutcome::Cancelled { remaining_credits, now } => {
            if now {
                metrics::count("GenerationJobsCancelled", 1);
            }
            tracing::info!(user.id = %caller.user_id, job.id = %job_id, "job cancelled");
            let answer = json!({ "status": "cancelled", "remaining_credits": remaining_credits, "refunded": true });
            json(StatusCode::OK, &answer)
        }
        CancelOutcome::Started => {
            let detail = "It has started and can no longer be cancelled. If it fails, your credits come back.";
            Err(ApiError::new(StatusCode::CONFLICT, "already_started", detail))
        }
        CancelOutcome::Finished { .. } => {
            let detail = "It is finished and can no longer be cancelled.";
            Err(ApiError::new(StatusCode::CONFLICT, "already_finished", detail))
        }
        CancelOutcome::NotFound => Err(job_desk::no_such_job()),
    }
}
