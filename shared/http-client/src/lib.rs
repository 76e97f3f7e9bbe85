//! Outbound HTTP: the one client for systems that we know, and the guarded one for URLs that strangers give us.
//!
//! Everything here has a timeout. TLS is rustls with ring and Mozilla's roots compiled in, so that starting up loads
//! nothing from disk. No proxy, no cookies, no redirects.

pub mod guarded;

use std::time::{Duration, Instant};

use lambda_kit::metrics;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, redirect, retry};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// How long a TCP and TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A client for systems that we know. `timeout` covers a request from its start to the last byte of the answer.
///
/// # Errors
/// When the TLS configuration is refused, which no input can cause.
pub fn client(timeout: Duration) -> anyhow::Result<Client> {
    Ok(builder()?.timeout(timeout).build()?)
}

/// The same for one `host`, where a connection error or a 5xx is tried once more within the same `timeout`. Only for
/// requests that may arrive twice.
///
/// # Errors
/// As [`client`].
pub fn client_with_one_retry(host: &str, timeout: Duration) -> anyhow::Result<Client> {
    let once_more =
        retry::for_host(host.to_owned()).no_budget().max_retries_per_request(1).classify_fn(|attempt| {
            match (attempt.status(), attempt.error()) {
                (Some(status), _) if status.is_server_error() => attempt.retryable(),
                (None, Some(_)) => attempt.retryable(),
                _ => attempt.success(),
            }
        });
    Ok(builder()?.timeout(timeout).retry(once_more).build()?)
}

/// The systems that we ask, by the names that their metrics have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The data API.
    Supabase,
    /// The issuers' published keys: Supabase Auth's, or Clerk's.
    Keys,
    /// n8n.
    N8n,
    /// Stripe.
    Stripe,
    /// Replicate.
    Replicate,
    /// fal.
    Fal,
    /// Where vendors keep pictures: strangers' URLs.
    Pictures,
}

impl Upstream {
    fn name(self) -> &'static str {
        match self {
            Self::Supabase => "supabase",
            Self::Keys => "keys",
            Self::N8n => "n8n",
            Self::Stripe => "stripe",
            Self::Replicate => "replicate",
            Self::Fal => "fal",
            Self::Pictures => "pictures",
        }
    }
}

/// Sends a request to `upstream` and counts how that went: the time until the answer begins, whether there was none or one that
/// means trouble there (`UpstreamFailures`: 5xx, 429), or one that means trouble with our key or account (`UpstreamRefusals`:
/// 401, 402, 403).
///
/// # Errors
/// As `request.send()`.
pub async fn send(upstream: Upstream, request: RequestBuilder) -> reqwest::Result<Response> {
    let (started, of) = (Instant::now(), ("Upstream", upstream.name()));
    let answer = request.send().await;
    metrics::took("UpstreamLatency", of, started.elapsed());
    match answer.as_ref().map(Response::status) {
        Err(_) | Ok(StatusCode::TOO_MANY_REQUESTS) => metrics::count_of("UpstreamFailures", of, 1),
        Ok(status) if status.is_server_error() => metrics::count_of("UpstreamFailures", of, 1),
        Ok(StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN) => {
            metrics::count_of("UpstreamRefusals", of, 1);
        }
        Ok(_) => {}
    }
    answer
}

#[expect(clippy::disallowed_methods, reason = "this is where the timeout comes from")]
fn builder() -> anyhow::Result<ClientBuilder> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy())
}
