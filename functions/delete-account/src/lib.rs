//! `DELETE /me`: the caller leaves, for good.
//!
//! - Who may call: a signed-in user, for herself.
//! - Effects: one RPC writes the wish down and takes her rows away, so that from then on there is no such user; a message has
//!   erase-account end what lies elsewhere: her subscriptions at Stripe and her objects in the bucket.
//! - Once only: as long as that goes on, asking again says the same and sends another message, which does no harm. A message
//!   that gets lost is sent by the sweeper.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use job_queue::{EraseAccount, Queue};
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use serde_json::json;
use supabase_client::{LeaveOutcome, Service};

pub use config::Config;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: Service,
    queue: Queue,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(12))?;
        Ok(Self {
            verifier: Verifier::new(http.clone(), config.auth.clone()),
            supabase: Service::new(http, config.auth.supabase_url, config.supabase_secret_key),
            queue: Queue::new(config.erasure_queue_url),
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let user_id = deps.verifier.authenticate(request.headers()).await?.user_id;

    let begun = deps.supabase.begin_account_deletion(user_id).await;
    match begun.map_err(|error| ApiError::unavailable("database_unavailable", error))? {
        LeaveOutcome::Leaving => tracing::info!(user.id = %user_id, "user leaves"),
        LeaveOutcome::NoUser => return Err(ApiError::account_gone()),
    }
    if let Err(error) = deps.queue.send(&EraseAccount { user_id }).await {
        // The wish is written down: the sweeper sends the message within minutes.
        tracing::warn!(user.id = %user_id, causes = format!("{error:#}"), "erasure not queued");
    }
    json(StatusCode::ACCEPTED, &json!({ "status": "leaving" }))
}
