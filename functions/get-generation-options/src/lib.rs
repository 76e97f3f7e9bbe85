//! `GET /generation-options`: what a picture can be made of and what it costs: models, poses, scenes, types, the caller's
//! uploads, her character and her credits.
//!
//! - Who may call: a signed-in user of the Supabase project; she sees what row-level security lets her see.
//! - Effects: none. One round trip to PostgREST; links to the uploads' small pictures are signed here, for an hour.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use media_store::MediaStore;
use serde::Serialize;
use serde_json::{Map, Value};
use supabase_client::{AsCaller, OwnUpload, SupabaseError};

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

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    choices: Map<String, Value>,
    uploads: Vec<Upload>,
    credits: i32,
}

#[derive(Serialize)]
struct Upload {
    #[serde(flatten)]
    upload: OwnUpload,
    /// Of one that may be used.
    thumb_url: Option<String>,
    thumb_url_expires_at: Option<Timestamp>,
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;

    let options =
        deps.supabase.generation_options(caller.user_id, &caller.token).await.map_err(|error| match error {
            SupabaseError::Unauthenticated => ApiError::unauthenticated("Please log in again.").because(error),
            error => ApiError::unavailable("database_unavailable", error),
        })?;
    let Some(credits) = options.credits else {
        return Err(ApiError::account_gone());
    };

    let now = Timestamp::now();
    let mut uploads = Vec::with_capacity(options.uploads.len());
    for upload in options.uploads {
        let thumb = MediaStore::clean_thumb_key(caller.user_id, upload.id);
        let link = if upload.verified { Some(deps.media.link(&deps.media.url(&thumb), now).await?) } else { None };
        uploads.push(Upload {
            upload,
            thumb_url_expires_at: link.as_ref().and_then(|link| link.expires_at),
            thumb_url: link.map(|link| link.url),
        });
    }
    json(StatusCode::OK, &Answer { choices: options.choices, uploads, credits })
}
