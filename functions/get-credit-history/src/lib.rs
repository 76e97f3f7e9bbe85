//! `GET /credit-history?before=<id>`: every movement of the caller's credits, newest first, 25 at a time.
//!
//! - Who may call: a signed-in user of the Supabase project; she sees what row-level security lets her see.
//! - Effects: none. One round trip to PostgREST. `next` of an answer is the `before` of the page after it.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use jiff::Timestamp;
use lambda_http::{Body, Request, RequestExt, Response, http::StatusCode};
use lambda_kit::{ApiError, FieldError, json};
use serde::Serialize;
use supabase_client::{AsCaller, LedgerLine, SupabaseError};

pub use config::Config;

/// Entries of one page.
const PAGE: usize = 25;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: AsCaller,
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
        })
    }
}

#[derive(Serialize)]
struct Answer {
    entries: Vec<Entry>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    /// As text, because JavaScript rounds large numbers.
    id: String,
    r#type: String,
    amount: i32,
    balance_after: i32,
    description: String,
    created_at: Timestamp,
}

impl From<LedgerLine> for Entry {
    fn from(line: LedgerLine) -> Self {
        Self {
            id: line.id.to_string(),
            r#type: line.tx_type,
            amount: line.amount,
            balance_after: line.balance_after,
            description: line.description,
            created_at: line.created_at,
        }
    }
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 422 `invalid_fields`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let before = before(&request)?;

    let found = deps.supabase.credit_history(caller.user_id, &caller.token, before, PAGE + 1).await;
    let mut lines = found.map_err(|error| match error {
        SupabaseError::Unauthenticated => ApiError::unauthenticated("Please log in again.").because(error),
        error => ApiError::unavailable("database_unavailable", error),
    })?;

    let more = lines.len() > PAGE;
    lines.truncate(PAGE);
    let next = lines.last().filter(|_| more).map(|last| last.id.to_string());
    json(StatusCode::OK, &Answer { entries: lines.into_iter().map(Into::into).collect(), next })
}

fn before(request: &Request) -> Result<Option<i64>, ApiError> {
    let query = request.query_string_parameters();
    let Some(before) = query.first("before") else { return Ok(None) };
    before.parse().map(Some).map_err(|_| {
        let detail = "must be the `next` of an earlier page".to_owned();
        ApiError::invalid_fields(vec![FieldError { pointer: "?before".to_owned(), code: "invalid", detail }])
    })
}
