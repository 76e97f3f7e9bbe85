//! `GET /dashboard`: the caller, her plan and credits, and her character with a link to the image.
//!
//! - Who may call: a signed-in user of the Supabase project; she sees what row-level security lets her see.
//! - Effects: none. One round trip to PostgREST; the link is signed here, for an hour.

mod config;

use std::{sync::Arc, time::Duration};

use auth::supabase::Verifier;
use domain::{
    id::UserId,
    influencer::{Failure, Shown, ShownFailure, State},
};
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use media_store::MediaStore;
use serde::Serialize;
use supabase_client::{AsCaller, OwnInfluencer, SupabaseError};

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
            verifier: Verifier::new(http.clone(), &config.supabase_url, config.supabase_jwt_secret),
            supabase: AsCaller::new(http, config.supabase_url, config.supabase_publishable_key),
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
        })
    }
}

#[derive(Serialize)]
struct Answer {
    user: User,
    plan: String,
    credits: i32,
    influencer: Option<Shown>,
}

#[derive(Serialize)]
struct User {
    id: UserId,
    email: Option<String>,
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;

    let found = deps.supabase.dashboard(caller.user_id, &caller.token).await.map_err(|error| match error {
        SupabaseError::Unauthenticated => ApiError::unauthenticated("Please log in again.").because(error),
        error => ApiError::unavailable("database_unavailable", error),
    })?;
    let Some(dashboard) = found else { return Err(ApiError::unauthenticated("This account no longer exists.")) };

    let influencer = match dashboard.influencer {
        Some(her) => Some(shown(&deps.media, her, Timestamp::now()).await?),
        None => None,
    };
    let user = User { id: caller.user_id, email: caller.email };
    json(StatusCode::OK, &Answer { user, plan: dashboard.plan, credits: dashboard.credits, influencer })
}

async fn shown(media: &MediaStore, her: OwnInfluencer, now: Timestamp) -> anyhow::Result<Shown> {
    let state = her.state.at(now, her.deadline_at);
    let failure = match (state, her.failure_code, her.failure_message) {
        (State::TimedOut, ..) => {
            let failure = Failure::TimedOut;
            Some(ShownFailure { code: failure.code().to_owned(), message: failure.message().to_owned() })
        }
        (_, Some(code), Some(message)) => Some(ShownFailure { code, message }),
        _ => None,
    };
    let link = match her.initial_image_url {
        Some(url) if state == State::Ready => Some(media.link(&url, now).await?),
        _ => None,
    };
    Ok(Shown {
        id: her.id,
        name: her.name,
        bio: her.bio,
        vibe: her.vibe,
        state,
        requested_at: her.requested_at,
        failure,
        image_url_expires_at: link.as_ref().and_then(|link| link.expires_at),
        image_url: link.map(|link| link.url),
        created_at: her.created_at,
    })
}
