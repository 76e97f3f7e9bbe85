//! `GET /dashboard`: the caller, her plan, credits and subscription, what she may buy, and her character with a link to the image.
//!
//! - Who may call: a signed-in user of the Supabase project; she sees what row-level security lets her see.
//! - Effects: none. One round trip to PostgREST; the link is signed here, for an hour.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use domain::{
    id::UserId,
    influencer::{Failure, Shown, ShownFailure, State},
};
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use media_store::MediaStore;
use serde::Serialize;
use supabase_client::{AsCaller, Offers, OwnInfluencer, OwnSubscription, SupabaseError};

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
    user: User,
    plan: String,
    plan_name: String,
    credits: i32,
    subscription: Option<Subscription>,
    can_manage_billing: bool,
    offers: Offers,
    influencer: Option<Shown>,
}

#[derive(Serialize)]
struct Subscription {
    plan: Option<String>,
    plan_name: Option<String>,
    status: String,
    live: bool,
    /// When the next period begins, if one does.
    renews_at: Option<Timestamp>,
    /// When it ends or ended, if it was cancelled.
    ends_at: Option<Timestamp>,
    payment_failed: bool,
    grace_until: Option<Timestamp>,
}

impl From<OwnSubscription> for Subscription {
    fn from(own: OwnSubscription) -> Self {
        let ends_at = own.ended_at.or(own.cancel_at);
        let renews = own.live && ends_at.is_none() && own.status != "past_due";
        Self {
            renews_at: renews.then_some(own.current_period_end),
            ends_at,
            payment_failed: matches!(own.status.as_str(), "past_due" | "unpaid" | "incomplete"),
            plan: own.plan,
            plan_name: own.plan_name,
            status: own.status,
            live: own.live,
            grace_until: own.grace_until,
        }
    }
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
    let Some(dashboard) = found else { return Err(ApiError::account_gone()) };

    let influencer = match dashboard.influencer {
        Some(her) => Some(shown(&deps.media, her, Timestamp::now()).await?),
        None => None,
    };
    let user = User { id: caller.user_id, email: caller.email };
    let answer = Answer {
        user,
        plan: dashboard.plan,
        plan_name: dashboard.plan_name,
        credits: dashboard.credits,
        subscription: dashboard.subscription.map(Into::into),
        can_manage_billing: dashboard.can_manage_billing,
        offers: dashboard.offers,
        influencer,
    };
    json(StatusCode::OK, &answer)
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
