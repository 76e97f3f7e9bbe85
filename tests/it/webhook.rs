//! stripe-webhook: what Stripe says takes effect once, whatever it says, how often and in what order. The numbered holes are those
//! of comparable systems: each lost or gave away money.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures_util::future::join_all;
use jiff::{Timestamp, ToSpan};
use lambda_http::Request;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, path},
};

use crate::{
    credits::{balance, rpc},
    doubles::{Mode, Proxy},
    stack::{Answer, User, dashboard, database, request, setting, stripe_webhook},
};

/// The price that locally stands for the plan Pro.
const PRO: &str = "price_pro_monthly";

fn id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}

/// An event of its own about `object`.
fn event(kind: &str, object: &Value) -> Value {
    json!({ "id": id("evt"), "object": "event", "type": kind, "created": Timestamp::now().as_second(), "livemode": false,
        "api_version": "2026-07-29.dahlia", "pending_webhooks": 1, "request": null, "data": { "object": object } })
}

/// A call of the function URL with this body, signed by `secret` at `when`.
fn signed_at(body: &str, secret: &str, when: Timestamp) -> Request {
    let mut request = request("POST", "/", None, body.to_owned());
    let signature = auth::signature::sign(&secret.into(), when, body.as_bytes());
    request.headers_mut().insert("stripe-signature", signature.parse().unwrap());
    request
}

async fn answer(deps: &Arc<stripe_webhook::Deps>, request: Request) -> Answer {
    stripe_webhook::handle(deps.clone(), request).await.into()
}

async fn deliver(deps: &Arc<stripe_webhook::Deps>, event: &Value) -> Answer {
    let request = signed_at(&event.to_string(), &setting("STRIPE_WEBHOOK_SECRET"), Timestamp::now());
    answer(deps, request).await
}

/// Delivers what has to be taken.
async fn tell(deps: &Arc<stripe_webhook::Deps>, event: &Value) {
    let answer = deliver(deps, event).await;
    assert_eq!((answer.status, &answer.body), (200, &json!({ "received": true })), "{answer:?}");
}

/// Somebody who has a Stripe customer.
async fn customer() -> (User, String) {
    let (user, customer) = (User::new().await, id("cus"));
    let insert = "insert into public.stripe_customers (user_id, customer_id) values ($1, $2)";
    database().await.execute(insert, &[&user.id, &customer]).await.unwrap();
    (user, customer)
}

/// A paid invoice as the API has it since 2025-03-31, with lines of (price, quantity, proration).
fn invoice(customer: &str, reason: &str, lines: &[(&str, u64, bool)]) -> Value {
    let line = |(price, quantity, proration): &(&str, u64, bool)| {
        json!({ "id": id("il"), "object": "line_item", "quantity": quantity,
            "pricing": { "type": "price_details", "price_details": { "price": price, "product": "prod_1" } },
            "parent": { "type": "subscription_item_details",
                "subscription_item_details": { "proration": proration, "subscription": "sub_1" } } })
    };
    let lines: Vec<Value> = lines.iter().map(line).collect();
    json!({ "id": id("in"), "object": "invoice", "customer": customer, "billing_reason": reason, "status": "paid",
        "amount_paid": 1900, "currency": "usd", "created": Timestamp::now().as_second(),
        "parent": { "type": "subscription_details", "subscription_details": { "subscription": "sub_1", "metadata": {} } },
        "lines": { "object": "list", "data": lines, "has_more": false } })
}

/// The same before 2025-03-31.
fn legacy_invoice(customer: &str, reason: &str, lines: &[(&str, u64, bool)]) -> Value {
    let line = |(price, quantity, proration): &(&str, u64, bool)| {
        json!({ "id": id("il"), "object": "line_item", "type": "subscription", "quantity": quantity, "proration": proration,
            "price": { "id": price, "object": "price" }, "plan": { "id": price, "object": "plan" } })
    };
    let lines: Vec<Value> = lines.iter().map(line).collect();
    json!({ "id": id("in"), "object": "invoice", "customer": customer, "billing_reason": reason, "status": "paid", "paid": true,
        "amount_paid": 1900, "currency": "usd", "created": Timestamp::now().as_second(), "subscription": "sub_1",
        "subscription_details": { "metadata": {} }, "payment_intent": "pi_1", "charge": "ch_1",
        "lines": { "object": "list", "data": lines, "has_more": false } })
}

/// A visit to checkout for the small pack.
fn pack_session(user: &User, customer: &str, payment_status: &str) -> Value {
    json!({ "id": id("cs_test"), "object": "checkout.session", "mode": "payment", "status": "complete",
        "payment_status": payment_status, "customer": customer, "client_reference_id": user.id, "subscription": null,
        "payment_intent": id("pi"), "invoice": null, "amount_total": 900, "currency": "usd", "url": null,
        "metadata": { "user_id": user.id, "pack_id": "small", "credits": "10" },
        "expires_at": 1_800_000_000, "created": 1_700_000_000 })
}

/// A subscription to Pro as the API has it now; its period began an hour ago.
fn subscription(customer: &str, status: &str) -> Value {
    let now = Timestamp::now().as_second();
    json!({ "id": id("sub"), "object": "subscription", "customer": customer, "status": status, "cancel_at_period_end": false,
        "cancel_at": null, "canceled_at": null, "ended_at": null, "metadata": {}, "created": now - 3600,
        "items": { "object": "list", "has_more": false, "data": [{ "id": id("si"), "quantity": 1, "price": { "id": PRO },
            "current_period_start": now - 3600, "current_period_end": now + 30 * 86400 }] } })
}

