//! `POST /images/{id}/reports {reason}`: says that a picture should not be in the grid.
//!
//! - Who may call: a signed-in user.
//! - Effects: one RPC, a row that admins see. It hides nothing by itself.
//! - Twice is once: her first reason stays, and the answer is the same.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use domain::grid::ReportReason;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use serde_json::json;
use supabase_client::{ReportOutcome, Service};

pub use config::Config;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: Service,
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
            supabase: Service::new(http, config.auth.supabase_url, config.supabase_secret_key),
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 400 `malformed_json`, 401 `unauthenticated`, 404 `image_not_found`, 422 `invalid_fields`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let image_id = image_desk::image_id(&request)?;
    let reason = image_desk::reason(request.body(), |text| {
        ReportReason::parse(text)
            .ok_or_else(|| ("unknown", "must be minor, person, sexual, violence or other".to_owned()))
    })?;

    let outcome = deps.supabase.report_image(caller.user_id, image_id, reason).await;
    match outcome.map_err(|error| ApiError::unavailable("database_unavailable", error))? {
        ReportOutcome::Reported => {
            tracing::info!(user.id = %caller.user_id, image.id = %image_id, ?reason, "picture reported");
            json(StatusCode::CREATED, &json!({ "id": image_id, "reported": true }))
        }
        ReportOutcome::NotFound => Err(image_desk::image_not_found()),
        ReportOutcome::NoUser => Err(ApiError::account_gone()),
    }
}
