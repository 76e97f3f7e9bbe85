//! Outbound HTTP: the one client for systems that we know, and the guarded one for URLs that strangers give us.
//!
//! Everything here has a timeout. TLS is rustls with ring and Mozilla's roots compiled in, so that starting up loads
//! nothing from disk. No proxy, no cookies, no redirects.

pub mod guarded;

use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect, retry};
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