/// A Stripe that has these objects, by their path below /v1/.
struct FakeStripe {
    server: MockServer,
    objects: Arc<Mutex<HashMap<String, Value>>>,
}

impl FakeStripe {
    async fn new() -> Self {
        let (server, objects) = (MockServer::start().await, Arc::<Mutex<HashMap<String, Value>>>::default());
        let has = objects.clone();
        let respond = move |request: &wiremock::Request| match has.lock().unwrap().get(request.url.path()) {
            Some(object) => ResponseTemplate::new(200).set_body_json(object),
            None => {
                let missing =
                    json!({ "error": { "type": "invalid_request_error", "code": "resource_missing", "param": "id" } });
                ResponseTemplate::new(404).set_body_json(missing)
            }
        };
        Mock::given(any()).respond_with(respond).mount(&server).await;
        Self { server, objects }
    }

    /// From now on it has this.
    fn has(&self, at: &str, object: &Value) {
        self.objects.lock().unwrap().insert(format!("/v1/{at}"), object.clone());
    }

    /// No more.
    fn loses(&self, at: &str) {
        self.objects.lock().unwrap().remove(&format!("/v1/{at}"));
    }

    fn webhook(&self) -> Arc<stripe_webhook::Deps> {
        stripe_webhook(|config| config.stripe_api_url = self.server.uri().parse().unwrap())
    }
}

/// The stored event: outcome, whether it is done, how often it came.
async fn kept(event: &Value) -> Option<(Option<String>, bool, i32)> {
    let select = "select outcome, applied_at is not null, deliveries from public.stripe_events where id = $1";
    let row = database().await.query_opt(select, &[&event["id"].as_str().unwrap()]).await.unwrap()?;
    Some((row.get(0), row.get(1), row.get(2)))
}

/// Hole 4: an invoice is counted once, one after another, in parallel, by a new process, and under another event id.
#[tokio::test]
async fn an_invoice_is_counted_once_however_often_and_by_whatever_event_it_is_told() {
    for shape in [invoice, legacy_invoice] {
        let (user, customer) = customer().await;
        let paid = shape(&customer, "subscription_create", &[(PRO, 1, false)]);
        let webhook = stripe_webhook(|_| {});
        let first = event("invoice.paid", &paid);
        tell(&webhook, &first).await;
        assert_eq!(balance(user.id).await, 20);

        tell(&webhook, &first).await;
        join_all((0..20).map(|_| tell(&webhook, &first))).await;
        let others: Vec<Value> = (0..20).map(|_| event("invoice.paid", &paid)).collect();
        join_all(others.iter().map(|other| tell(&webhook, other))).await;
        tell(&stripe_webhook(|_| {}), &first).await;
        assert_eq!(balance(user.id).await, 20);
        assert_eq!(kept(&first).await, Some((Some("granted".to_owned()), true, 23)));

        tell(&webhook, &event("invoice.paid", &shape(&customer, "subscription_cycle", &[(PRO, 1, false)]))).await;
        assert_eq!(balance(user.id).await, 40, "the next period's invoice is another one");
    }
}

#[tokio::test]
async fn a_first_delivery_in_parallel_under_many_event_ids_grants_once() {
    let (user, customer) = customer().await;
    let paid = invoice(&customer, "subscription_create", &[(PRO, 1, false)]);
    let webhook = stripe_webhook(|_| {});
    let events: Vec<Value> = (0..20).map(|_| event("invoice.paid", &paid)).collect();
    join_all(events.iter().map(|event| tell(&webhook, event))).await;
    assert_eq!(balance(user.id).await, 20);
}

#[tokio::test]
async fn the_plans_credits_replace_what_is_left_of_the_free_ones_and_nothing_else() {
    let webhook = stripe_webhook(|_| {});
    let spend = |user: Uuid, amount: i32| async move {
        let arguments =
            json!({ "p_user_id": user, "p_amount": amount, "p_business_key": id("spend"), "p_description": "d" });
        assert_eq!(rpc("spend_credits", arguments).await["outcome"], "done");
    };
    for (spent, pack_first, expected) in [(0, false, 20), (3, false, 20), (4, false, 20), (0, true, 30), (6, true, 28)]
    {
        let (user, customer) = customer().await;
        if pack_first {
            tell(&webhook, &event("checkout.session.completed", &pack_session(&user, &customer, "paid"))).await;
        }
        if spent > 0 {
            spend(user.id, spent).await;
        }
        tell(&webhook, &event("invoice.paid", &invoice(&customer, "subscription_create", &[(PRO, 1, false)]))).await;
        assert_eq!(balance(user.id).await, expected, "{spent} spent, a pack before: {pack_first}");
        tell(&webhook, &event("invoice.paid", &invoice(&customer, "subscription_cycle", &[(PRO, 1, false)]))).await;
        assert_eq!(balance(user.id).await, expected + 20, "what is left over stays");
    }
}

