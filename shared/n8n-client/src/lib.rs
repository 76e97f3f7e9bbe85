//! n8n's "Influencer Set up Workflow", by its webhook (`infra/n8n/influencer-set-up.json`).
//!
//! Asks for a set-up and returns as soon as n8n has taken it; the result comes to the function n8n-callback.

use std::time::Duration;

use auth::signature;
use domain::id::{InfluencerId, UserId};
use http_client::Upstream;
use jiff::Timestamp;
use reqwest::{Client, StatusCode, header};
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

/// For both tries together.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks n8n for work.
#[derive(Clone, Debug)]
pub struct N8n {
    http: Client,
    webhook_url: Url,
    secret: SecretString,
}

/// What the workflow needs to set a character up.
#[derive(Debug, Serialize)]
pub struct SetUpRequest<'a> {
    /// Whose set-up.
    pub influencer_id: InfluencerId,
    /// Whose she is.
    pub user_id: UserId,
    /// Which start of the set-up this is; a caller of n8n-callback that signs instead of sending the token sends it back.
    pub attempt: i32,
    /// What she is called.
    pub name: &'a str,
    /// Who she is.
    pub bio: &'a str,
    /// How she comes across.
    pub vibe: &'a str,
    /// Where the result is to be sent.
    pub callback_url: &'a Url,
    /// The bearer token to send it with.
    pub callback_token: &'a str,
}

/// Why n8n did not take the work.
#[derive(Debug, thiserror::Error)]
pub enum N8nError {
    /// No answer, twice.
    #[error("n8n could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// An answer that is no success: for a 5xx the second one. A 404 usually means that the workflow is not active.
    #[error("n8n answered {0}")]
    Refused(StatusCode),
}

impl N8n {
    /// For the workflow behind `webhook_url`, which knows `secret` too.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(webhook_url: Url, secret: SecretString) -> anyhow::Result<Self> {
        let http = http_client::client_with_one_retry(webhook_url.host_str().unwrap_or_default(), TIMEOUT)?;
        Ok(Self { http, webhook_url, secret })
    }

    /// Starts the workflow. Both tries carry the same `idempotency_key`, by which it drops the second.
    ///
    /// # Errors
    /// When n8n did not say that it took the work; it may have done so all the same.
    pub async fn start_set_up(&self, idempotency_key: &str, request: &SetUpRequest<'_>) -> Result<(), N8nError> {
        let body = serde_json::json!(request).to_string();
        let order = self
            .http
            .post(self.webhook_url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", idempotency_key)
            .header(signature::HEADER, signature::sign(&self.secret, Timestamp::now(), body.as_bytes()))
            .body(body);
        // The webhook's path is as good as a password: it stays out of the log.
        let unreachable = |error: reqwest::Error| N8nError::Unreachable(error.without_url());
        let response = http_client::send(Upstream::N8n, order).await.map_err(unreachable)?;
        if response.status().is_success() { Ok(()) } else { Err(N8nError::Refused(response.status())) }
    }
}
