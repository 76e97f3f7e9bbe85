//! What every request to a provider has in common.

use std::time::Duration;

use http_client::Upstream;
use jiff::{SignedDuration, Timestamp};
use lambda_kit::json_cause;
use reqwest::{Client, RequestBuilder, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::reading::number_after;

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How much earlier than ours a provider's clock may say that something was made.
pub(crate) const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(10);

/// A list that has more pages than this since one job began is no list.
pub(crate) const MOST_PAGES: usize = 100;

/// Why a provider gave no answer that we can use. Its words are not kept: they may quote the prompt.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No answer, a timeout, a 5xx, too many requests: the same may work later.
    #[error("the image model's provider could not be reached")]
    Unavailable {
        /// Not before this, if it says so.
        retry_after: Option<Duration>,
        /// Whether it is certain that the request had no effect: there was no connection, or there were too many requests.
        not_taken: bool,
        /// What happened.
        source: anyhow::Error,
    },
    /// Refused for a reason that another try does not change: wrong key, no credit, no such model, a bad input.
    #[error("the image model's provider refused with {status} {code}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What kind of refusal; may be empty.
        code: String,
    },
    /// An answer that is not what the API promises.
    #[error("the image model's provider answered something unexpected")]
    Garbled(#[source] anyhow::Error),
    /// A request may have been made that no list will ever name. Asking again might pay twice.
    #[error("what was asked for may be running, and cannot be found")]
    Lost,
}

/// Whether a list that was asked for at `asked_at` would name a prediction that was asked for at `since`: lists do after
/// `sure_after`. An error says when.
pub(crate) fn would_be_listed(
    asked_at: Timestamp,
    since: Timestamp,
    sure_after: SignedDuration,
) -> Result<(), ModelError> {
    match Duration::try_from(sure_after - asked_at.duration_since(since)) {
        Ok(wait) if !wait.is_zero() => Err(ModelError::Unavailable {
            retry_after: Some(wait),
            not_taken: false,
            source: anyhow::anyhow!("what was just asked for may not be listed yet"),
        }),
        _ => Ok(()),
    }
}

/// The client for both: nothing is repeated, because a repeated create is a second prediction.
pub(crate) fn client() -> anyhow::Result<Client> {
    http_client::client(TIMEOUT)
}

/// `base` with a path below it.
pub(crate) fn below<'a>(base: &Url, path: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// What came back, as it came.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    body: Vec<u8>,
}

pub(crate) async fn ask(provider: Upstream, request: RequestBuilder) -> Result<Answer, ModelError> {
    let unavailable = |error: reqwest::Error| ModelError::Unavailable {
        retry_after: None,
        not_taken: error.is_connect(),
        source: error.without_url().into(),
    };
    let response = http_client::send(provider, request).await.map_err(unavailable)?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, body: response.bytes().await.map_err(unavailable)?.into() })
}

impl Answer {
    /// The body, if it is JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body of a success; an error for anything else.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, ModelError> {
        if self.status.is_success() {
            serde_json::from_slice(&self.body).map_err(|error| ModelError::Garbled(json_cause(&error)))
        } else {
            Err(self.into_error())
        }
    }

    /// What an answer that is no success means.
    pub(crate) fn into_error(self) -> ModelError {
        let problem = self.json();
        let later = matches!(self.status.as_u16(), 408 | 425 | 429 | 500..=599);
        if later {
            return ModelError::Unavailable {
                retry_after: self.retry_after(&problem),
                not_taken: self.status == StatusCode::TOO_MANY_REQUESTS,
                source: anyhow::anyhow!("it answered {}", self.status),
            };
        }
        if self.status.is_client_error() {
            return ModelError::Refused { status: self.status, code: code(&problem) };
        }
        ModelError::Garbled(anyhow::anyhow!("it answered {}", self.status))
    }

    fn retry_after(&self, problem: &Value) -> Option<Duration> {
        let header = self.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        // "Request was throttled. Your rate limit resets in ~30s."
        let said = || number_after(problem["detail"].as_str()?, "resets in", &['~']);
        header.or_else(said).map(Duration::from_secs)
    }
}

/// Replicate's title or fal's type of an error as a word: neither quotes what was sent.
fn code(problem: &Value) -> String {
    let kind = [&problem["error_type"], &problem["detail"][0]["type"], &problem["title"]];
    let words = kind.into_iter().find_map(Value::as_str).unwrap_or_default().chars().take(60);
    words.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_words() {
        assert_eq!(code(&json!({ "title": "Input validation failed" })), "input_validation_failed");
        assert_eq!(code(&json!({ "detail": [{ "type": "missing", "msg": "…" }] })), "missing");
        assert_eq!(code(&json!({ "detail": "x", "error_type": "bad_request" })), "bad_request");
        for none in [json!(null), json!([]), json!({ "detail": "No such thing" }), json!({ "title": 3 })] {
            assert_eq!(code(&none), "");
        }
    }

    #[test]
    fn paths_are_below_the_base_and_nowhere_else() {
        let base: Url = "http://127.0.0.1:1/fal/".parse().unwrap();
        assert_eq!(below(&base, ["a", "b?c#d"]).as_str(), "http://127.0.0.1:1/fal/a/b%3Fc%23d");
        assert_eq!(below(&base, ["a", "..", "b"]).as_str(), "http://127.0.0.1:1/fal/a/b");
        assert_eq!(below(&"https://h".parse().unwrap(), ["v1"]).as_str(), "https://h/v1");
    }
}
