//! The world's objects as Stripe writes them, before and after its API of 2025-03-31.

use serde_json::{Value, json};

use super::{
    dice::Dice,
    world::{Charge, Dispute, Invoice, Line, Refund, Session, Subscription},
};

/// How an endpoint wants its events.
#[derive(Clone, Copy)]
pub struct Shape {
    /// The version that the endpoint was made with; very old events have none.
    pub version: Option<&'static str>,
    /// As the API was before 2025-03-31.
    legacy: bool,
    /// Objects in the place of ids.
    expanded: bool,
}

impl Shape {
    /// What our own requests ask for.
    pub const API: Self = Self { version: None, legacy: false, expanded: false };

    pub fn any(dice: &mut Dice) -> Self {
        let expanded = dice.percent(25);
        if dice.percent(50) {
            let version = dice.pick(&[None, Some("2020-08-27"), Some("2024-06-20"), Some("2025-02-24.acacia")]);
            Self { version, legacy: true, expanded }
        } else {
            let version = dice.pick(&["2025-03-31.basil", "2026-07-29.dahlia", "2026-10-28.endive"]);
            Self { version: Some(version), legacy: false, expanded }
        }
    }

    /// A reference to another object.
    fn to(self, object: &str, id: &str) -> Value {
        if self.expanded { json!({ "id": id, "object": object }) } else { json!(id) }
    }

    fn to_any(self, object: &str, id: Option<&String>) -> Value {
        id.map_or(Value::Null, |id| self.to(object, id))
    }
}

/// Adds the fields of one object to another.
fn with(mut object: Value, more: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut object, more) else { panic!("objects") };
    fields.extend(more);
    object
}

fn list(data: Vec<Value>, has_more: bool) -> Value {
    json!({ "object": "list", "data": data, "has_more": has_more, "url": "/v1/some" })
}

fn metadata(named: Option<uuid::Uuid>) -> Value {
    named.map_or(json!({}), |user| json!({ "user_id": user, "plan_id": "pro" }))
}

pub fn subscription(it: &Subscription, shape: Shape) -> Value {
    let first = &it.items[0];
    let item = |(n, item): (usize, &super::world::Item)| {
        let price = json!({ "id": item.price, "object": "price", "recurring": { "interval": "month" } });
        let plain = json!({ "id": format!("si_{n}"), "object": "subscription_item", "price": price, "quantity": item.quantity,
            "subscription": it.id });
        let period = json!({ "current_period_start": item.start, "current_period_end": item.end });
        if shape.legacy { plain } else { with(plain, period) }
    };
    let object = json!({
        "id": it.id, "object": "subscription", "customer": shape.to("customer", &it.customer), "status": it.status,
        "items": list(it.items.iter().enumerate().map(item).collect(), false), "cancel_at_period_end": it.at_period_end,
        "cancel_at": it.cancel_at, "canceled_at": it.ended_at, "ended_at": it.ended_at, "metadata": metadata(it.named),
        "created": it.created, "livemode": false, "currency": "usd", "collection_method": "charge_automatically",
    });
    let period = json!({ "current_period_start": first.start, "current_period_end": first.end });
    if shape.legacy { with(object, period) } else { object }
}

pub fn line(it: &Line, subscription: Option<&String>, shape: Shape) -> Value {
    let object = json!({ "id": it.id, "object": "line_item", "amount": 1900, "currency": "usd", "quantity": it.quantity,
        "livemode": false, "metadata": {} });
    if shape.legacy {
        let price = it.price.as_ref().map(|price| json!({ "id": price, "object": "price" }));
        let kind = if subscription.is_some() { "subscription" } else { "invoiceitem" };
        with(object, json!({ "price": price, "proration": it.proration, "subscription": subscription, "type": kind }))
    } else {
        let pricing = it.price.as_ref().map(|price| {
            json!({ "type": "price_details", "price_details": { "price": shape.to("price", price), "product": "prod_1" } })
        });
        let details = json!({ "proration": it.proration, "subscription": subscription });
        let kind = if it.proration { "invoice_item_details" } else { "subscription_item_details" };
        let parent = json!({ "type": kind, kind: details });
        with(object, json!({ "pricing": pricing, "parent": parent }))
    }
}

