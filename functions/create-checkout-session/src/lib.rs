//! `POST /checkout-sessions {plan_id | pack_id, success_url?, cancel_url?}`: a page of Stripe's where the caller pays.
//!
//! - Who may call: a signed-in user of the Supabase project.
//! - Effects: her customer at Stripe, made once and kept in `stripe_customers`; a checkout page there. Nothing is hers
//!   before Stripe reports the payment to stripe-webhook.
//! - Once only: the same wish finds the page that is still open for it, so a second click or tab gets the same one and
//!   cannot pay twice; when both ask at once, they ask Stripe under one idempotency key. What was made by a call that was
//!   killed is found or made again by the next.

mod config;
mod order;

use std::{sync::Arc, time::Duration};

use auth::{Caller, Verifier};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use lambda_http::{Body, Request, Response, http::StatusCode};
use lambda_kit::{ApiError, json};
use serde_json::json;
use stripe_client::{CheckoutSession, NewCheckoutSession, Offer, Site, Stripe, StripeError};
use supabase_client::{CheckoutContext, KeepOutcome, Service, SupabaseError, Wanted};
use tokio::{time::timeout, try_join};

pub use config::Config;
use order::Order;

/// For all that is asked of Stripe. Keys and the first question to the database take eight seconds at most; it is a dozen
/// requests at the very worst, and the API gives up after 30 seconds.
const STRIPE_TIME: Duration = Duration::from_secs(18);

/// A page that closes sooner than this is not handed out again.
const TIME_TO_PAY: SignedDuration = SignedDuration::from_mins(30);

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    verifier: Verifier,
    supabase: Service,
    stripe: Stripe,
    site: Site,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(4))?;
        Ok(Self {
            verifier: Verifier::new(http.clone(), config.auth.clone()),
            supabase: Service::new(http, config.auth.supabase_url, config.supabase_secret_key),
            stripe: Stripe::new(config.stripe_api_url, config.stripe_secret_key)?,
            site: config.site,
        })
    }
}

/// Serves one request.
///
/// # Errors
/// 400 `malformed_json`, 401 `unauthenticated`, 409 `already_subscribed` with `portal_url`, 422 `invalid_fields`,
/// 503 `database_unavailable` or `stripe_unavailable`.
pub async fn handle(deps: Arc<Deps>, request: Request) -> Result<Response<Body>, ApiError> {
    let caller = deps.verifier.authenticate(request.headers()).await?;
    let order = Order::parse(request.body(), &deps.site)?;

    let context = deps.supabase.checkout_context(caller.user_id, &order.wanted).await.map_err(no_database)?;
    let selling = sell(&deps, &caller, &order, context);
    let session =
        timeout(STRIPE_TIME, selling).await.map_err(|late| ApiError::unavailable("stripe_unavailable", late))??;

    let Some(url) = session.url else {
        return Err(ApiError::unavailable("stripe_unavailable", anyhow::anyhow!("the checkout session has no page")));
    };
    tracing::info!(user.id = %caller.user_id, session.id = session.id, wanted = ?order.wanted, "checkout begins");
    json(StatusCode::CREATED, &json!({ "checkout_url": url, "session_id": session.id }))
}

async fn sell(
    deps: &Deps,
    caller: &Caller,
    order: &Order,
    context: CheckoutContext,
) -> Result<CheckoutSession, ApiError> {
    let (known, price, credits) = match context {
        CheckoutContext::Ok { customer_id, price_id, credits } => (customer_id, price_id, credits),
        CheckoutContext::Unknown => return Err(order.unknown()),
        CheckoutContext::NoUser => return Err(ApiError::account_gone()),
        CheckoutContext::AlreadySubscribed { customer_id } => return Err(already_subscribed(deps, &customer_id).await),
    };
    let mut customer = match known {
        Some(customer) => customer,
        None => make_customer(deps, caller, None).await?,
    };
    let offer = match &order.wanted {
        Wanted::Plan(id) => Offer::Plan { id },
        Wanted::Pack(id) => Offer::Pack { id, credits },
    };
    let new = NewCheckoutSession {
        customer: &customer,
        user_id: caller.user_id,
        price: &price,
        offer,
        success_url: &order.success_url,
        cancel_url: &order.cancel_url,
    };
    let found = match open_page(&deps.stripe, &new).await {
        // Deleted in Stripe's dashboard, or left over from another account or mode: nobody can pay as her any more.
        Err(error) if error.is_missing("customer") => {
            let made = make_customer(deps, caller, Some(&customer)).await?;
            let found = open_page(&deps.stripe, &NewCheckoutSession { customer: &made, ..new }).await;
            customer = made;
            found
        }
        found => found,
    };
    match found.map_err(no_stripe)? {
        Some(session) => Ok(session),
        None => Err(already_subscribed(deps, &customer).await),
    }
}

