//! Functions behind an SQS queue, with partial batch failures.

use std::{future::Future, sync::Arc, time::Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{StreamExt, stream};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;

use crate::{json_cause, metrics, trace};

/// Records of a batch that are worked on at the same time.
const CONCURRENCY: usize = 4;

/// The attribute of a message that names its sender's trace.
const TRACE_HEADER: &str = "AWSTraceHeader";

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
        async move {
            // In a box, as in serve_http.
            let batch = Box::pin(run_batch(deps, event.payload, handle));
            Ok::<_, Error>(metrics::written(trace::within(event.context.xray_trace_id.as_deref(), batch)).await)
        }
    }))
    .await
}

/// Runs one batch: every record is parsed by itself, so that a malformed one fails alone, and belongs to its sender's trace.
pub async fn run_batch<D, T, F>(deps: Arc<D>, event: SqsEvent, handle: fn(Arc<D>, Message<T>) -> F) -> SqsBatchResponse
where
    T: DeserializeOwned,
    F: Future<Output = anyhow::Result<()>>,
{
    let failures = stream::iter(event.records)
        .map(|record| {
            let deps = Arc::clone(&deps);
            async move {
                let work = async {
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
                            let causes = format!("{error:#}");
                            tracing::error!(message_id = id, duration_ms, causes, "message failed");
                            Some(id)
                        }
                    }
                };
                trace::within(record.attributes.get(TRACE_HEADER).map(String::as_str), Box::pin(work)).await
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
