//! What Stripe says, brought into the database: the function stripe-webhook does it for events as they come, the operator's
//! tool for events of the past and for what no event told.
//!
//! An event is either a fact, which is applied as it is, or it only says that something changed, which is then fetched from
//! Stripe as it is now. What must be atomic or happen once is the database's (`infra/supabase/migrations/*_stripe_rpcs.sql`).

mod endpoint;
mod event;
mod reading;
mod reconcile;

use stripe_client::{Stripe, StripeError};
use supabase_client::{Applied, Begun, Change, Goods, Purchase, Reversal, Service, SubscriptionState, SupabaseError};

pub use endpoint::EVENT_TYPES;
pub use event::{Event, EventError};
use reading::{About, Meaning, at_stake};
pub use reading::{priced_lines, purchase_of_invoice, purchase_of_session, state_of_subscription};
pub use reconcile::{Difference, Remedy, Scope, Summary, advice};

/// Applies what Stripe says.
#[derive(Clone, Debug)]
pub struct Billing {
    stripe: Stripe,
    database: Service,
}

/// Why an event did not take effect. Each may go away: the event should come again.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// Stripe did not say how things stand.
    #[error("failed to fetch from Stripe")]
    Stripe(#[from] StripeError),
    /// The database did not take it.
    #[error("failed to apply the event")]
    Database(#[from] SupabaseError),
    /// The object in the event is none that we can read; the event is kept.
    #[error("the event's object cannot be read")]
    Unreadable(#[source] EventError),
}

impl Billing {
    /// Between this account and this database.
    #[must_use]
    pub fn new(stripe: Stripe, database: Service) -> Self {
        Self { stripe, database }
    }

    /// Applies an event; `None` when it is of a type that means nothing to us. One round trip to the database for a fact, two
    /// where something is fetched from Stripe in between. `again`: also one that took effect before, which changes nothing
    /// but what is not as it should be.
    ///
    /// # Errors
    /// When it did not take effect and should come again.
    pub async fn apply(&self, event: &Event, again: bool) -> Result<Option<Applied>, BillingError> {
        let meaning = match Meaning::of(event) {
            Ok(meaning) => meaning,
            Err(error) => {
                self.database.begin_stripe_event(event.raw(), again).await?;
                return Err(BillingError::Unreadable(error));
            }
        };
        let (change, ticket) = match meaning {
            Meaning::Nothing => return Ok(None),
            Meaning::Fact(change) => (change, None),
            Meaning::LongInvoice { invoice, purchase } => {
                let lines = priced_lines(self.stripe.invoice_lines(&invoice).await?);
                (Change::Purchase(Purchase { goods: Goods::Lines { lines }, ..purchase }), None)
            }
            Meaning::Changed(about) => match self.database.begin_stripe_event(event.raw(), again).await? {
                Begun::Duplicate => return Ok(Some(Applied::Duplicate)),
                Begun::Begun { ticket } => (self.fetch(&about).await?, Some(ticket)),
            },
        };
        Ok(Some(self.database.apply_stripe_event(event.raw(), &change, ticket, again).await?))
    }

    async fn fetch(&self, about: &About) -> Result<Change, StripeError> {
        match about {
            About::Subscription(id) => Ok(Change::Subscription(match self.stripe.subscription(id).await? {
                Some(subscription) => state_of_subscription(subscription),
                None => SubscriptionState::Gone { id: id.clone(), gone: true },
            })),
            About::Charge(id) => {
                let Some(charge) = self.stripe.charge(id).await? else { return Ok(Change::Nothing {}) };
                let purchase_key = match (charge.invoice, &charge.payment_intent) {
                    (Some(invoice), _) => format!("invoice:{invoice}"),
                    (None, Some(intent)) => self.purchase_key(intent).await?,
                    (None, None) => return Ok(Change::Nothing {}),
                };
                Ok(Change::Reversal(Reversal { id: charge.id, purchase_key, amount: charge.amount_refunded }))
            }
            About::Dispute(id) => {
                let Some(dispute) = self.stripe.dispute(id).await? else { return Ok(Change::Nothing {}) };
                let Some(intent) = &dispute.payment_intent else { return Ok(Change::Nothing {}) };
                let purchase_key = self.purchase_key(intent).await?;
                Ok(Change::Reversal(Reversal { amount: at_stake(&dispute), id: dispute.id, purchase_key }))
            }
        }
    }

    async fn purchase_key(&self, payment_intent: &str) -> Result<String, StripeError> {
        Ok(match self.stripe.invoice_of(payment_intent).await? {
            Some(invoice) => format!("invoice:{invoice}"),
            None => format!("payment_intent:{payment_intent}"),
        })
    }
}
