//! What an event means for us.

use std::collections::BTreeMap;

use domain::id::UserId;
use jiff::Timestamp;
use serde::Deserialize;
use stripe_client::{CheckoutSession, Dispute, Invoice, InvoiceLine, Subscription, optional_reference};
use supabase_client::{Change, Goods, PeriodItem, PricedLine, Purchase, SubscriptionState};

use crate::event::{Event, EventError};

/// What an event means.
#[derive(Debug, PartialEq)]
pub(crate) enum Meaning {
    /// A type that we do not handle.
    Nothing,
    /// Something that happened, whatever happens later.
    Fact(Change),
    /// A paid invoice that has more lines than the event shows.
    LongInvoice { invoice: String, purchase: Purchase },
    /// Something is no longer as it was; how it is now has to be fetched.
    Changed(About),
}

/// What is to be fetched, by its id.
#[derive(Debug, PartialEq)]
pub(crate) enum About {
    Subscription(String),
    Charge(String),
    Dispute(String),
}

#[derive(Deserialize)]
struct Refund {
    #[serde(default, deserialize_with = "optional_reference")]
    charge: Option<String>,
}

/// An object of which only the id matters.
#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Meaning {
    pub(crate) fn of(event: &Event) -> Result<Self, EventError> {
        let noted = || Self::Fact(Change::Nothing {});
        Ok(match event.kind() {
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
                let session: CheckoutSession = event.object()?;
                match (purchase_of_session(&session), session.subscription) {
                    (Some(purchase), _) => Self::Fact(Change::Purchase(purchase)),
                    (None, Some(subscription)) => Self::Changed(About::Subscription(subscription)),
                    (None, None) => noted(),
                }
            }
            // Nothing was given for them, so nothing is taken back.
            "checkout.session.async_payment_failed" | "checkout.session.expired" => noted(),
            // The second is what came before the first; who gets both hears of one payment twice.
            "invoice.paid" | "invoice.payment_succeeded" => {
                let invoice: Invoice = event.object()?;
                match purchase_of_invoice(&invoice) {
                    Some(purchase) if invoice.more_lines => Self::LongInvoice { invoice: invoice.id, purchase },
                    Some(purchase) => Self::Fact(Change::Purchase(purchase)),
                    None => noted(),
                }
            }
            "invoice.payment_failed" => match event.object::<Invoice>()?.subscription {
                Some(subscription) => Self::Changed(About::Subscription(subscription)),
                None => noted(),
            },
            "customer.subscription.created"
            | "customer.subscription.updated"
            | "customer.subscription.deleted"
            | "customer.subscription.paused"
            | "customer.subscription.resumed" => Self::Changed(About::Subscription(event.object::<Named>()?.id)),
            "charge.refunded" => Self::Changed(About::Charge(event.object::<Named>()?.id)),
            // The last is the name of the second and third before 2024.
            "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
                match event.object::<Refund>()?.charge {
                    Some(charge) => Self::Changed(About::Charge(charge)),
                    None => noted(),
                }
            }
            "charge.dispute.created"
            | "charge.dispute.updated"
            | "charge.dispute.closed"
            | "charge.dispute.funds_withdrawn"
            | "charge.dispute.funds_reinstated" => Self::Changed(About::Dispute(event.object::<Named>()?.id)),
            _ => Self::Nothing,
        })
    }
}

/// What a paid invoice is a payment for; `None` when it begins no period: the invoice of a change within one settles the
/// difference in money, and would give a period's credits for the asking.
pub fn purchase_of_invoice(invoice: &Invoice) -> Option<Purchase> {
    let begins_a_period = match invoice.billing_reason.as_deref() {
        Some(reason) => ["subscription_create", "subscription_cycle"].contains(&reason),
        // Very old ones do not say; then the lines decide, of which prorations do not count.
        None => invoice.subscription.is_some(),
    };
    begins_a_period.then(|| Purchase {
        key: format!("invoice:{}", invoice.id),
        customer_id: invoice.customer.clone(),
        user_id: user_id(&invoice.subscription_metadata),
        goods: Goods::Lines { lines: priced_lines(invoice.lines.clone()) },
        amount_paid: invoice.amount_paid,
        currency: invoice.currency.clone(),
        created: invoice.created,
    })
}

/// The lines that bill a period.
pub fn priced_lines(lines: Vec<InvoiceLine>) -> Vec<PricedLine> {
    let whole = lines.into_iter().filter(|line| !line.proration);
    whole.filter_map(|line| Some(PricedLine { price: line.price?, quantity: line.quantity.try_into().ok()? })).collect()
}

/// What a checkout session was a payment for; `None` while it is not paid, for a subscription (its invoice is the payment),
/// and when it was not for one of our packs.
pub fn purchase_of_session(session: &CheckoutSession) -> Option<Purchase> {
    if session.mode != "payment" || session.payment_status == "unpaid" {
        return None;
    }
    let pack_id = session.metadata.get("pack_id")?.clone();
    let credits = session.metadata.get("credits")?.parse().ok()?;
    Some(Purchase {
        key: match &session.payment_intent {
            Some(intent) => format!("payment_intent:{intent}"),
            None => format!("checkout_session:{}", session.id),
        },
        customer_id: session.customer.clone(),
        user_id: user_id(&session.metadata),
        goods: Goods::Pack { pack_id, credits },
        amount_paid: session.amount_total.unwrap_or_default(),
        currency: session.currency.clone().unwrap_or_default(),
        created: session.created,
    })
}

/// A subscription as the database keeps it.
pub fn state_of_subscription(subscription: Subscription) -> SubscriptionState {
    let period_end = subscription.items.iter().map(|item| item.current_period_end).max();
    SubscriptionState::Found {
        customer_id: subscription.customer,
        user_id: user_id(&subscription.metadata),
        status: subscription.status,
        cancel_at: cancel_at(subscription.cancel_at, subscription.cancel_at_period_end, period_end),
        items: subscription
            .items
            .into_iter()
            .map(|item| PeriodItem {
                price: item.price,
                current_period_start: item.current_period_start,
                current_period_end: item.current_period_end,
            })
            .collect(),
        ended_at: subscription.ended_at,
        created: subscription.created,
        id: subscription.id,
    }
}

fn cancel_at(at: Option<Timestamp>, at_period_end: bool, period_end: Option<Timestamp>) -> Option<Timestamp> {
    at.or(period_end.filter(|_| at_period_end))
}

/// How much of a payment a dispute has taken away, as it stands. An inquiry (`warning_…`) takes nothing, nor does one that was
/// won; a status that we do not know neither, until Stripe says what came of it.
pub(crate) fn at_stake(dispute: &Dispute) -> i64 {
    match dispute.status.as_str() {
        "needs_response" | "under_review" | "lost" | "appeal_needs_response" | "appeal_under_review" => dispute.amount,
        _ => 0,
    }
}

/// Whom our own metadata names.
pub(crate) fn user_id(metadata: &BTreeMap<String, String>) -> Option<UserId> {
    metadata.get("user_id")?.parse().ok().map(UserId)
}
