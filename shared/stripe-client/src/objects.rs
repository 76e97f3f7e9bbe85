//! Stripe's objects, as much of them as somebody here needs. The API of 2025-03-31 ("basil") moved fields; both places are read.

use std::collections::BTreeMap;

use jiff::{Timestamp, fmt::serde::timestamp::second};
use serde::{Deserialize, Deserializer};

/// What a customer pays for again and again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SubscriptionWire")]
pub struct Subscription {
    /// `sub_…`.
    pub id: String,
    /// Whose it is: `cus_…`.
    pub customer: String,
    /// Stripe's word: trialing, active, past_due, … or one that Stripe has yet to invent.
    pub status: String,
    /// What is subscribed to, often one.
    pub items: Vec<SubscriptionItem>,
    /// Whether it ends with the current period.
    pub cancel_at_period_end: bool,
    /// When it will end or ended, if that was decided.
    pub cancel_at: Option<Timestamp>,
    /// When that was decided.
    pub canceled_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What we wrote on it.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
}

/// One price of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionItem {
    /// `price_…`.
    pub price: String,
    /// How many; 1 where Stripe counts usage instead.
    pub quantity: u64,
    /// When the period began that is paid or to be paid now.
    pub current_period_start: Timestamp,
    /// When it ends.
    pub current_period_end: Timestamp,
}

/// A payment by card or the like.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Charge {
    /// `ch_…` or `py_…`.
    pub id: String,
    /// `pi_…`; all but very old ones have one.
    #[serde(default, deserialize_with = "optional_reference")]
    pub payment_intent: Option<String>,
    /// `in_…`; only before 2025-03-31, and only where an invoice was paid.
    #[serde(default, deserialize_with = "optional_reference")]
    pub invoice: Option<String>,
    /// `cus_…`.
    #[serde(default, deserialize_with = "optional_reference")]
    pub customer: Option<String>,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// What all refunds together returned.
    #[serde(default)]
    pub amount_refunded: i64,
    /// Three letters, lower case.
    pub currency: String,
}

/// A payment that the payer's bank has called back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Dispute {
    /// `dp_…` or `du_…`.
    pub id: String,
    /// `ch_…`.
    #[serde(deserialize_with = "reference")]
    pub charge: String,
    /// `pi_…`.
    #[serde(default, deserialize_with = "optional_reference")]
    pub payment_intent: Option<String>,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// needs_response, under_review, won, lost, warning_closed, …
    pub status: String,
}

/// A bill, for one period of a subscription or for its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "InvoiceWire")]
pub struct Invoice {
    /// `in_…`.
    pub id: String,
    /// `cus_…`.
    pub customer: Option<String>,
    /// `sub_…`; none on a bill for something else.
    pub subscription: Option<String>,
    /// What the subscription's metadata said when the bill was made.
    pub subscription_metadata: BTreeMap<String, String>,
    /// subscription_create, subscription_cycle, subscription_update, manual, …
    pub billing_reason: Option<String>,
    /// draft, open, paid, uncollectible, void.
    pub status: Option<String>,
    /// In the currency's smallest unit.
    pub amount_paid: i64,
    /// Three letters, lower case.
    pub currency: String,
    /// `pi_…` of what paid it, where the object says: today only when its payments are included.
    pub payment_intents: Vec<String>,
    /// What is billed: the first of them, all unless `more_lines`.
    pub lines: Vec<InvoiceLine>,
    /// Whether there are more lines than `lines` ([`Stripe::invoice_lines`](crate::Stripe::invoice_lines) has them all).
    pub more_lines: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "InvoiceLineWire")]
pub struct InvoiceLine {
    /// `price_…`; none on a line that was typed in by hand.
    pub price: Option<String>,
    /// How many; 1 where nothing is said.
    pub quantity: u64,
    /// Whether it settles a change within a period, instead of billing one.
    pub proration: bool,
}

/// A visit to Stripe's checkout page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CheckoutSession {
    /// `cs_…`.
    pub id: String,
    /// payment, subscription or setup.
    pub mode: String,
    /// open, complete or expired; none on very old ones.
    #[serde(default)]
    pub status: Option<String>,
    /// paid, unpaid or no_payment_required.
    pub payment_status: String,
    /// `cus_…`.
    #[serde(default, deserialize_with = "optional_reference")]
    pub customer: Option<String>,
    /// The user's id, as we gave it.
    #[serde(default)]
    pub client_reference_id: Option<String>,
    /// `sub_…`, once there is one.
    #[serde(default, deserialize_with = "optional_reference")]
    pub subscription: Option<String>,
    /// `pi_…`, once there is one; none where nothing was to be paid.
    #[serde(default, deserialize_with = "optional_reference")]
    pub payment_intent: Option<String>,
    /// `in_…`, once there is one.
    #[serde(default, deserialize_with = "optional_reference")]
    pub invoice: Option<String>,
    /// In the currency's smallest unit.
    #[serde(default)]
    pub amount_total: Option<i64>,
    /// Three letters, lower case.
    #[serde(default)]
    pub currency: Option<String>,
    /// What we wrote on it.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
    /// The page, while the session is open.
    #[serde(default)]
    pub url: Option<String>,
    /// When it closes by itself.
    #[serde(with = "second::required")]
    pub expires_at: Timestamp,
    /// When it was made.
    #[serde(with = "second::required")]
    pub created: Timestamp,
}

