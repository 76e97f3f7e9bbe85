//! Functions behind an SQS queue, with partial batch failures.

use std::{future::Future, sync::Arc, time::Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{StreamExt, stream};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;

use crate::json_cause;

/// Records of a batch that are worked on at the same time.
const CONCURRENCY: usize = 4;

/// One message of the queue.
#[derive(Debug)]
pub struct Message<T> {
    /// What was sent.
    pub body: T,
    /// How often it was received, this time included.
    pub receive_count: u32,
}

/// Runs `handle` for every message until Lambda stops the process. A record whose handler fails goes back to the queue,
/// alone; after the queue's `maxReceiveCount` it lies among the dead letters.
///
/// # Errors
/// When the Lambda runtime cannot be reached.
pub async fn serve_queue<D, T, F>(deps: D, handle: fn(Arc<D>, Message<T>) -> F) -> Result<(), Error>
where
    D: Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let deps = Arc::new(deps);
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let deps = Arc::clone(&deps);
        async move { Ok::<_, Error>(run_batch(deps, event.payload, handle).await) }
    }))
    .await
}

/// Runs one batch: every record is parsed by itself, so that a malformed one fails alone.
pub async fn run_batch<D, T, F>(deps: Arc<D>, event: SqsEvent, handle: fn(Arc<D>, Message<T>) -> F) -> SqsBatchResponse
where
    T: DeserializeOwned,
    F: Future<Output = anyhow::Result<()>>,
{
    let failures = stream::iter(event.records)
        .map(|record| {
            let deps = Arc::clone(&deps);
            async move {
                let started = Instant::now();
                let id = record.message_id.clone().unwrap_or_default();
                let result = match parse(&record) {
                    Ok(message) => handle(deps, message).await,
                    Err(error) => Err(error),
                };
                let duration_ms = started.elapsed().as_millis() as u64;
                match result {
                    Ok(()) => {
                        tracing::info!(message_id = id, duration_ms, "message done");
                        None
                    }
                    Err(error) => {
                        tracing::error!(message_id = id, duration_ms, causes = format!("{error:#}"), "message failed");
                        Some(id)
                    }
                }
            }
        })
        .buffer_unordered(CONCURRENCY)
        .filter_map(|failed| async { failed })
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect()
        .await;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures;
    response
}

fn parse<T: DeserializeOwned>(record: &SqsMessage) -> anyhow::Result<Message<T>> {
    let body = record.body.as_deref().unwrap_or_default();
    let body = serde_json::from_str(body)
        .map_err(|error| json_cause(&error).context("the message's body is not what this queue carries"))?;
    let count = record.attributes.get("ApproximateReceiveCount");
    Ok(Message { body, receive_count: count.and_then(|count| count.parse().ok()).unwrap_or(1) })
}
