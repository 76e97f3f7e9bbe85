//! `PUT /images/{id}/published`: shows a picture of the caller's in the public grid. `DELETE` takes it out.
//!
//! - Who may call: a signed-in user, for pictures of her own.
//! - Effects: one RPC. What is in the grid can be seen by everybody, with the words that it was made from and the name of its
//!   character.
//! - Twice is once: it stays in its place.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use serde_json::json;
use supabase_client::{PublishOutcome, Service};

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
/// 401 `unauthenticated`, 404 `image_not_found`, 409 `image_hidden`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let image_id = image_desk::image_id(&request)?;
    let published = image_desk::is_wanted(&request);

    let outcome = deps.supabase.publish_image(caller.user_id, image_id, published).await;
    match outcome.map_err(|error| ApiError::unavailable("database_unavailable", error))? {
        PublishOutcome::Done { published_at } => {
            tracing::info!(user.id = %caller.user_id, image.id = %image_id, published, "picture published or taken back");
            json(StatusCode::OK, &json!({ "id": image_id, "published_at": published_at }))
        }
        PublishOutcome::Hidden => {
            let detail = "An admin keeps this picture out of the grid.";
            Err(ApiError::new(StatusCode::CONFLICT, "image_hidden", detail))
        }
        PublishOutcome::NotFound => Err(image_desk::image_not_found()),
    }
}