/// Makes the user's customer at Stripe, in the place of one that is gone if there was one. Whichever is kept first counts, so
/// requests at the same time end with the same one; killed before it is kept, the next request gets it by the same key.
async fn make_customer(deps: &Deps, caller: &Caller, gone: Option<&str>) -> Result<String, ApiError> {
    let key = format!("customer:{}:{}", caller.user_id, gone.unwrap_or("first"));
    let email = caller.email.as_deref().filter(|email| !email.is_empty());
    let made = match deps.stripe.create_customer(&key, caller.user_id, email).await {
        // Stripe takes fewer addresses than there are; its page asks for one then.
        Err(StripeError::Refused { param, .. }) if param == "email" => {
            deps.stripe.create_customer(&key, caller.user_id, None).await
        }
        made => made,
    };
    let made = made.map_err(no_stripe)?;
    match deps.supabase.keep_stripe_customer(caller.user_id, &made, gone).await.map_err(no_database)? {
        KeepOutcome::Kept { customer_id } => Ok(customer_id),
        KeepOutcome::NoUser => Err(ApiError::account_gone()),
    }
}

/// The page for `new`: one that is open already, else a new one. `None` when she turns out to have a subscription, which
/// Stripe knows before we do.
async fn open_page(stripe: &Stripe, new: &NewCheckoutSession<'_>) -> Result<Option<CheckoutSession>, StripeError> {
    let before = look(stripe, new).await?;
    if before.subscribed {
        return Ok(None);
    }
    let closing = Timestamp::now() + TIME_TO_PAY;
    let open = before.open().find(|session| new.made(session) && session.expires_at > closing).cloned();
    let (session, seen) = match open {
        Some(session) => (session, before),
        None => {
            // Requests at the same time see the same newest page, and so make one under one key.
            let newest = before.sessions.first().map_or("first", |session| &session.id);
            let key = format!("checkout:{}:{newest}", new.user_id);
            let session = stripe.create_checkout_session(&key, new).await?;
            // A request with another wish may have made its page meanwhile, and somebody may just have paid.
            (session, look(stripe, new).await?)
        }
    };
    if matches!(new.offer, Offer::Plan { .. }) {
        // Two open pages could subscribe her twice. When this comes too late for one, it is paid.
        let unwanted =
            |other: &&CheckoutSession| other.mode == "subscription" && (seen.subscribed || other.id != session.id);
        try_join_all(seen.open().filter(unwanted).map(|other| stripe.expire_checkout_session(&other.id))).await?;
    }
    Ok((!seen.subscribed).then_some(session))
}

/// What Stripe knows of a customer.
struct Seen {
    /// Newest first.
    sessions: Vec<CheckoutSession>,
    /// Whether she has a subscription, as far as that matters for what she wants.
    subscribed: bool,
}

impl Seen {
    fn open(&self) -> impl Iterator<Item = &CheckoutSession> {
        self.sessions.iter().filter(|session| session.status.as_deref() == Some("open"))
    }
}

async fn look(stripe: &Stripe, new: &NewCheckoutSession<'_>) -> Result<Seen, StripeError> {
    let sessions = stripe.checkout_sessions(new.customer);
    match new.offer {
        Offer::Plan { .. } => {
            let (sessions, live) = try_join!(sessions, stripe.live_subscriptions(new.customer))?;
            Ok(Seen { sessions, subscribed: !live.is_empty() })
        }
        Offer::Pack { .. } => Ok(Seen { sessions: sessions.await?, subscribed: false }),
    }
}

async fn already_subscribed(deps: &Deps, customer: &str) -> ApiError {
    match deps.stripe.create_portal_session(customer, &deps.site.page("/dashboard", None)).await {
        Ok(portal_url) => {
            let detail = "You have a subscription already. You can change it where you manage it.";
            ApiError::new(StatusCode::CONFLICT, "already_subscribed", detail).with("portal_url", portal_url)
        }
        Err(error) => no_stripe(error),
    }
}

fn no_database(error: SupabaseError) -> ApiError {
    ApiError::unavailable("database_unavailable", error)
}

fn no_stripe(error: StripeError) -> ApiError {
    ApiError::unavailable("stripe_unavailable", error)
}
