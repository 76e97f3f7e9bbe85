//! `GET /me/export`: all that is kept about the caller, as JSON, with links to her files.
//!
//! - Who may call: a signed-in user, for herself.
//! - Effects: none. One RPC gathers the rows, with the secret key because she may not read all of them elsewhere (what Stripe
//!   told of her); the bucket is listed by her prefixes. Links live for an hour.
//! - Lambda answers with 6 MB at most, so the answer is packed for whoever takes it packed, as browsers do.

mod config;

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::Context;
use auth::Verifier;
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use lambda_http::{
    Body, Request, Response,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use lambda_kit::{ApiError, json};
use media_store::MediaStore;
use serde::Serialize;
use serde_json::{Map, Value};
use supabase_client::Service;

pub use config::Config;

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
        let http = http_client::client(Duration::from_secs(12))?;
        Ok(Self {
            verifier: Verifier::new(http.clone(), config.auth.clone()),
            supabase: Service::new(http, config.auth.supabase_url, config.supabase_secret_key),
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
        })
    }
}

#[derive(Serialize)]
struct Answer {
    exported_at: Timestamp,
    /// Rows by table.
    data: Map<String, Value>,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    key: String,
    bytes: i64,
    url: String,
    expires_at: Option<Timestamp>,
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 503 `database_unavailable` or `storage_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let user_id = deps.verifier.authenticate(request.headers()).await?.user_id;

    let found = deps.supabase.export_account(user_id).await;
    let data = found.map_err(|error| ApiError::unavailable("database_unavailable", error))?;
    let data = data.ok_or_else(ApiError::account_gone)?;

    let exported_at = Timestamp::now();
    let mut files = Vec::new();
    for folder in MediaStore::folders_of(user_id) {
        let stock = deps.media.list(&folder).await;
        for object in stock.map_err(|error| ApiError::unavailable("storage_unavailable", error))? {
            let link = deps.media.link(&deps.media.url(&object.key), exported_at).await?;
            files.push(File { key: object.key, bytes: object.bytes, url: link.url, expires_at: link.expires_at });
        }
    }
    tracing::info!(user.id = %user_id, files = files.len(), "account exported");

    let mut response = json(StatusCode::OK, &Answer { exported_at, data, files })?;
    let attachment = HeaderValue::from_static("attachment; filename=\"sweetheart.json\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, attachment);
    if takes_gzip(request.headers()) {
        let packed = pack(response.body()).context("failed to pack the answer")?;
        *response.body_mut() = Body::Binary(packed);
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    encodings.flat_map(|value| value.split(',')).any(|encoding| encoding.trim() == "gzip")
}

fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}
