//! What a user is told who asked for a picture, and the message to the worker.

use domain::generation::Status;
use job_queue::{GenerateImage, Queue};
use lambda_http::{Body, Response, http::StatusCode};
use lambda_kit::{ApiError, FieldError, json, metrics};
use serde_json::json;
use supabase_client::CreateJobOutcome;

use crate::no_such_job;

/// Answers who asked for a job, after putting it into the queue: also one that was asked for before and still waits, because
/// its message may be lost.
///
/// # Errors
/// 401 `unauthenticated`, 402 `insufficient_credits`, 404 `no_such_job`, 409 `not_failed`, 422 `invalid_fields`,
/// 429 `rate_limited`.
pub async fn answer(queue: &Queue, outcome: CreateJobOutcome) -> Result<Response<Body>, ApiError> {
    let (status, job, remaining_credits) = match outcome {
        CreateJobOutcome::Created { job, remaining_credits } => {
            metrics::count("GenerationJobsQueued", 1);
            (StatusCode::ACCEPTED, job, remaining_credits)
        }
        CreateJobOutcome::Repeated { job, remaining_credits } => (StatusCode::OK, job, remaining_credits),
        CreateJobOutcome::InsufficientCredits { balance, cost } => return Err(insufficient_credits(balance, cost)),
        CreateJobOutcome::RateLimited { retry_after } => return Err(rate_limited(retry_after)),
        CreateJobOutcome::Invalid { fields } => return Err(ApiError::invalid_fields(unknown(&fields))),
        CreateJobOutcome::NoUser => return Err(ApiError::account_gone()),
        CreateJobOutcome::NotFound => return Err(no_such_job()),
        CreateJobOutcome::NotFailed { .. } => {
            let detail = "Only a picture that failed can be tried again.";
            return Err(ApiError::new(StatusCode::CONFLICT, "not_failed", detail));
        }
    };
    tracing::info!(user.id = %job.user_id, job.id = %job.id, status = ?job.status, "picture asked for");

    if job.status == Status::Queued
        && let Err(error) = queue.send(&GenerateImage { job_id: job.id }).await
    {
        // The job is there and paid for: the sweeper queues it within minutes.
        tracing::warn!(job.id = %job.id, causes = format!("{error:#}"), "job not queued");
    }
    let answer = json!({
        "job_id": job.id, "status": job.status, "cost_credits": job.cost_credits, "remaining_credits": remaining_credits,
    });
    json(status, &answer)
}

fn insufficient_credits(credits: i32, cost: i32) -> ApiError {
    let missing = cost - credits;
    let detail =
        format!("You need {missing} more {} for this picture.", if missing == 1 { "credit" } else { "credits" });
    ApiError::new(StatusCode::PAYMENT_REQUIRED, "insufficient_credits", detail)
        .with("credits", credits)
        .with("cost", cost)
}

fn rate_limited(seconds: u32) -> ApiError {
    let detail = match seconds.div_ceil(60) {
        1 => "That is all for this hour. Please try again in a minute.".to_owned(),
        minutes => format!("That is all for this hour. Please try again in {minutes} minutes."),
    };
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(seconds)
}

fn unknown(fields: &[String]) -> Vec<FieldError> {
    let error = |field: &String| {
        let detail = match field.as_str() {
            "input_asset_id" => "is not one of your uploads that can be used",
            "influencer_id" => "is not your character, or she is not ready yet",
            _ => "is not offered",
        };
        FieldError { pointer: format!("#/{field}"), code: "unknown", detail: detail.to_owned() }
    };
    fields.iter().map(error).collect()
}