/// How many lines of an invoice an event shows.
pub const LINES_IN_EVENT: usize = 10;

pub fn invoice(it: &Invoice, shape: Shape) -> Value {
    let shown = it.lines.iter().take(LINES_IN_EVENT).map(|one| line(one, it.subscription.as_ref(), shape));
    let object = json!({
        "id": it.id, "object": "invoice", "customer": shape.to("customer", &it.customer), "billing_reason": it.reason,
        "status": if it.open { "open" } else { "paid" }, "amount_paid": if it.open { 0 } else { it.amount },
        "amount_due": it.amount, "currency": it.currency, "created": it.created, "livemode": false,
        "lines": list(shown.collect(), it.lines.len() > LINES_IN_EVENT),
    });
    if shape.legacy {
        let details = it.subscription.as_ref().map(|_| json!({ "metadata": metadata(it.named) }));
        with(
            object,
            json!({
                "subscription": shape.to_any("subscription", it.subscription.as_ref()), "subscription_details": details,
                "payment_intent": shape.to_any("payment_intent", it.intents.first()), "paid": !it.open,
            }),
        )
    } else {
        let parent = it.subscription.as_ref().map(|id| {
            let details = json!({ "subscription": shape.to("subscription", id), "metadata": metadata(it.named) });
            json!({ "type": "subscription_details", "subscription_details": details, "quote_details": null })
        });
        let payment = |intent: &String| {
            json!({ "id": "inpay_1", "object": "invoice_payment", "payment": {
            "type": "payment_intent", "payment_intent": shape.to("payment_intent", intent) } })
        };
        let payments = list(it.intents.iter().map(payment).collect(), false);
        // They come only where somebody asked for them.
        let included = if shape.expanded { json!({ "payments": payments }) } else { json!({}) };
        with(with(object, json!({ "parent": parent })), included)
    }
}

pub fn session(it: &Session, shape: Shape) -> Value {
    let mut metadata = metadata(it.named);
    if let Some((pack, credits)) = &it.pack {
        metadata["pack_id"] = json!(pack);
        metadata["credits"] = json!(credits.to_string());
    }
    json!({
        "id": it.id, "object": "checkout.session", "mode": it.mode, "status": it.status, "payment_status": it.payment_status,
        "customer": shape.to("customer", &it.customer), "client_reference_id": it.named,
        "subscription": shape.to_any("subscription", it.subscription.as_ref()),
        "payment_intent": shape.to_any("payment_intent", it.intent.as_ref()), "invoice": null, "amount_total": it.amount,
        "currency": it.currency, "metadata": metadata, "url": null, "livemode": false, "created": it.created,
        "expires_at": it.created + 86_400,
    })
}

pub fn charge(it: &Charge, shape: Shape) -> Value {
    let object = json!({
        "id": it.id, "object": "charge", "customer": shape.to("customer", &it.customer), "amount": it.amount,
        "amount_refunded": it.refunded(), "refunded": it.refunded() == it.amount, "currency": it.currency,
        "payment_intent": shape.to("payment_intent", &it.intent), "livemode": false, "status": "succeeded",
    });
    let invoice = json!({ "invoice": shape.to_any("invoice", it.invoice.as_ref()) });
    if shape.legacy { with(object, invoice) } else { object }
}

pub fn refund(it: &Refund, charge: &Charge, shape: Shape) -> Value {
    json!({
        "id": it.id, "object": "refund", "charge": shape.to("charge", &charge.id), "amount": it.amount,
        "payment_intent": shape.to("payment_intent", &charge.intent), "currency": charge.currency,
        "status": if it.failed { "failed" } else { "succeeded" },
    })
}

pub fn dispute(it: &Dispute, shape: Shape) -> Value {
    json!({
        "id": it.id, "object": "dispute", "charge": shape.to("charge", &it.charge), "amount": it.amount, "currency": "usd",
        "payment_intent": shape.to("payment_intent", &it.intent), "status": it.status, "reason": "fraudulent",
        "livemode": false,
    })
}
