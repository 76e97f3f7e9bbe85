//! Function URL for n8n: takes what the set-up workflow made, or why it could not.
//!
//! `POST {influencer_id, base_prompt, seed, image_url}` or `{influencer_id, error}`. Who signs instead of sending the token adds
//! the `attempt` of the order; without it the first one is meant.
//!
//! - Who may call: who holds the callback token of this start of this influencer's set-up (Bearer), or signs the body with
//!   the shared secret (`X-Signature`).
//! - Effects: prompt and seed are stored and the image's fetch is queued, or the failure is recorded.
//! - Once only: one RPC decides. The same callback again changes nothing and answers 200; while the image is still awaited it
//!   is queued once more, because the first time may have died before the queue had it. fetch-image bears that.

mod callback;
mod config;

use std::{sync::Arc, time::Duration};

use auth::{bearer, callback_token, signature};
use domain::influencer::{Failure, State};
use jiff::Timestamp;
use job_queue::{FetchImage, Queue};
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json, metrics, trace};
use serde_json::json;
use supabase_client::{CallbackOutcome, FailOutcome, Influencer, Service, SupabaseError};

use callback::{Callback, Made};
pub use config::Config;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    config: Config,
    supabase: Service,
    image_queue: Queue,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(5))?;
        Ok(Self {
            supabase: Service::new(http, config.supabase_url.clone(), config.supabase_secret_key.clone()),
            image_queue: Queue::new(config.image_queue_url.clone()),
            config,
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 400 `malformed_json`, 401 `unauthenticated`, 404 `no_such_influencer`, 409 `influencer_locked`, `superseded` or
/// `callback_conflict`, 422 `invalid_fields`, 503 `database_unavailable` or `queue_unavailable` (send it again).
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let received = receive(&deps, &request).await;
    let outcome = match &received {
        Ok(Received::Recorded) => "recorded",
        Ok(Received::Failed) => "failed",
        Ok(Received::Duplicate) => "duplicate",
        Err(error) => error.code(),
    };
    metrics::count_of("N8nCallbacks", ("Outcome", outcome), 1);
    let status = match received? {
        Received::Recorded | Received::Failed => StatusCode::ACCEPTED,
        Received::Duplicate => StatusCode::OK,
    };
    json(status, &json!({ "received": true }))
}

/// What a callback has changed.
enum Received {
    /// Her image is on its way.
    Recorded,
    /// Her failure is known.
    Failed,
    /// Nothing: it came before.
    Duplicate,
}

async fn receive(deps: &Deps, request: &Request) -> Result<Received, ApiError> {
    let scope = authenticate(&deps.config, request)?;
    if let Some(trace) = scope.and_then(|scope| scope.trace) {
        trace::join(trace);
    }
    let callback = Callback::parse(request.body())?;
    if scope.is_some_and(|scope| scope.influencer_id != callback.influencer_id) {
        return Err(ApiError::unauthenticated("The token is for another influencer."));
    }
    let attempt = scope.map(|scope| scope.attempt).or(callback.attempt);

    match callback.result {
        Ok(made) => record(deps, callback.influencer_id, attempt, made).await,
        Err(message) => {
            let failure = Failure::WorkflowFailed;
            let failed =
                deps.supabase.fail_influencer(callback.influencer_id, attempt, State::Requested, failure, &message);
            let outcome = failed.await.map_err(database_unavailable)?;
            tracing::info!(influencer.id = %callback.influencer_id, ?outcome, "workflow failed");
            match outcome {
                FailOutcome::Failed => {
                    metrics::count_of("InfluencersFailed", ("Reason", failure.code()), 1);
                    Ok(Received::Failed)
                }
                FailOutcome::Duplicate => Ok(Received::Duplicate),
                FailOutcome::Locked => Err(locked()),
                FailOutcome::Superseded => Err(superseded()),
                FailOutcome::Conflict => Err(conflict()),
                FailOutcome::NotFound => Err(not_found()),
            }
        }
    }
}

/// What the token is good for; `None` for a signature, which is good for every influencer.
fn authenticate(config: &Config, request: &Request) -> Result<Option<callback_token::Scope>, ApiError> {
    if let Some(header) = request.headers().get(signature::HEADER) {
        let right = header.to_str().is_ok_and(|header| {
            signature::verify(&config.callback_hmac_secret, header, Timestamp::now(), request.body().as_ref())
        });
        return if right { Ok(None) } else { Err(ApiError::unauthenticated("The signature is wrong or too old.")) };
    }
    let token = bearer(request.headers());
    let token =
        token.ok_or_else(|| ApiError::unauthenticated("Send the callback token as Bearer, or sign the body."))?;
    let scope = callback_token::verify(&config.callback_token_secret, token);
    let scope =
        scope.map_err(|error| ApiError::unauthenticated("The callback token is wrong or expired.").because(error))?;
    Ok(Some(scope))
}

async fn record(
    deps: &Deps,
    influencer_id: domain::id::InfluencerId,
    attempt: Option<i32>,
    made: Made,
) -> Result<Received, ApiError> {
    let recorded =
        deps.supabase.record_callback(influencer_id, attempt, &made.base_prompt, made.seed, &made.image_url).await;
    match recorded.map_err(database_unavailable)? {
        CallbackOutcome::Recorded { influencer } => {
            tracing::info!(influencer.id = %influencer_id, attempt = influencer.attempt, "callback recorded");
            queue_image(deps, influencer, made.image_url).await?;
            Ok(Received::Recorded)
        }
        CallbackOutcome::Duplicate { influencer } => {
            if influencer.state == State::ImagePending {
                queue_image(deps, influencer, made.image_url).await?;
            }
            Ok(Received::Duplicate)
        }
        CallbackOutcome::Locked => Err(locked()),
        CallbackOutcome::Superseded => Err(superseded()),
        CallbackOutcome::Conflict => Err(conflict()),
        CallbackOutcome::NotFound => Err(not_found()),
    }
}

async fn queue_image(deps: &Deps, her: Influencer, image_url: String) -> Result<(), ApiError> {
    let message = FetchImage { influencer_id: her.id, user_id: her.user_id, attempt: her.attempt, image_url };
    deps.image_queue.send(&message).await.map_err(|error| ApiError::unavailable("queue_unavailable", error))
}

fn database_unavailable(error: SupabaseError) -> ApiError {
    ApiError::unavailable("database_unavailable", error)
}

fn locked() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "influencer_locked", "She is complete and never changes again.")
}

fn superseded() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "superseded", "The set-up was started again since; this answer came too late.")
}

fn conflict() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "callback_conflict", "Another result was recorded before.")
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_such_influencer", "There is no influencer with this id.")
}
