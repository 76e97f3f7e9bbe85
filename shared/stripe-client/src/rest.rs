//! What every request to Stripe has in common.

use std::time::Duration;

use http_client::Upstream;
use lambda_kit::json_cause;
use reqwest::{Client, Method, RequestBuilder, StatusCode, header};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::{Url, form_urlencoded};
use uuid::Uuid;

/// Where the API is.
pub const API_URL: &str = "https://api.stripe.com";

/// The version of the API that this crate was written for.
const VERSION: &str = "2026-07-29.dahlia";

/// For a request and its repetition together.
const TIMEOUT: Duration = Duration::from_secs(8);

/// While Stripe is still at work on a request with the same key, it is asked again after these.
const PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_millis(600), Duration::from_millis(1200)];

/// Stripe's API.
#[derive(Clone, Debug)]
pub struct Stripe {
    http: Client,
    url: Url,
    key: SecretString,
}

/// Why Stripe gave no answer that we can use.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// No answer, a timeout, a 5xx, too many requests or another one in the way: the same request may work later.
    #[error("Stripe could not be reached")]
    Unavailable(#[source] anyhow::Error),
    /// Refused for a reason that another try does not change. What Stripe says in words is not kept: it quotes the request.
    #[error("Stripe refused with {status} {kind} {code} {param}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// invalid_request_error, card_error, …
        kind: String,
        /// resource_missing, parameter_unknown, …; may be empty.
        code: String,
        /// The parameter that it is about; may be empty.
        param: String,
    },
    /// An answer that is not what the API promises.
    #[error("Stripe answered something unexpected")]
    Garbled(#[source] anyhow::Error),
}

impl StripeError {
    /// Whether what the request is about does not exist at Stripe: the object itself, or the one that `param` names.
    #[must_use]
    pub fn is_missing(&self, what: &str) -> bool {
        matches!(self, Self::Refused { code, param, .. } if code == "resource_missing" && param == what)
    }
}

/// What came back, as it came.
struct Answer {
    status: StatusCode,
    /// Whether it was kept from an earlier request with the same key.
    replayed: bool,
    body: Vec<u8>,
}

impl Stripe {
    /// The API at `api_url`, as the account whose `secret_key` it is.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(api_url: Url, secret_key: SecretString) -> anyhow::Result<Self> {
        let http = http_client::client_with_one_retry(api_url.host_str().unwrap_or_default(), TIMEOUT)?;
        Ok(Self { http, url: api_url, key: secret_key })
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        self.http.request(method, url).bearer_auth(self.key.expose_secret()).header("stripe-version", VERSION)
    }

    /// The object at `path`; `None` when there is none.
    pub(crate) async fn object<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, StripeError> {
        match read(ask(self.request(Method::GET, path)).await?) {
            Err(StripeError::Refused { status: StatusCode::NOT_FOUND, code, .. }) if code == "resource_missing" => {
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    /// The newest hundred of the list at `path`, newest first, and whether there are more.
    pub(crate) async fn page(&self, path: &[&str], query: &[(&str, &str)], after: &str) -> Result<Page, StripeError> {
        let after = (!after.is_empty()).then_some(("starting_after", after));
        read(
            ask(self.request(Method::GET, path).query(&[("limit", "100")]).query(query).query(after.as_slice()))
                .await?,
        )
    }

    /// The newest of the list at `path`, newest first: a hundred at most.
    pub(crate) async fn newest<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, StripeError> {
        self.page(path, query, "").await?.data.into_iter().map(parse).collect()
    }

    /// Ends what is at `path`; repeating it changes nothing.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, StripeError> {
        read(ask(self.request(Method::DELETE, path)).await?)
    }

    /// Writes, once for each `idempotency_key` and `form` (<https://docs.stripe.com/api/idempotent_requests>): Stripe refuses a
    /// key that comes again with another form, so the form is part of it.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        idempotency_key: &str,
        form: &[(&str, &str)],
    ) -> Result<T, StripeError> {
        let body = encode(form);
        let first_key = format!("{idempotency_key}:{}", fingerprint(&body));
        let mut key = first_key.clone();
        let mut pauses = PAUSES.into_iter();
        loop {
            let request = self
                .request(Method::POST, path)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header("idempotency-key", &key)
                .body(body.clone());
            let answer = ask(request).await?;
            if answer.status == StatusCode::CONFLICT
                && let Some(pause) = pauses.next()
            {
                tokio::time::sleep(pause).await;
            } else if answer.replayed && !answer.status.is_success() && key == first_key {
                // Stripe keeps failures under their key, too, and answers them for a day, whatever was mended meanwhile.
                key = format!("{first_key}:{}", Uuid::new_v4());
            } else {
                return read(answer);
            }
        }
    }
}

/// A form as it goes over the wire.
pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// Tells one encoded form from another.
pub(crate) fn fingerprint(form: &str) -> String {
    hex::encode(&digest(&SHA256, form.as_bytes()).as_ref()[..16])
}

#[derive(Deserialize)]
pub(crate) struct Page {
    pub(crate) data: Vec<Value>,
    pub(crate) has_more: bool,
}

async fn ask(request: RequestBuilder) -> Result<Answer, StripeError> {
    let unavailable = |error: reqwest::Error| StripeError::Unavailable(error.without_url().into());
    let response = http_client::send(Upstream::Stripe, request).await.map_err(unavailable)?;
    let replayed = response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    let status = response.status();
    Ok(Answer { status, replayed, body: response.bytes().await.map_err(unavailable)?.into() })
}

fn read<T: DeserializeOwned>(answer: Answer) -> Result<T, StripeError> {
    #[derive(Default, Deserialize)]
    struct Envelope {
        error: Problem,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Problem {
        r#type: String,
        code: String,
        param: String,
    }
    let Answer { status, body, .. } = answer;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| StripeError::Garbled(json_cause(&error)));
    }
    let Envelope { error } = serde_json::from_slice(&body).unwrap_or_default();
    let in_the_way =
        status == StatusCode::CONFLICT && ["lock_timeout", "idempotency_key_in_use"].contains(&&*error.code);
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || in_the_way {
        Err(StripeError::Unavailable(anyhow::anyhow!("it answered {status} {}", error.code)))
    } else {
        Err(StripeError::Refused { status, kind: error.r#type, code: error.code, param: error.param })
    }
}

pub(crate) fn parse<T: DeserializeOwned>(object: Value) -> Result<T, StripeError> {
    serde_json::from_value(object).map_err(|error| StripeError::Garbled(json_cause(&error)))
}
