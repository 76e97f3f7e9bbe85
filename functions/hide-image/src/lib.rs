//! `PUT /images/{id}/hidden {reason}`: keeps a picture out of the grid, and tells its owner why. `DELETE` lets it in again.
//!
//! - Who may call: an admin (`user_roles`), which the RPC asks in the same transaction.
//! - Effects: one RPC. The next reader does not find the picture; what a cache in front of list-images holds ends by itself.
//! - Twice is once: the last reason counts, the time is that of the first.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use domain::text::HidingReason;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use serde_json::json;
use supabase_client::{HideOutcome, Service};

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
/// 400 `malformed_json`, 401 `unauthenticated`, 403 `not_an_admin`, 404 `image_not_found`, 422 `invalid_fields`,
/// 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let image_id = image_desk::image_id(&request)?;
    let reason = match image_desk::is_wanted(&request) {
        true => Some(image_desk::reason(request.body(), |text| {
            HidingReason::parse(text).map_err(|error| (error.code(), error.to_string()))
        })?),
        false => None,
    };

    let outcome = deps.supabase.hide_image(caller.user_id, image_id, reason.as_ref()).await;
    match outcome.map_err(|error| ApiError::unavailable("database_unavailable", error))? {
        HideOutcome::Done { hidden_at, hidden_reason } => {
            let hidden = hidden_at.is_some();
            tracing::info!(user.id = %caller.user_id, image.id = %image_id, hidden, "picture hidden or let in again");
            json(StatusCode::OK, &json!({ "id": image_id, "hidden_at": hidden_at, "hidden_reason": hidden_reason }))
        }
        HideOutcome::NotAnAdmin => {
            Err(ApiError::new(StatusCode::FORBIDDEN, "not_an_admin", "Only an admin may do this."))
        }
        HideOutcome::NotFound => Err(image_desk::image_not_found()),
    }
}
