//! Function URL for Stripe's webhook (<https://docs.stripe.com/webhooks>): credits for what was paid, plans as subscriptions
//! stand, credits back for money that was returned.
//!
//! - Who may call: who signs the raw body with the endpoint's secret, or with the one before it (`Stripe-Signature`).
//! - Effects: the event is kept and what it means is applied, in one transaction (`shared/billing`).
//! - Once only: purchases are counted by invoice or payment, whatever event tells of them; everything else is fetched as it is
//!   now, and the latest fetch stays. Events may come twice, in any order, and late.
//!
//! 2xx means that Stripe need not send it again, also for types that mean nothing to us. For our own failures the answer is
//! 5xx, and Stripe repeats for three days.

mod config;

use std::{sync::Arc, time::Duration};

use auth::signature;
use billing::{Billing, BillingError, Event};
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json, metrics};
use serde_json::json;
use stripe_client::Stripe;
use supabase_client::{Applied, Service};

pub use config::Config;

/// The header that carries the signature: `t=<unix seconds>,v1=<hex>`, the scheme of [`signature`].
const SIGNATURE: &str = "stripe-signature";

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    config: Config,
    billing: Billing,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(5))?;
        let database = Service::new(http, config.supabase_url.clone(), config.supabase_secret_key.clone());
        let stripe = Stripe::new(config.stripe_api_url.clone(), config.stripe_secret_key.clone())?;
        Ok(Self { billing: Billing::new(stripe, database), config })
    }
}

/// Serves one request.
///
/// # Errors
/// 401 `unauthenticated`, 400 `not_an_event`, `thin_event` or `wrong_mode`, 500 `unreadable_event`, 503
/// `database_unavailable` or `stripe_unavailable` (send it again).
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let applied = apply(&deps, &request).await;
    let outcome = match &applied {
        Ok(Some(outcome)) => outcome.name(),
        Ok(None) => "not_kept",
        Err(error) => error.code(),
    };
    metrics::count_of("StripeEvents", ("Outcome", outcome), 1);
    applied?;
    json(StatusCode::OK, &json!({ "received": true }))
}

/// What came of the event; `None` when its type means nothing to us.
async fn apply(deps: &Deps, request: &Request) -> Result<Option<Applied>, ApiError> {
    authenticate(&deps.config, request)?;
    let event = Event::parse(request.body()).map_err(refused)?;
    if event.livemode() != deps.config.stripe_livemode {
        let detail = "This endpoint is for the other mode: live events and test events do not mix.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "wrong_mode", detail));
    }

    let applied = deps.billing.apply(&event, false).await.map_err(failed)?;
    match applied {
        Some(outcome @ (Applied::Unmatched | Applied::Mismatched)) => {
            // An alarm counts these lines: somebody paid, and we do not know who.
            tracing::error!(event.id = event.id(), event.kind = event.kind(), ?outcome, "event needs a person");
        }
        outcome => tracing::info!(event.id = event.id(), event.kind = event.kind(), ?outcome, "event applied"),
    }
    Ok(applied)
}

fn authenticate(config: &Config, request: &Request) -> Result<(), ApiError> {
    let header = request.headers().get(SIGNATURE).and_then(|header| header.to_str().ok());
    let header = header.ok_or_else(|| ApiError::unauthenticated("Stripe signs what it sends."))?;
    let now = Timestamp::now();
    let right = [Some(&config.stripe_webhook_secret), config.stripe_webhook_secret_previous.as_ref()]
        .into_iter()
        .flatten()
        .any(|secret| signature::verify(secret, header, now, request.body()));
    if right { Ok(()) } else { Err(ApiError::unauthenticated("The signature is wrong or too old.")) }
}

fn refused(error: billing::EventError) -> ApiError {
    let refused = match error {
        billing::EventError::Thin => {
            let detail = "Set this endpoint up for snapshot events; this is a thin one.";
            ApiError::new(StatusCode::BAD_REQUEST, "thin_event", detail)
        }
        billing::EventError::Malformed(_) => {
            ApiError::new(StatusCode::BAD_REQUEST, "not_an_event", "The body is no Stripe event.")
        }
    };
    refused.because(error)
}

fn failed(error: BillingError) -> ApiError {
    match error {
        BillingError::Database(error) => ApiError::unavailable("database_unavailable", error),
        BillingError::Stripe(error) => ApiError::unavailable("stripe_unavailable", error),
        BillingError::Unreadable(error) => {
            let detail = "The event is kept, but we cannot read what it is about.";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable_event", detail).because(error)
        }
    }
}