/// An id, or the object with that id where somebody asked Stripe to expand it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(String),
    Object { id: String },
}

impl From<Reference> for String {
    fn from((Reference::Id(id) | Reference::Object { id }): Reference) -> Self {
        id
    }
}

fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Reference::deserialize(deserializer).map(Into::into)
}

/// Reads an id that may be null, or the object with that id where somebody asked Stripe to expand it.
///
/// # Errors
/// For anything else.
pub fn optional_reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Reference>::deserialize(deserializer)?.map(Into::into))
}

pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

/// When a period begins and ends: on the items today, on the subscription before.
#[derive(Deserialize)]
struct Period {
    #[serde(default, with = "second::optional")]
    current_period_start: Option<Timestamp>,
    #[serde(default, with = "second::optional")]
    current_period_end: Option<Timestamp>,
}

#[derive(Deserialize)]
struct SubscriptionWire {
    id: String,
    customer: Reference,
    status: String,
    items: Page<SubscriptionItemWire>,
    #[serde(flatten)]
    period: Period,
    #[serde(default)]
    cancel_at_period_end: bool,
    #[serde(default, with = "second::optional")]
    cancel_at: Option<Timestamp>,
    #[serde(default, with = "second::optional")]
    canceled_at: Option<Timestamp>,
    #[serde(default, with = "second::optional")]
    ended_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    metadata: BTreeMap<String, String>,
    #[serde(with = "second::required")]
    created: Timestamp,
}

#[derive(Deserialize)]
struct SubscriptionItemWire {
    price: Option<Reference>,
    /// What prices were before 2020; theirs have the same id.
    plan: Option<Reference>,
    quantity: Option<u64>,
    #[serde(flatten)]
    period: Period,
}

impl TryFrom<SubscriptionWire> for Subscription {
    type Error = &'static str;

    fn try_from(wire: SubscriptionWire) -> Result<Self, Self::Error> {
        let whole = wire.period;
        let item = |item: SubscriptionItemWire| {
            let start = item.period.current_period_start.or(whole.current_period_start);
            let end = item.period.current_period_end.or(whole.current_period_end);
            Ok(SubscriptionItem {
                price: item.price.or(item.plan).ok_or("an item without a price")?.into(),
                quantity: item.quantity.unwrap_or(1),
                current_period_start: start.ok_or("a subscription without a period")?,
                current_period_end: end.ok_or("a subscription without a period")?,
            })
        };
        Ok(Self {
            id: wire.id,
            customer: wire.customer.into(),
            status: wire.status,
            items: wire.items.data.into_iter().map(item).collect::<Result<_, Self::Error>>()?,
            cancel_at_period_end: wire.cancel_at_period_end,
            cancel_at: wire.cancel_at,
            canceled_at: wire.canceled_at,
            ended_at: wire.ended_at,
            metadata: wire.metadata,
            created: wire.created,
        })
    }
}

#[derive(Deserialize)]
struct InvoiceWire {
    id: String,
    #[serde(default, deserialize_with = "optional_reference")]
    customer: Option<String>,
    /// Since 2025-03-31.
    parent: Option<InvoiceParent>,
    /// Before.
    #[serde(default, deserialize_with = "optional_reference")]
    subscription: Option<String>,
    /// Before.
    subscription_details: Option<SubscriptionDetails>,
    billing_reason: Option<String>,
    status: Option<String>,
    #[serde(default)]
    amount_paid: i64,
    currency: String,
    /// Since 2025-03-31.
    payments: Option<Page<InvoicePaymentWire>>,
    /// Before.
    #[serde(default, deserialize_with = "optional_reference")]
    payment_intent: Option<String>,
    lines: Page<InvoiceLine>,
    #[serde(with = "second::required")]
    created: Timestamp,
}

#[derive(Deserialize)]
struct InvoiceParent {
    subscription_details: Option<SubscriptionDetails>,
}

