//! Functions behind the HTTP API or a function URL.

use std::{future::Future, sync::Arc, time::Instant};

use lambda_http::{
    Adapter, Body, Error, Request, RequestExt, Response, Service,
    http::{StatusCode, header},
    request::{LambdaRequest, RequestContext},
    service_fn,
    tower::ServiceExt,
};
use lambda_runtime::LambdaEvent;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

use crate::{ApiError, json_cause, metrics, trace};

/// A JSON response that nobody caches.
///
/// # Errors
/// When `body` cannot be written as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Response<Body>, ApiError> {
    let body = serde_json::to_string(body).map_err(|error| json_cause(&error).context("failed to write JSON"))?;
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What may not stand in a query as it is (<https://url.spec.whatwg.org/#query-percent-encode-set>).
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// AWS hands the query over decoded at places, and lambda_http panics over what then is no URI.
fn with_valid_query(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    if let LambdaRequest::ApiGatewayV2(request) = &mut event.payload
        && let Some(query) = &mut request.raw_query_string
    {
        *query = utf8_percent_encode(query, QUERY).to_string();
    }
    event
}

/// The path as the template has it, such as `/images/{id}/like`; a function URL's is `$default`. What stands in the place of an id may be
/// anything that somebody typed, and is not logged.
fn route(request: &Request) -> String {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            let key = context.route_key.as_deref().unwrap_or_default();
            key.split_once(' ').map_or(key, |(_, path)| path).to_owned()
        }
        _ => String::new(),
    }
}

/// Runs `handle` for every request until Lambda stops the process.
///
/// # Errors
/// When the Lambda runtime cannot be reached.
pub async fn serve_http<D, F>(deps: D, handle: fn(Arc<D>, Request) -> F) -> Result<(), Error>
where
    D: Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, ApiError>> + Send + 'static,
{
    lambda_runtime::run_concurrent(http_service(deps, handle)).await
}

/// What [`serve_http`] runs, from AWS's event to AWS's answer: fuzzing calls it without a Lambda. The one place where an
/// [`ApiError`] becomes a response, and where the outcome of a call is logged, once.
pub fn http_service<D, F>(
    deps: D,
    handle: fn(Arc<D>, Request) -> F,
) -> impl Service<LambdaEvent<LambdaRequest>, Response: Serialize + Send, Error = Error, Future: Send> + Clone + Send
where
    D: Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, ApiError>> + Send + 'static,
{
    let deps = Arc::new(deps);
    let service = service_fn(move |request: Request| {
        let deps = Arc::clone(&deps);
        async move {
            let context = request.lambda_context_ref();
            let request_id = context.map(|context| context.request_id.clone()).unwrap_or_default();
            let trace = context.and_then(|context| context.xray_trace_id.clone());
            let call = async {
                let started = Instant::now();
                let (method, route) = (request.method().clone(), route(&request));
                let result = handle(deps, request).await;

                let (status, code, causes) = match &result {
                    Ok(response) => (response.status(), "", String::new()),
                    Err(error) => (error.status(), error.code(), error.causes()),
                };
                let (status, duration_ms) = (status.as_u16(), started.elapsed().as_millis() as u64);
                if status >= 500 {
                    tracing::error!(%method, route, status, code, causes, duration_ms, "request failed");
                } else {
                    tracing::info!(%method, route, status, code, causes, duration_ms, "request served");
                }
                result.unwrap_or_else(|error| error.into_response(&request_id))
            };
            // In a box, or the types of what is within what get too deep for the compiler.
            Ok::<_, Error>(metrics::written(trace::within(trace.as_deref(), Box::pin(call))).await)
        }
    });
    Adapter::from(service).map_request(with_valid_query)
}
