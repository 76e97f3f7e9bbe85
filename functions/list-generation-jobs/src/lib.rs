//! `GET /generation-jobs?before=<id>`: the caller's pictures, newest first, 20 at a time.
//!
//! - Who may call: a signed-in user of the Supabase project; she sees what row-level security lets her see.
//! - Effects: none. One round trip to PostgREST; the links are signed here, for an hour. `next` of an answer is the `before`
//!   of the page after it, which stays the same page however many new ones come.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use domain::{generation::Shown, id::JobId};
use jiff::Timestamp;
use lambda_http::{Body, Request, RequestExt, Response, http::StatusCode};
use lambda_kit::{ApiError, FieldError, json};
use media_store::MediaStore;
use serde::Serialize;
use supabase_client::{AsCaller, SupabaseError};

pub use config::Config;

/// Jobs of one page.
const PAGE: usize = 20;

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

#[derive(Serialize)]
struct Answer {
    jobs: Vec<Shown>,
    next: Option<JobId>,
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 422 `invalid_fields`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let before = before(&request)?;

    let found = deps.supabase.generation_jobs(caller.user_id, &caller.token, None, before, PAGE + 1).await;
    let mut found = found.map_err(|error| match error {
        SupabaseError::Unauthenticated => ApiError::unauthenticated("Please log in again.").because(error),
        error => ApiError::unavailable("database_unavailable", error),
    })?;

    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = found.last().filter(|_| more).map(|last| last.id);
    let now = Timestamp::now();
    let mut jobs = Vec::with_capacity(found.len());
    for job in found {
        jobs.push(job_desk::shown(&deps.media, job, now).await?);
    }
    json(StatusCode::OK, &Answer { jobs, next })
}

fn before(request: &Request) -> Result<Option<JobId>, ApiError> {
    let query = request.query_string_parameters();
    let Some(before) = query.first("before") else { return Ok(None) };
    before.parse().map(|id| Some(JobId(id))).map_err(|_| {
        let detail = "must be the `next` of an earlier page".to_owned();
        ApiError::invalid_fields(vec![FieldError { pointer: "?before".to_owned(), code: "invalid", detail }])
    })
}