#[tokio::test]
async fn a_proration_grants_nothing_and_every_item_that_is_a_plan_counts() {
    let webhook = stripe_webhook(|_| {});
    for shape in [invoice, legacy_invoice] {
        for (reason, lines, expected) in [
            ("subscription_update", vec![(PRO, 1, true), (PRO, 1, true)], 4),
            // Switching to and fro between intervals bills a whole period each time, for next to no money.
            ("subscription_update", vec![(PRO, 1, false)], 4),
            ("manual", vec![(PRO, 1, false)], 4),
            ("subscription_cycle", vec![(PRO, 1, true), (PRO, 1, false)], 20),
            ("subscription_create", vec![("price_of_a_mug", 1, false), (PRO, 1, false)], 20),
            ("subscription_create", vec![(PRO, 3, false)], 60),
            ("subscription_create", vec![("price_of_a_mug", 1, false)], 4),
        ] {
            let (user, customer) = customer().await;
            tell(&webhook, &event("invoice.paid", &shape(&customer, reason, &lines))).await;
            assert_eq!(balance(user.id).await, expected, "{reason} {lines:?}");
        }
    }
}

#[tokio::test]
async fn an_invoice_with_more_lines_than_the_event_shows_is_read_to_its_end() {
    let stripe = FakeStripe::new().await;
    let (user, customer) = customer().await;
    let mut paid = invoice(&customer, "subscription_cycle", &[("price_of_a_mug", 1, false)]);
    paid["lines"]["has_more"] = json!(true);
    let whole = invoice(&customer, "subscription_cycle", &[("price_of_a_mug", 1, false), (PRO, 1, false)]);
    stripe.has(&format!("invoices/{}/lines", paid["id"].as_str().unwrap()), &whole["lines"]);
    tell(&stripe.webhook(), &event("invoice.paid", &paid)).await;
    assert_eq!(balance(user.id).await, 20);
}

/// Hole 5: nothing is given before it is paid, and what we do not know is no error.
#[tokio::test]
async fn a_session_that_is_not_paid_gives_nothing_until_it_is() {
    let webhook = stripe_webhook(|_| {});
    let (user, customer) = customer().await;
    let mut session = pack_session(&user, &customer, "unpaid");
    tell(&webhook, &event("checkout.session.completed", &session)).await;
    tell(&webhook, &event("checkout.session.async_payment_failed", &session)).await;
    tell(&webhook, &event("checkout.session.expired", &session)).await;
    assert_eq!(balance(user.id).await, 4);

    session["payment_status"] = json!("paid");
    join_all((0..10).map(|_| async {
        tell(&webhook, &event("checkout.session.async_payment_succeeded", &session)).await;
        tell(&webhook, &event("checkout.session.completed", &session)).await;
    }))
    .await;
    assert_eq!(balance(user.id).await, 14);

    let mut free = pack_session(&user, &customer, "no_payment_required");
    (free["payment_intent"], free["amount_total"]) = (Value::Null, json!(0));
    tell(&webhook, &event("checkout.session.completed", &free)).await;
    tell(&webhook, &event("checkout.session.completed", &free)).await;
    assert_eq!(balance(user.id).await, 24, "a voucher for all of it is a payment, too");
}

/// Hole 6: coming back from checkout is no proof of payment. Only the webhook gives credits.
#[tokio::test]
async fn coming_back_from_checkout_gives_nothing() {
    let user = User::new().await;
    for path in ["/dashboard?checkout=success", "/dashboard?session_id=cs_test_1&checkout=success"] {
        let request = request("GET", path, Some(&user.token), ());
        let answer = Answer::from(get_dashboard::handle(crate::stack::get_dashboard(|_| {}), request).await);
        assert_eq!((answer.status, &answer.body["credits"]), (200, &json!(4)));
    }
    assert_eq!(balance(user.id).await, 4);
}