#[derive(Deserialize)]
struct SubscriptionDetails {
    #[serde(default, deserialize_with = "optional_reference")]
    subscription: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct InvoicePaymentWire {
    payment: PaymentReference,
}

#[derive(Deserialize)]
struct PaymentReference {
    #[serde(default, deserialize_with = "optional_reference")]
    payment_intent: Option<String>,
}

impl From<InvoiceWire> for Invoice {
    fn from(wire: InvoiceWire) -> Self {
        let details = wire.parent.and_then(|parent| parent.subscription_details).or(wire.subscription_details);
        let (named, subscription_metadata) =
            details.map(|details| (details.subscription, details.metadata)).unwrap_or_default();
        let payments = wire.payments.map(|payments| payments.data).unwrap_or_default();
        let paid_by = payments.into_iter().filter_map(|payment| payment.payment.payment_intent);
        Self {
            id: wire.id,
            customer: wire.customer,
            subscription: named.or(wire.subscription),
            subscription_metadata,
            billing_reason: wire.billing_reason,
            status: wire.status,
            amount_paid: wire.amount_paid,
            currency: wire.currency,
            payment_intents: paid_by.chain(wire.payment_intent).collect(),
            lines: wire.lines.data,
            more_lines: wire.lines.has_more,
            created: wire.created,
        }
    }
}

#[derive(Deserialize)]
struct InvoiceLineWire {
    quantity: Option<u64>,
    /// Since 2025-03-31.
    pricing: Option<Pricing>,
    parent: Option<LineParent>,
    /// Before.
    #[serde(default, deserialize_with = "optional_reference")]
    price: Option<String>,
    /// Before 2020.
    #[serde(default, deserialize_with = "optional_reference")]
    plan: Option<String>,
    #[serde(default)]
    proration: bool,
}

#[derive(Deserialize)]
struct Pricing {
    price_details: Option<PriceDetails>,
}

#[derive(Deserialize)]
struct PriceDetails {
    #[serde(default, deserialize_with = "optional_reference")]
    price: Option<String>,
}

#[derive(Deserialize)]
struct LineParent {
    subscription_item_details: Option<LineDetails>,
    invoice_item_details: Option<LineDetails>,
}

#[derive(Deserialize)]
struct LineDetails {
    #[serde(default)]
    proration: bool,
}

impl From<InvoiceLineWire> for InvoiceLine {
    fn from(wire: InvoiceLineWire) -> Self {
        let priced = wire.pricing.and_then(|pricing| pricing.price_details).and_then(|details| details.price);
        let details = wire.parent.and_then(|parent| parent.subscription_item_details.or(parent.invoice_item_details));
        Self {
            price: priced.or(wire.price).or(wire.plan),
            quantity: wire.quantity.unwrap_or(1),
            proration: wire.proration || details.is_some_and(|details| details.proration),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_period_of_a_subscription_is_read_from_its_items_and_from_where_it_was_before() {
        let base = json!({
            "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active", "created": 5,
            "cancel_at_period_end": true, "cancel_at": 30, "canceled_at": 20, "ended_at": null,
            "metadata": { "user_id": "u" }, "plan": { "id": "price_1" },
        });
        let mut now = base.clone();
        now["items"] = json!({ "object": "list", "has_more": false, "data": [
            { "id": "si_1", "price": { "id": "price_1", "currency": "usd" }, "quantity": 1,
              "current_period_start": 10, "current_period_end": 30 },
            { "id": "si_2", "price": "price_2", "quantity": 3, "current_period_start": 11, "current_period_end": 31 },
        ]});
        let mut before = base.clone();
        before["items"] = json!({ "data": [{ "id": "si_1", "price": { "id": "price_1" } }] });
        before["current_period_start"] = json!(10);
        before["current_period_end"] = json!(30);
        before["customer"] = json!({ "id": "cus_1", "object": "customer" });

        let item = |price: &str, quantity, start, end| SubscriptionItem {
            price: price.to_owned(),
            quantity,
            current_period_start: at(start),
            current_period_end: at(end),
        };
        let expected = Subscription {
            id: "sub_1".to_owned(),
            customer: "cus_1".to_owned(),
            status: "active".to_owned(),
            items: vec![item("price_1", 1, 10, 30), item("price_2", 3, 11, 31)],
            cancel_at_period_end: true,
            cancel_at: Some(at(30)),
            canceled_at: Some(at(20)),
            ended_at: None,
            metadata: BTreeMap::from([("user_id".to_owned(), "u".to_owned())]),
            created: at(5),
        };
        assert_eq!(read::<Subscription>(now), expected);
        assert_eq!(read::<Subscription>(before), Subscription { items: vec![item("price_1", 1, 10, 30)], ..expected });

        let mut without = base;
        without["items"] = json!({ "data": [{ "price": "price_1" }] });
        assert!(serde_json::from_value::<Subscription>(without).is_err(), "a period is said somewhere");
    }

    #[test]
    fn an_invoice_is_read_in_both_shapes() {
        let base = json!({
            "id": "in_1", "object": "invoice", "customer": "cus_1", "billing_reason": "subscription_cycle",
            "status": "paid", "amount_paid": 1900, "currency": "usd", "created": 5,
        });
        let mut now = base.clone();
        now["parent"] = json!({
            "type": "subscription_details", "quote_details": null,
            "subscription_details": { "subscription": "sub_1", "metadata": { "user_id": "u" } },
        });
        now["payments"] = json!({ "data": [{ "payment": { "type": "payment_intent", "payment_intent": "pi_1" } }] });
        now["lines"] = json!({ "has_more": true, "data": [
            { "id": "il_1", "quantity": 2, "pricing": { "type": "price_details", "price_details": { "price": "price_1" } },
              "parent": { "type": "subscription_item_details", "invoice_item_details": null,
                          "subscription_item_details": { "proration": false } } },
            { "id": "il_2", "quantity": null, "pricing": { "price_details": { "price": { "id": "price_2" } } },
              "parent": { "type": "invoice_item_details", "invoice_item_details": { "proration": true } } },
            { "id": "il_3", "pricing": null, "parent": null },
        ]});
        let mut before = base;
        before["subscription"] = json!("sub_1");
        before["subscription_details"] = json!({ "metadata": { "user_id": "u" } });
        before["payment_intent"] = json!({ "id": "pi_1" });
        before["lines"] = json!({ "has_more": true, "data": [
            { "id": "il_1", "quantity": 2, "price": { "id": "price_1" }, "proration": false },
            { "id": "il_2", "quantity": null, "price": { "id": "price_2" }, "proration": true },
            { "id": "il_3", "price": null, "proration": false },
        ]});

        let line = |price: Option<&str>, quantity, proration| InvoiceLine {
            price: price.map(str::to_owned),
            quantity,
            proration,
        };
        let expected = Invoice {
            id: "in_1".to_owned(),
            customer: Some("cus_1".to_owned()),
            subscription: Some("sub_1".to_owned()),
            subscription_metadata: BTreeMap::from([("user_id".to_owned(), "u".to_owned())]),
            billing_reason: Some("subscription_cycle".to_owned()),
            status: Some("paid".to_owned()),
            amount_paid: 1900,
            currency: "usd".to_owned(),
            payment_intents: vec!["pi_1".to_owned()],
            lines: vec![line(Some("price_1"), 2, false), line(Some("price_2"), 1, true), line(None, 1, false)],
            more_lines: true,
            created: at(5),
        };
        assert_eq!(read::<Invoice>(now), expected);
        assert_eq!(read::<Invoice>(before), expected);
    }

    #[test]
    fn an_invoice_for_something_else_has_no_subscription() {
        let invoice: Invoice = read(json!({
            "id": "in_1", "customer": null, "parent": null, "subscription": null, "subscription_details": null,
            "billing_reason": "manual", "currency": "usd", "created": 5, "lines": { "data": [], "has_more": false },
        }));
        assert_eq!((invoice.subscription, invoice.customer, invoice.amount_paid), (None, None, 0));
        assert!(invoice.subscription_metadata.is_empty() && invoice.payment_intents.is_empty() && !invoice.more_lines);
    }

    #[test]
    fn ids_are_read_where_stripe_expanded_them() {
        let charge = json!({ "id": "ch_1", "amount": 900, "amount_refunded": 0, "currency": "usd", "customer": "cus_1",
                             "payment_intent": "pi_1", "invoice": "in_1" });
        let mut expanded = charge.clone();
        for field in ["customer", "payment_intent", "invoice"] {
            expanded[field] = json!({ "id": charge[field], "object": field, "deleted": true });
        }
        assert_eq!(read::<Charge>(charge), read::<Charge>(expanded));
        let bare: Charge = read(json!({ "id": "ch_1", "amount": 900, "currency": "usd", "customer": null }));
        assert_eq!((bare.customer, bare.payment_intent, bare.invoice, bare.amount_refunded), (None, None, None, 0));

        let dispute: Dispute =
            read(json!({ "id": "du_1", "charge": { "id": "ch_1" }, "amount": 900, "status": "won" }));
        assert_eq!((dispute.charge.as_str(), dispute.payment_intent), ("ch_1", None));

        let session: CheckoutSession = read(json!({
            "id": "cs_1", "mode": "payment", "payment_status": "paid", "expires_at": 9, "created": 5, "metadata": null,
            "customer": { "id": "cus_1" }, "payment_intent": { "id": "pi_1" }, "subscription": null, "url": null,
        }));
        assert_eq!((session.customer.as_deref(), session.payment_intent.as_deref()), (Some("cus_1"), Some("pi_1")));
        assert!(session.metadata.is_empty() && session.subscription.is_none() && session.status.is_none());
    }
}
