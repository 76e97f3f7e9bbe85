//! `GET /generation-jobs/{id}`: how a picture stands, with links to it when it is there.
//!
//! - Who may call: a signed-in user of the Supabase project; she sees what row-level security lets her see.
//! - Effects: none. One round trip to PostgREST; the links are signed here, for an hour.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use media_store::MediaStore;
use supabase_client::{AsCaller, SupabaseError};

pub use config::Config;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: AsCaller,
    media: MediaStore,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(5))?;
        Ok(Self {
            verifier: Verifier::new(http.clone(), config.auth.clone()),
            supabase: AsCaller::new(http, config.auth.supabase_url, config.auth.supabase_publishable_key),
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 404 `no_such_job`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let job_id = job_desk::job_id(&request)?;

    let found = deps.supabase.generation_jobs(caller.user_id, &caller.token, Some(job_id), None, 1).await;
    let found = found.map_err(|error| match error {
        SupabaseError::Unauthenticated => ApiError::unauthenticated("Please log in again.").because(error),
        error => ApiError::unavailable("database_unavailable", error),
    })?;
    let job = found.into_iter().next().ok_or_else(job_desk::no_such_job)?;
    json(StatusCode::OK, &job_desk::shown(&deps.media, job, Timestamp::now()).await?)
}
