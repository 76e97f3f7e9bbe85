//! `POST /influencers {name, bio, vibe}`: begins the set-up of the caller's character and answers 202.
//!
//! - Who may call: a signed-in user of the Supabase project.
//! - Effects: her row in `influencers`, then one request to n8n. n8n's answer comes to n8n-callback.
//! - Once only: the row is unique for the user, and one RPC decides who starts; n8n gets `influencer_id:attempt` as its
//!   idempotency key. Killed between the two, the set-up times out and may be started again.

mod config;
mod wish;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use auth::{Verifier, callback_token};
use domain::{
    id::UserId,
    influencer::{self, Failure, State},
};
use jiff::{SignedDuration, Timestamp};
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json, metrics, trace};
use n8n_client::{N8n, SetUpRequest};
use serde_json::json;
use supabase_client::{FailOutcome, Influencer, RequestOutcome, Service, SupabaseError};
use uuid::Uuid;

pub use config::Config;
use wish::Wish;

/// A callback may come this much after the deadline and still be let in.
const TOKEN_GRACE_SECONDS: i64 = 300;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    config: Config,
    verifier: Verifier,
    supabase: Service,
    n8n: N8n,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        // Keys, two tries, n8n's ten seconds and a failure to record: all of it within the API's 30 seconds.
        let http = http_client::client(Duration::from_secs(4))?;
        Ok(Self {
            verifier: Verifier::new(http.clone(), config.auth.clone()),
            supabase: Service::new(http, config.auth.supabase_url.clone(), config.supabase_secret_key.clone()),
            n8n: N8n::new(config.n8n_webhook_url.clone(), config.n8n_webhook_secret.clone())?,
            config,
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 400 `malformed_json`, 401 `unauthenticated`, 409 `influencer_exists`, 422 `invalid_fields`, 502 `workflow_unavailable`,
/// 503 `database_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let wish = Wish::parse(request.body())?;

    let requested = request_influencer(&deps, caller.user_id, &wish).await;
    let her = match requested.map_err(|error| ApiError::unavailable("database_unavailable", error))? {
        RequestOutcome::Started { influencer } => influencer,
        RequestOutcome::Exists { .. } => {
            let detail = "You have your character already. There is one for each account.";
            return Err(ApiError::new(StatusCode::CONFLICT, "influencer_exists", detail));
        }
        RequestOutcome::NoUser => return Err(ApiError::account_gone()),
    };
    tracing::info!(user.id = %her.user_id, influencer.id = %her.id, attempt = her.attempt, "influencer requested");
    metrics::count("InfluencersRequested", 1);

    if let Err(error) = start_workflow(&deps, &her).await {
        give_up(&deps, &her, error).await?;
    }
    json(StatusCode::ACCEPTED, &json!({ "influencer": shown(her) }))
}

/// Asks the database once more when its answer does not come: the first request may have been carried out all the same, and
/// its user would wait for a workflow that nobody started.
async fn request_influencer(deps: &Deps, user_id: UserId, wish: &Wish) -> Result<RequestOutcome, SupabaseError> {
    let (request_id, deadline) = (Uuid::new_v4(), deps.config.setup_deadline_seconds);
    let ask = || deps.supabase.request_influencer(user_id, request_id, &wish.name, &wish.bio, &wish.vibe, deadline);
    match ask().await {
        Err(SupabaseError::Unavailable(_)) => ask().await,
        answer => answer,
    }
}

async fn start_workflow(deps: &Deps, her: &Influencer) -> anyhow::Result<()> {
    let scope = callback_token::Scope { influencer_id: her.id, attempt: her.attempt, trace: trace::id() };
    let lifetime = SignedDuration::from_secs(i64::from(deps.config.setup_deadline_seconds) + TOKEN_GRACE_SECONDS);
    let token = callback_token::issue(&deps.config.callback_token_secret, scope, Timestamp::now(), lifetime)
        .context("failed to sign the callback token")?;
    let request = SetUpRequest {
        influencer_id: her.id,
        user_id: her.user_id,
        attempt: her.attempt,
        name: &her.name,
        bio: &her.bio,
        vibe: &her.vibe,
        callback_url: &deps.config.callback_url,
        callback_token: &token,
    };
    let idempotency_key = format!("{}:{}", her.id, her.attempt);
    deps.n8n.start_set_up(&idempotency_key, &request).await.context("failed to start the workflow")
}

/// Records that n8n did not take the work, so that the user may try again at once. If its answer has come meanwhile, it did
/// take it, and all is well.
async fn give_up(deps: &Deps, her: &Influencer, cause: anyhow::Error) -> Result<(), ApiError> {
    let failure = Failure::WorkflowUnavailable;
    let unavailable = ApiError::new(StatusCode::BAD_GATEWAY, "workflow_unavailable", failure.message());
    match deps.supabase.fail_influencer(her.id, Some(her.attempt), State::Requested, failure, failure.message()).await {
        Ok(FailOutcome::Conflict | FailOutcome::Locked) => Ok(()),
        Ok(FailOutcome::Failed) => {
            metrics::count_of("InfluencersFailed", ("Reason", failure.code()), 1);
            Err(unavailable.because(cause))
        }
        Ok(_) => Err(unavailable.because(cause)),
        Err(error) => Err(unavailable.because(cause.context(format!("and it could not be recorded: {error}")))),
    }
}

fn shown(her: Influencer) -> influencer::Shown {
    influencer::Shown {
        id: her.id,
        name: her.name,
        bio: her.bio,
        vibe: her.vibe,
        state: her.state,
        requested_at: her.requested_at,
        failure: None,
        image_url: None,
        image_url_expires_at: None,
        created_at: None,
    }
}
