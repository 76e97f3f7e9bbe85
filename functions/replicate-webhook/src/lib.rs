//! Function URL for Replicate's webhooks (<https://replicate.com/docs/topics/webhooks>): a prediction is done, so its job goes on.
//!
//! - Who may call: who signs the raw body as Standard Webhooks are, within 300 seconds.
//! - Effects: a message to process-generation-job, which asks Replicate itself how the prediction stands. Nothing in the body is
//!   believed but which prediction it is about.
//! - Once only: messages may come twice and late. Replicate repeats for about a minute what is answered with 5xx; should all
//!   of that fail, the sweeper finds the job.

mod config;

use std::sync::Arc;

use image_models::webhook::{self, Key};
use jiff::Timestamp;
use job_queue::{GenerateImage, Queue};
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json, metrics, trace};
use serde_json::json;

pub use config::Config;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    key: Key,
    queue: Queue,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When the secret is not of its form.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        Ok(Self { key: Key::new(&config.replicate_webhook_secret)?, queue: Queue::new(config.generation_queue_url) })
    }
}

/// Serves one request.
///
/// # Errors
/// 400 `not_a_prediction`, 401 `unauthenticated`, 503 `queue_unavailable` (send it again).
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let received = receive(&deps, &request).await;
    let outcome = match &received {
        Ok(true) => "queued",
        Ok(false) => "not_ours",
        Err(error) => error.code(),
    };
    metrics::count_of("ReplicateWebhooks", ("Outcome", outcome), 1);
    received?;
    json(StatusCode::OK, &json!({ "received": true }))
}

/// Whether it was about a job of ours, which is in the queue now.
async fn receive(deps: &Deps, request: &Request) -> Result<bool, ApiError> {
    if !webhook::verify(&deps.key, request.headers(), request.body(), Timestamp::now()) {
        return Err(ApiError::unauthenticated("The signature is wrong or too old."));
    }
    let notice = webhook::read(request.uri().query(), request.body()).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, "not_a_prediction", "The body is no prediction.").because(error)
    })?;
    let Some(notice) = notice else {
        tracing::info!("a prediction for no job of ours");
        return Ok(false);
    };
    if let Some(trace) = notice.trace {
        trace::join(trace);
    }
    let message = GenerateImage { job_id: notice.job_id };
    let sent = deps.queue.send(&message).await;
    sent.map_err(|error| ApiError::unavailable("queue_unavailable", error))?;
    tracing::info!(job.id = %notice.job_id, prediction.id = notice.prediction_id, "prediction is done");
    Ok(true)
}
