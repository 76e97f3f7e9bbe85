//! `reconcile` and `replay`.

use std::time::Duration;

use anyhow::{Context, bail};
use billing::{Billing, BillingError, Event, Scope, Summary, advice};
use domain::id::UserId;
use jiff::{SignedDuration, Timestamp};
use lambda_kit::Settings;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use stripe_client::Stripe;
use supabase_client::{Applied, Service};

use crate::End;

/// A page of changes is tried out in one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Stripe, the database, and what brings the one into the other.
pub(crate) struct Money {
    stripe: Stripe,
    database: Service,
    billing: Billing,
    livemode: bool,
}

impl Money {
    /// With the settings of stripe-webhook.
    pub(crate) fn connect(settings: &Settings) -> anyhow::Result<Self> {
        let config = stripe_webhook::Config::read(settings)?;
        if let Some(live) = is_live(&config.stripe_secret_key).filter(|live| *live != config.stripe_livemode) {
            bail!("STRIPE_SECRET_KEY is a {} key, and STRIPE_LIVEMODE is {}", mode(live), config.stripe_livemode);
        }
        let http = http_client::client(TIMEOUT)?;
        let stripe = Stripe::new(config.stripe_api_url, config.stripe_secret_key)?;
        let database = Service::new(http, config.supabase_url, config.supabase_secret_key);
        let billing = Billing::new(stripe.clone(), database.clone());
        Ok(Self { stripe, database, billing, livemode: config.stripe_livemode })
    }

    pub(crate) async fn reconcile(
        &self,
        since: SignedDuration,
        user: Option<UserId>,
        apply: bool,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> anyhow::Result<End> {
        let since = Timestamp::now().checked_sub(since).context("--since is too long ago")?;
        let scope = Scope { since, user, apply };
        let Summary { compared, found, mendable } =
            self.billing.reconcile(scope, &mut |difference| say(&difference.to_string())).await?;
        let left = found - mendable;
        let differences = if found == 1 { "1 difference".to_owned() } else { format!("{found} differences") };
        say(&match (found, apply) {
            (0, _) => format!("No differences: {compared} objects were looked at."),
            (_, false) => format!("{differences}, {compared} objects: --apply mends {mendable}, {left} for a person."),
            (_, true) => format!("{differences}, {compared} objects: {mendable} mended, {left} for a person."),
        });
        Ok(End::well_if(found == 0 || apply && left == 0))
    }

    pub(crate) async fn replay(&self, id: &str, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<End> {
        let stored = self.database.stripe_event(id).await?.map(|event| event.payload);
        let payload = match stored {
            Some(payload) => payload,
            None => self.stripe.event(id).await?.with_context(|| {
                format!(
                    "neither the database nor Stripe has {id}: Stripe keeps events for 30 days, each in its own mode"
                )
            })?,
        };
        let (well, sentence) = self.again(payload).await?;
        say(&sentence);
        Ok(End::well_if(well))
    }

    pub(crate) async fn replay_unapplied(&self, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<End> {
        let (mut count, mut left, mut after) = (0, 0, String::new());
        loop {
            let page = self.database.unapplied_events(Timestamp::UNIX_EPOCH, &after).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for event in page {
                let (well, sentence) = match self.again(event.payload).await {
                    Err(error) if !is_temporary(&error) => (false, format!("{}: {error:#}.", event.id)),
                    answer => answer?,
                };
                count += 1;
                left += usize::from(!well);
                say(&sentence);
            }
        }
        say(&format!("{count} applied again, {left} still waiting."));
        Ok(End::well_if(left == 0))
    }

    /// Applies an event again; whether that was well, and how it went.
    async fn again(&self, payload: Value) -> anyhow::Result<(bool, String)> {
        let event = Event::from_value(payload)?;
        if event.livemode() != self.livemode {
            bail!("{} is a {} event, and STRIPE_LIVEMODE is {}", event.id(), mode(event.livemode()), self.livemode);
        }
        let outcome = self.billing.apply(&event, true).await?;
        let words = match outcome {
            Some(outcome) => advice(outcome).unwrap_or(match outcome {
                Applied::Granted => "Credits were given.",
                Applied::Stored => "What Stripe says now is stored.",
                Applied::Duplicate => "It had been counted before; nothing moved.",
                Applied::Stale => "Something fetched later is stored already; nothing moved.",
                Applied::Ignored => "It is not about anything of ours; nothing moved.",
                _ => "It is kept, and moves nothing.",
            }),
            None => "Events of this type mean nothing to us.",
        };
        let well = outcome.is_none_or(|outcome| advice(outcome).is_none());
        Ok((well, format!("{} ({}): {words}", event.id(), event.kind())))
    }
}

/// Whether it concerns everything that would come next, too.
fn is_temporary(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(BillingError::is_temporary)
}

/// Whether a key moves real money; `None` when it does not say.
pub(crate) fn is_live(key: &SecretString) -> Option<bool> {
    let key = key.expose_secret();
    let begins = |prefixes: [&str; 2]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    match (begins(["sk_live_", "rk_live_"]), begins(["sk_test_", "rk_test_"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

pub(crate) fn mode(live: bool) -> &'static str {
    if live { "live" } else { "test" }
}
