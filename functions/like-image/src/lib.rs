//! `PUT /images/{id}/like`: likes a picture in the grid. `DELETE` takes that back, also for one that is no longer there.
//!
//! - Who may call: a signed-in user.
//! - Effects: one RPC; the database counts.
//! - Twice is once: a picture is liked by a user or it is not. The answer is the count as it is then.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use serde_json::json;
use supabase_client::{LikeOutcome, Service};

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
/// 401 `unauthenticated`, 404 `image_not_found`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let image_id = image_desk::image_id(&request)?;
    let liked = image_desk::is_wanted(&request);

    let outcome = deps.supabase.like_image(caller.user_id, image_id, liked).await;
    match outcome.map_err(|error| ApiError::unavailable("database_unavailable", error))? {
        LikeOutcome::Done { likes_count } => {
            tracing::info!(user.id = %caller.user_id, image.id = %image_id, liked, "like given or taken back");
            json(StatusCode::OK, &json!({ "id": image_id, "likes_count": likes_count, "liked": liked }))
        }
        LikeOutcome::NotFound => Err(image_desk::image_not_found()),
        LikeOutcome::NoUser => Err(ApiError::account_gone()),
    }
}
