//! `GET /images?order=new|top&cursor=<next_cursor>`: the public grid, 24 pictures at a time.
//!
//! - Who may call: everybody. Who is signed in is also told what she likes and what is hers.
//! - Effects: none. One round trip to PostgREST, as the caller or as nobody; the links are signed here, as of the last half hour.
//! - A page begins after a place, not after a number of pictures: new ones neither shift it nor repeat anything.
//! - Without a token an answer may be kept by a CDN and asked for again by its `ETag`. With one it is the caller's alone.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use domain::{
    grid::{Cursor, Order},
    id::ImageId,
};
use jiff::Timestamp;
use lambda_http::{
    Body, Request, RequestExt, Response,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use lambda_kit::{ApiError, FieldError, json};
use media_store::{MediaStore, half_hour};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use supabase_client::{AsCaller, GridImage, SupabaseError};

pub use config::Config;

/// Pictures of one page.
const PAGE: usize = 24;
/// A CDN asks for all who come within these seconds; browsers always ask. A picture that is hidden is gone as fast.
const FOR_CACHES: HeaderValue = HeaderValue::from_static("public, max-age=0, s-maxage=10");
const FOR_HER_ALONE: HeaderValue = HeaderValue::from_static("private, no-store");

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
    images: Vec<Shown>,
    next_cursor: Option<String>,
}

/// A picture as readers see it.
#[derive(Serialize)]
struct Shown {
    id: ImageId,
    prompt: String,
    likes_count: i32,
    liked: bool,
    mine: bool,
    creator: Option<String>,
    width: i32,
    height: i32,
    blurhash: Option<String>,
    screen_url: String,
    thumb_url: String,
    published_at: Timestamp,
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 422 `invalid_fields`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    handle_at(deps, request, Timestamp::now()).await
}

/// The same at another time, which the links are signed for.
///
/// # Errors
/// As [`handle`].
pub async fn handle_at(deps: Arc<Deps>, request: Request, now: Timestamp) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate_if_any(request.headers()).await?;
    let (order, after) = place(&request)?;

    let token = caller.as_ref().map(|caller| &caller.token);
    let found = deps.supabase.grid(token, order, after, PAGE + 1).await;
    let mut found = found.map_err(|error| match error {
        SupabaseError::Unauthenticated => ApiError::unauthenticated("Please log in again.").because(error),
        error => ApiError::unavailable("database_unavailable", error),
    })?;

    let etag = match caller {
        Some(_) => None,
        None => Some(etag(&found, now)?),
    };
    let mut response = match &etag {
        Some(etag) if is_known(request.headers(), etag) => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        _ => {
            let more = found.len() > PAGE;
            found.truncate(PAGE);
            let cursor = |last: &GridImage| Cursor::of(order, last.likes_count, last.published_at, last.id).to_string();
            let next_cursor = found.last().filter(|_| more).map(cursor);
            let mut images = Vec::with_capacity(found.len());
            for image in found {
                images.push(shown(&deps.media, image, now).await?);
            }
            json(StatusCode::OK, &Answer { images, next_cursor })?
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, if etag.is_some() { FOR_CACHES } else { FOR_HER_ALONE });
    // On both: a cache that holds the public answer must not give it to who is signed in.
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    if let Some(etag) = etag {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

/// The order and the place in it that the query names.
fn place(request: &Request) -> Result<(Order, Option<Cursor>), ApiError> {
    let bad = |pointer: &str, detail: &str| {
        let (pointer, detail) = (pointer.to_owned(), detail.to_owned());
        ApiError::invalid_fields(vec![FieldError { pointer, code: "invalid", detail }])
    };
    let query = request.query_string_parameters();
    let order = match query.first("order") {
        None => Order::default(),
        Some(name) => Order::parse(name).ok_or_else(|| bad("?order", "must be new or top"))?,
    };
    let after = match query.first("cursor") {
        None => None,
        Some(text) => {
            let cursor = Cursor::parse(order, text);
            Some(
                cursor
                    .ok_or_else(|| bad("?cursor", "must be the `next_cursor` of an earlier page in the same order"))?,
            )
        }
    };
    Ok((order, after))
}

/// What tells this answer from others. Weak, and without the signatures of the links: those of two instances of this function
/// differ and are as good as each other.
fn etag(found: &[GridImage], now: Timestamp) -> anyhow::Result<HeaderValue> {
    let told = serde_json::to_vec(&(half_hour(now), found))?;
    let tag = hex::encode(&digest(&SHA256, &told).as_ref()[..16]);
    Ok(HeaderValue::from_str(&format!("W/\"{tag}\""))?)
}

/// Whether the client has this answer already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || etag.as_bytes().strip_prefix(b"W/") == Some(opaque.as_bytes())
    })
}

async fn shown(media: &MediaStore, image: GridImage, now: Timestamp) -> anyhow::Result<Shown> {
    let (folder, _) = image.object_key.rsplit_once('/').unwrap_or_default();
    let link = async |name: &str| media.shared_link(&format!("{folder}/{name}"), now).await;
    Ok(Shown {
        screen_url: link("screen.webp").await?.url,
        thumb_url: link("thumb.webp").await?.url,
        id: image.id,
        prompt: image.prompt,
        likes_count: image.likes_count,
        liked: image.liked,
        mine: image.mine,
        creator: image.character_name,
        width: image.width,
        height: image.height,
        blurhash: image.blurhash,
        published_at: image.published_at,
    })
}
