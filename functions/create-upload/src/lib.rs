//! `POST /uploads {filename, content_type, size}`: a form by which the caller's browser puts one picture into the bucket.
//!
//! - Who may call: a signed-in user of the Supabase project.
//! - Effects: a row in `assets`, not verified. What the form brings is looked at by register-upload; the form takes this one
//!   key of hers, this content type, 1 byte to 10 MiB, for ten minutes.
//! - Twice: two rows and two forms. One that is not used is never verified, and clean-up removes it. A user has at most 20 of
//!   them at a time.

mod announcement;
mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use media_store::{FORM_LIFETIME, MediaStore};
use serde_json::json;
use supabase_client::{AnnounceOutcome, Service};

use announcement::{Announcement, MAX_BYTES};
pub use config::Config;

/// How many files a user may have on their way.
const MOST_UNFINISHED: u32 = 20;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: Service,
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
            supabase: Service::new(http, config.auth.supabase_url, config.supabase_secret_key),
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 400 `malformed_json`, 401 `unauthenticated`, 422 `invalid_fields`, 429 `too_many_uploads`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let Announcement { filename, content_type } = Announcement::parse(request.body())?;

    let seconds = FORM_LIFETIME.as_secs();
    let announced =
        deps.supabase.announce_upload(caller.user_id, &filename, content_type, MOST_UNFINISHED, seconds).await;
    let (asset_id, key) = match announced.map_err(|error| ApiError::unavailable("database_unavailable", error))? {
        AnnounceOutcome::Announced { asset_id, object_key } => (asset_id, object_key),
        AnnounceOutcome::TooMany { retry_after } => {
            let detail = "Too many of your files are still on their way. Please wait a moment.";
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", detail);
            return Err(error.retry_after(retry_after));
        }
        AnnounceOutcome::NoUser => return Err(ApiError::account_gone()),
    };
    let form = deps.media.upload_form(&key, content_type, MAX_BYTES, Timestamp::now()).await?;
    tracing::info!(user.id = %caller.user_id, asset.id = %asset_id, content_type, "upload announced");
    let body = json!({
        "asset_id": asset_id, "url": form.url, "fields": form.fields, "expires_at": form.expires_at, "max_bytes": MAX_BYTES,
    });
    json(StatusCode::CREATED, &body)
}
