//! What every request to PostgREST has in common.

use http_client::Upstream;
use lambda_kit::json_cause;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

/// Why the data API gave no answer that we can use.
#[derive(Debug, thiserror::Error)]
pub enum SupabaseError {
    /// No answer, a timeout, or a 5xx: the same request may work later.
    #[error("the database could not be reached")]
    Unavailable(#[source] anyhow::Error),
    /// The user's token is not accepted.
    #[error("the database does not accept the token")]
    Unauthenticated,
    /// Refused for a reason that another try does not change; carries the status and PostgREST's or Postgres' code.
    #[error("the database refused with {0} {1}")]
    Refused(StatusCode, String),
    /// An answer that is not what the schema promises.
    #[error("the database answered something unexpected")]
    Garbled(#[source] anyhow::Error),
}

/// A request with the project's `key`, acting as the user whose `token` it is. Opaque keys go in `apikey` only; a legacy
/// key is a JWT and is wanted as the bearer too, where no user's token is.
pub(crate) fn request(
    http: &Client,
    method: Method,
    url: &Url,
    path: &str,
    key: &SecretString,
    token: Option<&SecretString>,
) -> RequestBuilder {
    let mut url = url.clone();
    url.set_path(path);
    let request = http.request(method, url).header("apikey", key.expose_secret());
    match token.or_else(|| key.expose_secret().starts_with("eyJ").then_some(key)) {
        Some(bearer) => request.bearer_auth(bearer.expose_secret()),
        None => request,
    }
}

pub(crate) async fn send<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, SupabaseError> {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    let unavailable = |error: reqwest::Error| SupabaseError::Unavailable(error.without_url().into());

    let response = http_client::send(Upstream::Supabase, request).await.map_err(unavailable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unavailable)?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| SupabaseError::Garbled(json_cause(&error)));
    }
    // Only the code: the message of a constraint quotes the row.
    let code = serde_json::from_slice::<Problem>(&body).map(|problem| problem.code).unwrap_or_default();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(SupabaseError::Unavailable(anyhow::anyhow!("it answered {status} {code}")))
    } else if status == StatusCode::UNAUTHORIZED {
        Err(SupabaseError::Unauthenticated)
    } else {
        Err(SupabaseError::Refused(status, code))
    }
}
