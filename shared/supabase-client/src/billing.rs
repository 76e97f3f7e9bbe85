//! Stripe's events on their way into the database (`infra/supabase/migrations/*_stripe_rpcs.sql`).

use domain::id::UserId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{influencers::Service, rest::SupabaseError};

/// What an event means for us.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Credits were paid for: a fact, which needs no ticket.
    Purchase(Purchase),
    /// How a subscription stands, as fetched.
    Subscription(SubscriptionState),
    /// How much of a payment is gone, as fetched.
    Reversal(Reversal),
    /// Nothing moves; the event is kept.
    Nothing {},
}

/// A payment for credits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Purchase {
    /// `invoice:<id>`, `payment_intent:<id>` or `checkout_session:<id>`: counted once.
    pub key: String,
    /// Stripe's customer.
    pub customer_id: Option<String>,
    /// Whom our own metadata names.
    pub user_id: Option<UserId>,
    /// What was bought.
    #[serde(flatten)]
    pub goods: Goods,
    /// In the currency's smallest unit.
    pub amount_paid: i64,
    /// Three lower-case letters.
    pub currency: String,
    /// When the bill or the visit to checkout was made.
    pub created: Timestamp,
}

/// What was bought.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Goods {
    /// Periods of whatever these prices stand for; the database knows which of them are plans.
    Lines {
        /// The invoice's lines that are no prorations.
        lines: Vec<PricedLine>,
    },
    /// A pack, with the credits that were promised when she went to pay.
    Pack {
        /// Which.
        pack_id: String,
        /// How many.
        credits: i32,
    },
}

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PricedLine {
    /// Stripe's price.
    pub price: String,
    /// How many of it.
    pub quantity: i64,
}

/// How a subscription stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SubscriptionState {
    /// As Stripe has it.
    Found {
        /// Its id.
        id: String,
        /// Stripe's customer.
        customer_id: String,
        /// Whom our own metadata names.
        user_id: Option<UserId>,
        /// Stripe's word.
        status: String,
        /// Its items.
        items: Vec<PeriodItem>,
        /// When it will end, if it was cancelled.
        cancel_at: Option<Timestamp>,
        /// When it ended.
        ended_at: Option<Timestamp>,
        /// When it was made.
        created: Timestamp,
    },
    /// Stripe does not have it any more.
    Gone {
        /// Its id.
        id: String,
        /// Always true.
        gone: bool,
    },
}

/// One item of a subscription and its paid period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeriodItem {
    /// Stripe's price.
    pub price: String,
    /// The period's beginning.
    pub current_period_start: Timestamp,
    /// The period's end.
    pub current_period_end: Timestamp,
}

/// How much of a payment is gone at present, through one charge's refunds or one dispute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reversal {
    /// The charge's or the dispute's id.
    pub id: String,
    /// Which purchase it was, whether or not that is known yet.
    pub purchase_key: String,
    /// In the currency's smallest unit.
    pub amount: i64,
}

/// What came of [`Service::begin_stripe_event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Begun {
    /// Fetch now, then apply with this ticket.
    Begun {
        /// Orders this fetch among all others.
        ticket: i64,
    },
    /// It took effect before.
    Duplicate,
}

/// What came of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Credits were given.
    Granted,
    /// It took effect before.
    Duplicate,
    /// What was fetched is stored.
    Stored,
    /// Something fetched later was stored before.
    Stale,
    /// It is not about anything of ours.
    Ignored,
    /// Kept; nothing moves.
    Noted,
    /// Nobody could be found for it: somebody has to look.
    Unmatched,
    /// Customer and metadata name different users: somebody has to look.
    Mismatched,
}

impl Applied {
    /// As the database and the metrics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Duplicate => "duplicate",
            Self::Stored => "stored",
            Self::Stale => "stale",
            Self::Ignored => "ignored",
            Self::Noted => "noted",
            Self::Unmatched => "unmatched",
            Self::Mismatched => "mismatched",
        }
    }
}

impl Service {
    /// Stores an event and draws the ticket for fetching what it is about. `again`: also one that took effect before.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn begin_stripe_event(&self, event: &Value, again: bool) -> Result<Begun, SupabaseError> {
        self.rpc("begin_stripe_event", &json!({ "p_event": event.to_string(), "p_again": again })).await
    }

    /// Stores an event and applies what it means. Atomic and repeatable. `ticket` is for what was fetched.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn apply_stripe_event(
        &self,
        event: &Value,
        change: &Change,
        ticket: Option<i64>,
        again: bool,
    ) -> Result<Applied, SupabaseError> {
        #[derive(Deserialize)]
        struct Answer {
            outcome: Applied,
        }
        let arguments = json!({
            "p_event": event.to_string(), "p_change": json!(change).to_string(), "p_ticket": ticket, "p_again": again,
        });
        let Answer { outcome } = self.rpc("apply_stripe_event", &arguments).await?;
        Ok(outcome)
    }
}
