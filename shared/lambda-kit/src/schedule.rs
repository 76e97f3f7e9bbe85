//! Functions that run by the clock.

use std::{future::Future, sync::Arc, time::Instant};

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;

use crate::{metrics, trace};

/// Runs `handle` at every tick until Lambda stops the process; `T` is what the schedule sends along.
///
/// # Errors
/// When the Lambda runtime cannot be reached.
pub async fn serve_schedule<D, T, F>(deps: D, handle: fn(Arc<D>, T) -> F) -> Result<(), Error>
where
    D: Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let deps = Arc::new(deps);
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<T>| {
        let deps = Arc::clone(&deps);
        async move {
            let call = async {
                let started = Instant::now();
                let result = handle(deps, event.payload).await;
                let duration_ms = started.elapsed().as_millis() as u64;
                match result {
                    Ok(()) => tracing::info!(duration_ms, "tick done"),
                    Err(error) => {
                        tracing::error!(duration_ms, causes = format!("{error:#}"), "tick failed");
                        // Lambda counts it, and tries twice more.
                        return Err(Error::from("tick failed"));
                    }
                }
                Ok(())
            };
            // In a box, as in serve_http.
            metrics::written(trace::within(event.context.xray_trace_id.as_deref(), Box::pin(call))).await
        }
    }))
    .await
}
