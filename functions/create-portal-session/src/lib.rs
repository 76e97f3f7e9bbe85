//! `POST /billing-portal-sessions {return_url?}`: Stripe's portal, where the caller changes her card, cancels or resumes her
//! subscription, and finds her invoices.
//!
//! - Who may call: a signed-in user of the Supabase project. Which customer she is, is read as herself from
//!   `stripe_customers`; no request can name one.
//! - Effects: a link that is good for a few minutes. Twice makes two of them.

mod config;

use std::{sync::Arc, time::Duration};

use auth::Verifier;
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, FieldError, json};
use serde_json::{Map, Value, json};
use stripe_client::{Site, Stripe};
use supabase_client::{AsCaller, SupabaseError};
use url::Url;

pub use config::Config;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: AsCaller,
    stripe: Stripe,
    site: Site,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        // Keys, one read and Stripe's eight seconds: all of it within the API's 30 seconds.
        let http = http_client::client(Duration::from_secs(5))?;
        Ok(Self {
            verifier: Verifier::new(http.clone(), config.auth.clone()),
            supabase: AsCaller::new(http, config.auth.supabase_url, config.auth.supabase_publishable_key),
            stripe: Stripe::new(config.stripe_api_url, config.stripe_secret_key)?,
            site: config.site,
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 400 `malformed_json`, 401 `unauthenticated`, 409 `no_billing_account`, 422 `invalid_fields`, 503 `database_unavailable` or
/// `stripe_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let return_url = return_url(request.body(), &deps.site)?;

    let customer = deps.supabase.stripe_customer(caller.user_id, &caller.token).await.map_err(|error| match error {
        SupabaseError::Unauthenticated => ApiError::unauthenticated("Please log in again.").because(error),
        error => ApiError::unavailable("database_unavailable", error),
    })?;
    let Some(customer) = customer else { return Err(no_billing_account()) };

    let portal_url = deps.stripe.create_portal_session(&customer, &return_url).await.map_err(|error| {
        if error.is_missing("customer") {
            no_billing_account().because(error)
        } else {
            ApiError::unavailable("stripe_unavailable", error)
        }
    })?;
    json(StatusCode::CREATED, &json!({ "portal_url": portal_url }))
}

/// Where she comes back to. The body may be missing altogether.
fn return_url(body: &Body, site: &Site) -> Result<Url, ApiError> {
    let object: Map<String, Value> = match body.as_ref() {
        b"" => Map::new(),
        body => serde_json::from_slice(body).map_err(|error| ApiError::malformed_json(&error))?,
    };
    let (code, detail) = match object.get("return_url") {
        None | Some(Value::Null) => return Ok(site.page("/dashboard", None)),
        Some(Value::String(text)) => match site.parse(text) {
            Ok(url) => return Ok(url),
            Err(error) => (error.code(), error.to_string()),
        },
        Some(_) => ("invalid", "must be a text".to_owned()),
    };
    Err(ApiError::invalid_fields(vec![FieldError { pointer: "#/return_url".to_owned(), code, detail }]))
}

fn no_billing_account() -> ApiError {
    let detail = "There is nothing to manage yet: you have not bought anything.";
    ApiError::new(StatusCode::CONFLICT, "no_billing_account", detail)
}