/// Holes 7 and 15: the event, the purchase, the line and the balance are one transaction.
#[tokio::test]
async fn what_fails_midway_leaves_nothing_and_comes_again() {
    let (user, customer) = customer().await;
    let paid = invoice(&customer, "subscription_create", &[(PRO, 1, false)]);
    let paid_event = event("invoice.paid", &paid);
    // The ledger's line cannot be written, the last step but one: its key is taken by somebody else's.
    let other = User::new().await;
    let key = format!("invoice:{}", paid["id"].as_str().unwrap());
    let grant = json!({ "p_user_id": other.id, "p_amount": 1, "p_business_key": key, "p_description": "in the way" });
    rpc("grant_credits", grant).await;
    let webhook = stripe_webhook(|_| {});
    let answer = deliver(&webhook, &paid_event).await;
    assert_eq!((answer.status, answer.code.as_str()), (503, "database_unavailable"));
    assert_eq!((balance(user.id).await, kept(&paid_event).await), (4, None));
    let purchases = "select count(*) from public.credit_purchases where key = $1";
    assert_eq!(database().await.query_one(purchases, &[&key]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn an_answer_of_the_database_that_was_lost_does_not_count_twice() {
    let (user, customer) = customer().await;
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let webhook = stripe_webhook(|config| config.supabase_url = proxy.origin.clone());
    let paid = event("invoice.paid", &invoice(&customer, "subscription_create", &[(PRO, 1, false)]));
    for mode in [Mode::Refuse, Mode::ServerError, Mode::LoseAnswerTo("apply_stripe_event")] {
        proxy.set(mode);
        let answer = deliver(&webhook, &paid).await;
        assert_eq!((answer.status, answer.code.as_str()), (503, "database_unavailable"));
    }
    proxy.set(Mode::Pass);
    tell(&webhook, &paid).await;
    assert_eq!(balance(user.id).await, 20);
}

/// Holes 8 and 14: who does not sign gets an answer, and it is no.
#[tokio::test]
async fn only_a_fresh_signature_of_these_very_bytes_opens_the_webhook() {
    let (user, customer) = customer().await;
    let body = event("checkout.session.completed", &pack_session(&user, &customer, "paid")).to_string();
    let (secret, now) = (setting("STRIPE_WEBHOOK_SECRET"), Timestamp::now());
    let good = signed_at(&body, &secret, now);
    let header = good.headers()["stripe-signature"].to_str().unwrap().to_owned();
    let with = |header: Option<&str>, body: &str, path: &str| {
        let mut request = request("POST", path, None, body.to_owned());
        if let Some(header) = header {
            request.headers_mut().insert("stripe-signature", header.parse().unwrap());
        }
        request
    };
    let webhook = stripe_webhook(|_| {});
    let in_query = format!("/?secret={secret}&Stripe-Signature={header}");
    for (case, refused) in [
        ("none", with(None, &body, "/")),
        ("the secret in the query", with(None, &body, &in_query)),
        ("the secret itself", with(Some(&secret), &body, "/")),
        ("other bytes", with(Some(&header), &body.replace("\"10\"", "\"99\""), "/")),
        ("one byte more", with(Some(&header), &format!("{body} "), "/")),
        ("another secret", signed_at(&body, "whsec_another", now)),
        ("the secret in capitals", signed_at(&body, &secret.to_uppercase(), now)),
        ("only v0", with(Some(&header.replace("v1=", "v0=")), &body, "/")),
        ("too old", signed_at(&body, &secret, now - 301.seconds())),
        ("from the future", signed_at(&body, &secret, now + 400.seconds())),
        ("no time", with(Some(header.split_once(',').unwrap().1), &body, "/")),
        ("empty", with(Some(""), &body, "/")),
    ] {
        let answer = answer(&webhook, refused).await;
        assert_eq!((answer.status, answer.code.as_str()), (401, "unauthenticated"), "{case}");
    }
    assert_eq!(balance(user.id).await, 4);

    let mut base64 = signed_at(&body, &secret, now - 299.seconds());
    *base64.body_mut() = lambda_http::Body::Binary(body.clone().into_bytes());
    assert_eq!(answer(&webhook, base64).await.status, 200, "a body that Lambda handed over in base64");
    let several = format!("{},v1={},v0=00", header.replace("v1=", "v1=00,v1="), "0".repeat(64));
    assert_eq!(answer(&webhook, with(Some(&several), &body, "/")).await.status, 200, "any v1 may be the right one");
    assert_eq!(balance(user.id).await, 14);
}

#[tokio::test]
async fn while_the_secret_is_rotated_both_open() {
    let webhook = stripe_webhook(|config| {
        config.stripe_webhook_secret = "whsec_new".into();
        config.stripe_webhook_secret_previous = Some("whsec_old".into());
    });
    let body = event("customer.tax_id.created", &json!({ "id": "txi_1" })).to_string();
    for (secret, status) in [("whsec_new", 200), ("whsec_old", 200), ("whsec_older", 401)] {
        assert_eq!(answer(&webhook, signed_at(&body, secret, Timestamp::now())).await.status, status, "{secret}");
    }
}

#[tokio::test]
async fn events_of_the_other_mode_thin_events_and_what_is_no_event_are_refused() {
    let webhook = stripe_webhook(|_| {});
    let (user, customer) = customer().await;
    let mut live = event("checkout.session.completed", &pack_session(&user, &customer, "paid"));
    live["livemode"] = json!(true);
    let mut timeless = event("invoice.paid", &json!({}));
    timeless["created"] = json!(i64::MAX);
    let thin = json!({ "id": id("evt"), "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
        "created": "2026-01-01T00:00:00Z", "livemode": false });
    for (case, body, code) in [
        ("live", live.to_string(), "wrong_mode"),
        ("thin", thin.to_string(), "thin_event"),
        ("no JSON", "{".to_owned(), "not_an_event"),
        ("no event", json!({ "object": "charge" }).to_string(), "not_an_event"),
        ("no id", json!({ "object": "event", "type": "invoice.paid" }).to_string(), "not_an_event"),
        ("an array", "[]".to_owned(), "not_an_event"),
        ("a time that no clock shows", timeless.to_string(), "not_an_event"),
        ("empty", String::new(), "not_an_event"),
    ] {
        let answer = answer(&webhook, signed_at(&body, &setting("STRIPE_WEBHOOK_SECRET"), Timestamp::now())).await;
        assert_eq!((answer.status, answer.code.as_str()), (400, code), "{case}");
    }
    let live_stage = stripe_webhook(|config| config.stripe_livemode = true);
    assert_eq!(deliver(&live_stage, &event("invoice.paid", &json!({}))).await.code, "wrong_mode");
    assert_eq!(balance(user.id).await, 4);
}

/// Hole 12: unlisted events are no errors.
#[tokio::test]
async fn types_that_mean_nothing_to_us_are_taken_and_not_kept() {
    let webhook = stripe_webhook(|_| {});
    for kind in ["charge.succeeded", "payment_intent.created", "invoice.finalized", "something.of.the.future"] {
        let event = event(kind, &json!({ "id": "x", "object": "x" }));
        tell(&webhook, &event).await;
        assert_eq!(kept(&event).await, None);
    }
}

/// Hole 12 again: nobody is found by e-mail, nor by what a payment link's visitor can write into its address.
#[tokio::test]
async fn a_customer_that_we_do_not_know_is_nobody_until_somebody_looks() {
    let webhook = stripe_webhook(|_| {});
    let (user, _) = customer().await;
    let stranger = id("cus");
    let mut paid = invoice(&stranger, "subscription_create", &[(PRO, 1, false)]);
    paid["customer_email"] = json!(user.email);
    let unmatched = event("invoice.paid", &paid);
    tell(&webhook, &unmatched).await;
    assert_eq!(kept(&unmatched).await, Some((Some("unmatched".to_owned()), false, 1)));
    let mut link = pack_session(&user, &stranger, "paid");
    link["metadata"] = json!({ "pack_id": "small", "credits": "10" });
    link["customer_details"] = json!({ "email": user.email });
    tell(&webhook, &event("checkout.session.completed", &link)).await;
    assert_eq!(balance(user.id).await, 4);

    // Somebody looked, and it comes again.
    let owner = User::new().await;
    let insert = "insert into public.stripe_customers (user_id, customer_id) values ($1, $2)";
    database().await.execute(insert, &[&owner.id, &stranger]).await.unwrap();
    tell(&webhook, &unmatched).await;
    assert_eq!((balance(owner.id).await, kept(&unmatched).await.unwrap().1), (20, true));
}

#[tokio::test]
async fn where_customer_and_metadata_name_different_users_nobody_is_meant() {
    let webhook = stripe_webhook(|_| {});
    let ((user, customer), other) = (customer().await, User::new().await);
    let event = event("checkout.session.completed", &pack_session(&other, &customer, "paid"));
    tell(&webhook, &event).await;
    assert_eq!((balance(user.id).await, balance(other.id).await), (4, 4));
    assert_eq!(kept(&event).await, Some((Some("mismatched".to_owned()), false, 1)));
}

#[tokio::test]
async fn our_own_metadata_stands_in_where_the_mapping_is_missing() {
    let webhook = stripe_webhook(|_| {});
    let (user, lost) = (User::new().await, id("cus"));
    tell(&webhook, &event("checkout.session.completed", &pack_session(&user, &lost, "paid"))).await;
    assert_eq!(balance(user.id).await, 14);
    tell(&webhook, &event("invoice.paid", &invoice(&lost, "subscription_create", &[(PRO, 1, false)]))).await;
    assert_eq!(balance(user.id).await, 30, "from now on she is known");
}

#[tokio::test]
async fn a_payment_for_goods_of_ours_that_no_row_knows_any_more_is_kept_for_a_person_to_see() {
    let webhook = stripe_webhook(|_| {});
    let (user, customer) = customer().await;
    let mut renewal = invoice(&customer, "subscription_cycle", &[("price_that_was_taken_out", 1, false)]);
    renewal["parent"]["subscription_details"]["metadata"] = json!({ "user_id": user.id, "plan_id": "pro" });
    let mut pack = pack_session(&user, &customer, "paid");
    pack["metadata"]["pack_id"] = json!("pack_that_was_taken_out");
    for event in [event("invoice.paid", &renewal), event("checkout.session.completed", &pack)] {
        tell(&webhook, &event).await;
        assert_eq!(kept(&event).await, Some((Some("unmatched".to_owned()), false, 1)));
    }
}

#[tokio::test]
async fn what_was_paid_before_the_balance_was_brought_forward_is_not_counted_again() {
    let webhook = stripe_webhook(|_| {});
    let (user, customer) = customer().await;
    let update = "update public.credit_balances set brought_forward_at = now() where user_id = $1";
    database().await.execute(update, &[&user.id]).await.unwrap();
    let mut old = invoice(&customer, "subscription_cycle", &[(PRO, 1, false)]);
    old["created"] = json!(Timestamp::now().as_second() - 86400);
    tell(&webhook, &event("invoice.paid", &old)).await;
    assert_eq!(balance(user.id).await, 4);
    let mut new = invoice(&customer, "subscription_cycle", &[(PRO, 1, false)]);
    new["created"] = json!(Timestamp::now().as_second() + 1);
    tell(&webhook, &event("invoice.paid", &new)).await;
    assert_eq!(balance(user.id).await, 20);
}

#[test]
fn a_secret_that_somebody_typed_is_none() {
    for (secret, good) in [
        ("whsec_0123456789abcdef0123456789abcdef", true),
        ("whsec_placeholder", false),
        ("secret", false),
        ("0123456789abcdef0123456789abcdef0123456789abcdef", false),
    ] {
        let settings = lambda_kit::Settings::from_fn(move |name| match name {
            "STRIPE_WEBHOOK_SECRET" => Some(secret.to_owned()),
            "SUPABASE_URL" => Some("https://example.com".to_owned()),
            "STRIPE_LIVEMODE" => Some("false".to_owned()),
            "SUPABASE_SECRET_KEY" | "STRIPE_SECRET_KEY" => Some("key".to_owned()),
            _ => None,
        });
        assert_eq!(stripe_webhook::Config::read(&settings).is_ok(), good, "{secret}");
    }
}

/// What the dashboard says of plan and subscription.
async fn standing(user: &User) -> (String, Value) {
    let mut seen = dashboard(user).await;
    (seen["plan"].as_str().unwrap().to_owned(), seen["subscription"].take())
}

/// Hole 13: of two changes within one second, in whatever order they are told, the later one stays.
#[tokio::test]
async fn the_newest_truth_stays_even_within_a_second() {
    for newest_first in [false, true] {
        let stripe = FakeStripe::new().await;
        let webhook = stripe.webhook();
        let (user, customer) = customer().await;
        let mut object = subscription(&customer, "incomplete");
        let at = format!("subscriptions/{}", object["id"].as_str().unwrap());
        let created = event("customer.subscription.created", &object);
        object["status"] = json!("active");
        let mut updated = event("customer.subscription.updated", &object);
        updated["created"] = created["created"].clone();
        stripe.has(&at, &object);
        let order = if newest_first { [&updated, &created] } else { [&created, &updated] };
        for event in order {
            tell(&webhook, event).await;
        }
        let (plan, subscription) = standing(&user).await;
        assert_eq!((plan.as_str(), &subscription["status"]), ("pro", &json!("active")), "newest first: {newest_first}");
    }
}

/// Two deliveries fetch at once; the one that fetched the older state is written last.
#[tokio::test]
async fn a_slow_delivery_does_not_overwrite_what_a_later_one_fetched() {
    let (user, customer) = customer().await;
    let object = subscription(&customer, "past_due");
    let begin = |event: Value| rpc("begin_stripe_event", json!({ "p_event": event.to_string() }));
    let (early, late) =
        (event("customer.subscription.updated", &object), event("customer.subscription.updated", &object));
    let slow = begin(early.clone()).await["ticket"].clone();
    let quick = begin(late.clone()).await["ticket"].clone();
    let change = |status: &str| {
        let item = json!({ "price": PRO, "current_period_start": "2026-01-01T00:00:00Z", "current_period_end": "2096-01-01T00:00:00Z" });
        json!({ "subscription": { "id": object["id"], "customer_id": customer, "user_id": null, "status": status, "items": [item],
            "cancel_at": null, "ended_at": null, "created": "2026-01-01T00:00:00Z" } })
    };
    let apply = |event: Value, change: Value, ticket: Value| {
        rpc(
            "apply_stripe_event",
            json!({ "p_event": event.to_string(), "p_change": change.to_string(), "p_ticket": ticket }),
        )
    };
    assert_eq!(apply(late, change("active"), quick).await["outcome"], "stored");
    assert_eq!(apply(early, change("past_due"), slow).await["outcome"], "stale");
    assert_eq!(standing(&user).await.0, "pro");
}

#[tokio::test]
async fn the_plan_follows_the_subscription() {
    let stripe = FakeStripe::new().await;
    let webhook = stripe.webhook();
    let now = Timestamp::now().as_second();
    let day = 86400;
    let cases: [(&str, Value, &str, Value); 12] = [
        ("incomplete", json!({}), "free", json!({ "payment_failed": true })),
        ("trialing", json!({}), "pro", json!({})),
        ("active", json!({}), "pro", json!({ "payment_failed": false, "live": true })),
        // Cancelled: hers until then, also while Stripe does not say that it is over.
        (
            "active",
            json!({ "cancel_at_period_end": true, "cancel_at": now + 5 * day }),
            "pro",
            json!({ "renews_at": null }),
        ),
        ("active", json!({ "cancel_at": now - 5 }), "free", json!({ "live": false })),
        // Hole 15: a period that ended long ago gives nothing, though nobody told us of its end.
        ("active", json!({ "items": [now - 40 * day, now - 8 * day] }), "free", json!({ "live": false })),
        ("active", json!({ "items": [now - 31 * day, now - day] }), "pro", json!({ "live": true })),
        ("past_due", json!({}), "pro", json!({ "payment_failed": true, "renews_at": null })),
        ("unpaid", json!({}), "free", json!({ "payment_failed": true })),
        ("paused", json!({}), "free", json!({ "payment_failed": false })),
        ("canceled", json!({ "ended_at": now - 5, "canceled_at": now - 5 }), "free", json!({ "live": false })),
        ("a_status_of_the_future", json!({}), "free", json!({ "live": false })),
    ];
    for (status, change, plan, seen) in cases {
        let (user, customer) = customer().await;
        let mut object = subscription(&customer, status);
        for (key, value) in change.as_object().unwrap() {
            if key == "items" {
                object["items"]["data"][0]["current_period_start"] = value[0].clone();
                object["items"]["data"][0]["current_period_end"] = value[1].clone();
            } else {
                object[key] = value.clone();
            }
        }
        stripe.has(&format!("subscriptions/{}", object["id"].as_str().unwrap()), &object);
        tell(&webhook, &event("customer.subscription.updated", &object)).await;
        let (found, shown) = standing(&user).await;
        assert_eq!(found, plan, "{status} {change}");
        for (key, value) in seen.as_object().unwrap() {
            assert_eq!(&shown[key], value, "{key} of {status} {change}");
        }
        assert_eq!(balance(user.id).await, 4, "a state gives no credits");
    }
}

#[tokio::test]
async fn an_overdue_payment_keeps_the_plan_for_its_grace_and_no_longer() {
    let stripe = FakeStripe::new().await;
    let webhook = stripe.webhook();
    let (user, customer) = customer().await;
    let object = subscription(&customer, "past_due");
    let sub = object["id"].as_str().unwrap();
    stripe.has(&format!("subscriptions/{sub}"), &object);
    let mut failed = invoice(&customer, "subscription_cycle", &[(PRO, 1, false)]);
    failed["parent"]["subscription_details"]["subscription"] = json!(sub);
    tell(&webhook, &event("invoice.payment_failed", &failed)).await;
    let (plan, shown) = standing(&user).await;
    assert_eq!((plan.as_str(), &shown["payment_failed"]), ("pro", &json!(true)));
    let until: Timestamp = shown["grace_until"].as_str().unwrap().parse().unwrap();
    let days = (until.as_second() - Timestamp::now().as_second()) as f64 / 86400.0;
    assert!((6.9..7.1).contains(&days), "{days}");

    // Told again, it does not begin anew.
    let past = "update public.subscriptions set past_due_since = now() - interval '8 days' where id = $1";
    database().await.execute(past, &[&sub]).await.unwrap();
    tell(&webhook, &event("customer.subscription.updated", &object)).await;
    assert_eq!(standing(&user).await.0, "free");
}

#[tokio::test]
async fn a_subscription_that_stripe_no_longer_has_is_over_and_stripe_down_is_a_503() {
    let stripe = FakeStripe::new().await;
    let webhook = stripe.webhook();
    let (user, customer) = customer().await;
    let object = subscription(&customer, "active");
    let at = format!("subscriptions/{}", object["id"].as_str().unwrap());
    let first = event("customer.subscription.created", &object);
    let unreachable = stripe_webhook(|config| config.stripe_api_url = "http://127.0.0.1:1".parse().unwrap());
    let answer = deliver(&unreachable, &first).await;
    assert_eq!((answer.status, answer.code.as_str()), (503, "stripe_unavailable"));
    stripe.has(&at, &object);
    tell(&webhook, &first).await;
    assert_eq!(standing(&user).await.0, "pro");

    stripe.loses(&at);
    tell(&webhook, &event("customer.subscription.deleted", &object)).await;
    let (plan, shown) = standing(&user).await;
    assert_eq!((plan.as_str(), &shown["status"]), ("free", &json!("canceled")));
}

/// A purchase of the small pack that was paid, and a Stripe that knows its charge.
async fn paid_pack(stripe: &FakeStripe) -> (User, Value, Value) {
    let (user, customer) = customer().await;
    let session = pack_session(&user, &customer, "paid");
    let charge = json!({ "id": id("ch"), "object": "charge", "payment_intent": session["payment_intent"], "customer": customer,
        "amount": 900, "amount_refunded": 0, "currency": "usd", "refunded": false });
    stripe.has("invoice_payments", &json!({ "object": "list", "data": [], "has_more": false }));
    (user, session, charge)
}

/// Hole 14: money that goes back takes its credits along, in proportion, once, and partial refunds add up.
#[tokio::test]
async fn refunds_take_credits_back_in_proportion_and_never_twice() {
    let stripe = FakeStripe::new().await;
    let webhook = stripe.webhook();
    let (user, session, mut charge) = paid_pack(&stripe).await;
    let at = format!("charges/{}", charge["id"].as_str().unwrap());
    tell(&webhook, &event("checkout.session.completed", &session)).await;
    assert_eq!(balance(user.id).await, 14);
    for (refunded, left) in [(299, 11), (598, 8), (897, 5), (900, 4)] {
        charge["amount_refunded"] = json!(refunded);
        stripe.has(&at, &charge);
        let refund =
            json!({ "id": id("re"), "object": "refund", "charge": charge["id"], "amount": 299, "status": "succeeded" });
        let told = [
            event("charge.refunded", &charge),
            event("refund.created", &refund),
            event("refund.updated", &refund),
            event("charge.refund.updated", &refund),
        ];
        join_all(told.iter().chain(&told).map(|event| tell(&webhook, event))).await;
        assert_eq!(balance(user.id).await, left, "{refunded} of 900 refunded");
    }
    // The bank sends the last refund back.
    charge["amount_refunded"] = json!(897);
    stripe.has(&at, &charge);
    tell(&webhook, &event("refund.failed", &json!({ "id": "re_1", "charge": charge["id"], "status": "failed" }))).await;
    assert_eq!(balance(user.id).await, 5);
}

#[tokio::test]
async fn what_was_spent_already_is_owed() {
    let stripe = FakeStripe::new().await;
    let webhook = stripe.webhook();
    let (user, session, mut charge) = paid_pack(&stripe).await;
    // The refund is told before the purchase.
    charge["amount_refunded"] = json!(900);
    stripe.has(&format!("charges/{}", charge["id"].as_str().unwrap()), &charge);
    tell(&webhook, &event("charge.refunded", &charge)).await;
    assert_eq!(balance(user.id).await, 4);
    tell(&webhook, &event("checkout.session.completed", &session)).await;
    assert_eq!(balance(user.id).await, 4, "given and taken back");

    let (user, session, mut charge) = paid_pack(&stripe).await;
    tell(&webhook, &event("checkout.session.completed", &session)).await;
    let spend = json!({ "p_user_id": user.id, "p_amount": 14, "p_business_key": id("spend"), "p_description": "d" });
    assert_eq!(rpc("spend_credits", spend).await["balance"], 0);
    charge["amount_refunded"] = json!(900);
    stripe.has(&format!("charges/{}", charge["id"].as_str().unwrap()), &charge);
    tell(&webhook, &event("charge.refunded", &charge)).await;
    assert_eq!(balance(user.id).await, -10);
    let spend = json!({ "p_user_id": user.id, "p_amount": 1, "p_business_key": id("spend"), "p_description": "d" });
    assert_eq!(rpc("spend_credits", spend).await, json!({ "outcome": "insufficient", "balance": -10 }));
}

#[tokio::test]
async fn a_dispute_takes_credits_back_until_it_is_won() {
    let stripe = FakeStripe::new().await;
    let webhook = stripe.webhook();
    for (amount, statuses) in [
        (900, [("warning_needs_response", 14), ("needs_response", 4), ("under_review", 4), ("won", 14)]),
        (450, [("needs_response", 9), ("under_review", 9), ("lost", 9), ("lost", 9)]),
        (
            900,
            [("warning_needs_response", 14), ("warning_under_review", 14), ("warning_closed", 14), ("prevented", 14)],
        ),
    ] {
        let (user, session, charge) = paid_pack(&stripe).await;
        tell(&webhook, &event("checkout.session.completed", &session)).await;
        let mut dispute = json!({ "id": id("dp"), "object": "dispute", "charge": charge["id"],
            "payment_intent": session["payment_intent"], "amount": amount, "status": "" });
        for (status, left) in statuses {
            dispute["status"] = json!(status);
            stripe.has(&format!("disputes/{}", dispute["id"].as_str().unwrap()), &dispute);
            let kind = if status == "needs_response" { "charge.dispute.created" } else { "charge.dispute.closed" };
            tell(&webhook, &event(kind, &dispute)).await;
            assert_eq!(balance(user.id).await, left, "{status} of {amount}");
        }
    }
}

#[tokio::test]
async fn a_refund_of_an_invoice_finds_its_credits_by_the_payment() {
    let stripe = FakeStripe::new().await;
    let webhook = stripe.webhook();
    for legacy in [false, true] {
        let (user, customer) = customer().await;
        let paid = invoice(&customer, "subscription_create", &[(PRO, 1, false)]);
        tell(&webhook, &event("invoice.paid", &paid)).await;
        let mut charge = json!({ "id": id("ch"), "object": "charge", "payment_intent": id("pi"), "customer": customer,
            "amount": 1900, "amount_refunded": 950, "currency": "usd" });
        if legacy {
            charge["invoice"] = paid["id"].clone();
        } else {
            let payment = json!({ "id": id("inpay"), "object": "invoice_payment", "invoice": paid["id"] });
            stripe.has("invoice_payments", &json!({ "object": "list", "data": [payment], "has_more": false }));
        }
        stripe.has(&format!("charges/{}", charge["id"].as_str().unwrap()), &charge);
        tell(&webhook, &event("charge.refunded", &charge)).await;
        assert_eq!(balance(user.id).await, 10, "legacy: {legacy}");
    }
}

#[tokio::test]
async fn purchase_and_refund_at_the_same_time_meet() {
    let stripe = FakeStripe::new().await;
    let webhook = stripe.webhook();
    for _ in 0..20 {
        let (user, session, mut charge) = paid_pack(&stripe).await;
        charge["amount_refunded"] = json!(900);
        stripe.has(&format!("charges/{}", charge["id"].as_str().unwrap()), &charge);
        let (paid, refunded) = (event("checkout.session.completed", &session), event("charge.refunded", &charge));
        tokio::join!(tell(&webhook, &paid), tell(&webhook, &refunded));
        assert_eq!(balance(user.id).await, 4);
    }
}

#[tokio::test]
async fn money_for_an_account_that_is_gone_is_kept_for_a_person_to_see() {
    let webhook = stripe_webhook(|_| {});
    let (user, customer) = customer().await;
    database().await.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    let event = event("invoice.paid", &invoice(&customer, "subscription_cycle", &[(PRO, 1, false)]));
    tell(&webhook, &event).await;
    assert_eq!(kept(&event).await, Some((Some("unmatched".to_owned()), false, 1)));
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_kept_and_comes_again() {
    let webhook = stripe_webhook(|_| {});
    let event = event("invoice.paid", &json!({ "id": "in_1", "object": "invoice", "lines": "of a future shape" }));
    let answer = deliver(&webhook, &event).await;
    assert_eq!((answer.status, answer.code.as_str()), (500, "unreadable_event"));
    assert_eq!(kept(&event).await, Some((None, false, 1)));
}

#[tokio::test]
async fn a_grant_takes_one_round_trip_to_the_database_and_a_state_two() {
    let postgrest = MockServer::start().await;
    let outcome = json!({ "outcome": "granted" });
    Mock::given(path("/rest/v1/rpc/apply_stripe_event"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&outcome))
        .mount(&postgrest)
        .await;
    let begun = json!({ "outcome": "begun", "ticket": 1 });
    Mock::given(path("/rest/v1/rpc/begin_stripe_event"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&begun))
        .mount(&postgrest)
        .await;
    let stripe = FakeStripe::new().await;
    let object = subscription("cus_1", "active");
    stripe.has(&format!("subscriptions/{}", object["id"].as_str().unwrap()), &object);
    let webhook = stripe_webhook(|config| {
        config.supabase_url = postgrest.uri().parse().unwrap();
        config.stripe_api_url = stripe.server.uri().parse().unwrap();
    });
    let asked = async || postgrest.received_requests().await.unwrap().len();
    tell(&webhook, &event("invoice.paid", &invoice("cus_1", "subscription_cycle", &[(PRO, 1, false)]))).await;
    assert_eq!((asked().await, stripe.server.received_requests().await.unwrap().len()), (1, 0));
    tell(&webhook, &event("customer.subscription.updated", &object)).await;
    assert_eq!((asked().await, stripe.server.received_requests().await.unwrap().len()), (3, 1));
}
