//! The client of Stripe against servers that answer as Stripe may, and as it should not.

use std::time::{Duration, Instant};

use domain::id::UserId;
use reqwest::StatusCode;
use serde_json::{Value, json};
use stripe_client::{NewCheckoutSession, Offer, Stripe, StripeError};
use url::{Url, form_urlencoded};
use uuid::Uuid;
use wiremock::{
    Match, Mock, MockServer, Request, ResponseTemplate,
    matchers::{any, method, path, query_param, query_param_is_missing},
};

use crate::{
    doubles::{Mode, Proxy, Raw, Reply},
    stack::setting,
};

const KEY: &str = "sk_test_clientkey";

fn client(origin: &str) -> Stripe {
    Stripe::new(origin.parse().unwrap(), KEY.into()).unwrap()
}

/// A Stripe that answers everything like this, and its client.
async fn answering(answer: ResponseTemplate) -> (MockServer, Stripe) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let stripe = client(&server.uri());
    (server, stripe)
}

fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn problem(status: u16, error: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "error": error }))
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers[name].to_str().unwrap()
}

fn form(request: &Request) -> Vec<(String, String)> {
    form_urlencoded::parse(&request.body).into_owned().collect()
}

fn session() -> Value {
    json!({
        "id": "cs_1", "object": "checkout.session", "mode": "subscription", "status": "open", "payment_status": "unpaid",
        "customer": "cus_1", "url": "https://checkout.example/cs_1", "expires_at": 1795341600, "created": 1795255200,
        "metadata": {},
    })
}

fn subscription(id: &str, status: &str) -> Value {
    json!({
        "id": id, "customer": "cus_1", "status": status, "created": 1795255200, "metadata": {},
        "items": { "data": [{ "price": { "id": "price_1" }, "quantity": 1,
                              "current_period_start": 1795255200, "current_period_end": 1797847200 }] },
    })
}

#[tokio::test]
async fn a_customer_is_made_by_a_form_with_key_version_and_idempotency_key() {
    let (server, stripe) = answering(ok(json!({ "id": "cus_1", "object": "customer" }))).await;
    let user_id = UserId(Uuid::new_v4());

    assert_eq!(stripe.create_customer("customer:1", user_id, Some("a+b@example.com")).await.unwrap(), "cus_1");
    assert_eq!(stripe.create_customer("customer:1", user_id, None).await.unwrap(), "cus_1");

    let [first, second] = &server.received_requests().await.unwrap()[..] else { panic!("two requests") };
    assert_eq!((first.method.as_str(), first.url.path()), ("POST", "/v1/customers"));
    assert_eq!(header(first, "authorization"), format!("Bearer {KEY}"));
    assert_eq!(header(first, "stripe-version"), "2026-07-29.dahlia");
    assert_eq!(header(first, "content-type"), "application/x-www-form-urlencoded");
    assert_eq!(
        std::str::from_utf8(&first.body).unwrap(),
        format!("metadata%5Buser_id%5D={user_id}&email=a%2Bb%40example.com")
    );
    assert!(header(first, "idempotency-key").starts_with("customer:1:"));
    assert_ne!(header(first, "idempotency-key"), header(second, "idempotency-key"), "another form is another request");
}

#[tokio::test]
async fn a_checkout_session_names_the_user_on_itself_and_on_what_it_makes() {
    let (server, stripe) = answering(ok(session())).await;
    let user_id = UserId(Uuid::new_v4());
    let (success_url, cancel_url): (Url, Url) =
        ("https://site.example/a?x={CHECKOUT_SESSION_ID}".parse().unwrap(), "https://site.example/b".parse().unwrap());
    let plan = NewCheckoutSession {
        customer: "cus_1",
        user_id,
        price: "price_1",
        offer: Offer::Plan { id: "pro" },
        success_url: &success_url,
        cancel_url: &cancel_url,
    };
    let pack = NewCheckoutSession { offer: Offer::Pack { id: "small", credits: 10 }, ..plan };
    for new in [plan, pack] {
        let made = stripe.create_checkout_session("checkout:1", &new).await.unwrap();
        assert_eq!((made.id.as_str(), made.url.as_deref()), ("cs_1", Some("https://checkout.example/cs_1")));
    }

    let requests = server.received_requests().await.unwrap();
    let user_id = user_id.to_string();
    let common = [
        ("customer", "cus_1"),
        ("client_reference_id", &user_id),
        ("line_items[0][price]", "price_1"),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://site.example/a?x={CHECKOUT_SESSION_ID}"),
        ("cancel_url", "https://site.example/b"),
        ("metadata[user_id]", &user_id),
    ];
    let of_plan = [
        ("mode", "subscription"),
        ("metadata[plan_id]", "pro"),
        ("subscription_data[metadata][user_id]", &user_id),
        ("subscription_data[metadata][plan_id]", "pro"),
    ];
    let of_pack = [
        ("mode", "payment"),
        ("metadata[pack_id]", "small"),
        ("metadata[credits]", "10"),
        ("payment_intent_data[metadata][user_id]", &user_id),
        ("payment_intent_data[metadata][pack_id]", "small"),
        ("payment_intent_data[metadata][credits]", "10"),
    ];
    for (request, own) in requests.iter().zip([&of_plan[..], &of_pack[..]]) {
        assert_eq!(request.url.path(), "/v1/checkout/sessions");
        let mut sent = form(request);
        sent.retain(|(name, _)| name != "metadata[fingerprint]");
        sent.sort();
        let mut expected: Vec<_> =
            common.iter().chain(own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        expected.sort();
        assert_eq!(sent, expected);
    }
}

#[tokio::test]
async fn a_session_is_known_again_by_what_it_was_made_of() {
    let server = MockServer::start().await;
    let echo = |request: &Request| {
        let mut session = session();
        for (name, value) in form(request) {
            if let Some(key) = name.strip_prefix("metadata[").and_then(|key| key.strip_suffix(']')) {
                session["metadata"][key] = json!(value);
            }
        }
        ok(session)
    };
    Mock::given(any()).respond_with(echo).mount(&server).await;
    let [here, there]: [Url; 2] = ["https://site.example/a", "https://site.example/b"].map(|url| url.parse().unwrap());
    let new = NewCheckoutSession {
        customer: "cus_1",
        user_id: UserId(Uuid::new_v4()),
        price: "price_1",
        offer: Offer::Pack { id: "small", credits: 10 },
        success_url: &here,
        cancel_url: &there,
    };
    let made = client(&server.uri()).create_checkout_session("k", &new).await.unwrap();

    assert!(new.made(&made));
    for other in [
        NewCheckoutSession { customer: "cus_2", ..new },
        NewCheckoutSession { price: "price_2", ..new },
        NewCheckoutSession { offer: Offer::Pack { id: "small", credits: 11 }, ..new },
        NewCheckoutSession { offer: Offer::Plan { id: "small" }, ..new },
        NewCheckoutSession { success_url: &there, ..new },
        NewCheckoutSession { cancel_url: &here, ..new },
        NewCheckoutSession { user_id: UserId(Uuid::new_v4()), ..new },
    ] {
        assert!(!other.made(&made), "{other:?}");
    }
}

#[tokio::test]
async fn portal_and_expiry_are_asked_for_by_their_paths() {
    let (server, stripe) = answering(ok(json!({ "id": "x", "url": "https://billing.example/p" }))).await;
    let url = stripe.create_portal_session("cus_1", &"https://site.example/d".parse().unwrap()).await.unwrap();
    assert_eq!(url, "https://billing.example/p");
    stripe.expire_checkout_session("cs_1").await.unwrap();

    let [portal, expiry] = &server.received_requests().await.unwrap()[..] else { panic!("two requests") };
    assert_eq!((portal.method.as_str(), portal.url.path()), ("POST", "/v1/billing_portal/sessions"));
    assert_eq!(std::str::from_utf8(&portal.body).unwrap(), "customer=cus_1&return_url=https%3A%2F%2Fsite.example%2Fd");
    assert_eq!((expiry.method.as_str(), expiry.url.path()), ("POST", "/v1/checkout/sessions/cs_1/expire"));
}

#[tokio::test]
async fn a_page_that_is_paid_or_closed_need_not_be_closed() {
    let (_server, stripe) = answering(problem(400, json!({ "type": "invalid_request_error" }))).await;
    stripe.expire_checkout_session("cs_1").await.unwrap();
}

#[tokio::test]
async fn live_subscriptions_are_those_that_go_on_by_themselves() {
    let statuses = [
        "trialing",
        "active",
        "past_due",
        "unpaid",
        "paused",
        "of_tomorrow",
        "incomplete",
        "incomplete_expired",
        "canceled",
    ];
    let all: Vec<_> = statuses.iter().map(|status| subscription(status, status)).collect();
    let (server, stripe) = answering(ok(json!({ "object": "list", "data": all, "has_more": false }))).await;
    let live: Vec<_> =
        stripe.live_subscriptions("cus_1").await.unwrap().into_iter().map(|subscription| subscription.id).collect();
    assert_eq!(live, statuses[..6]);
    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!(
        (request.url.path(), request.url.query()),
        ("/v1/subscriptions", Some("limit=100&customer=cus_1&status=all"))
    );
}

#[tokio::test]
async fn objects_are_read_as_they_are_now_and_missing_ones_are_none() {
    let server = MockServer::start().await;
    let at = |name: &str, body: Value| Mock::given(method("GET")).and(path(name.to_owned())).respond_with(ok(body));
    at("/v1/subscriptions/sub_1", subscription("sub_1", "active")).mount(&server).await;
    let charge =
        json!({ "id": "ch_1", "amount": 900, "amount_refunded": 300, "currency": "usd", "payment_intent": "pi_1" });
    at("/v1/charges/ch_1", charge).mount(&server).await;
    let dispute = json!({ "id": "du_1", "charge": "ch_1", "amount": 900, "status": "lost", "payment_intent": "pi_1" });
    at("/v1/disputes/du_1", dispute).mount(&server).await;
    let missing =
        json!({ "type": "invalid_request_error", "code": "resource_missing", "param": "id", "message": "No such…" });
    Mock::given(any()).respond_with(problem(404, missing)).with_priority(9).mount(&server).await;
    let stripe = client(&server.uri());

    assert_eq!(stripe.subscription("sub_1").await.unwrap().unwrap().items[0].price, "price_1");
    assert_eq!(stripe.charge("ch_1").await.unwrap().unwrap().amount_refunded, 300);
    assert_eq!(stripe.dispute("du_1").await.unwrap().unwrap().status, "lost");
    assert_eq!(stripe.subscription("sub_2").await.unwrap(), None);
    assert_eq!(stripe.charge("ch_2").await.unwrap(), None);
    assert_eq!(stripe.dispute("du_2").await.unwrap(), None);
}

#[tokio::test]
async fn an_id_cannot_lead_to_another_path() {
    let (server, stripe) = answering(ok(subscription("sub_1", "active"))).await;
    stripe.subscription("../customers/cus_1?x=1#y").await.unwrap();
    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!(request.url.path(), "/v1/subscriptions/..%2Fcustomers%2Fcus_1%3Fx=1%23y");
}

#[tokio::test]
async fn the_invoice_of_a_payment_is_found_by_the_invoice_payments() {
    let server = MockServer::start().await;
    let found = ok(json!({ "data": [{ "id": "inpay_1", "invoice": "in_1" }], "has_more": false }));
    Mock::given(path("/v1/invoice_payments"))
        .and(query_param("payment[type]", "payment_intent"))
        .and(query_param("payment[payment_intent]", "pi_1"))
        .respond_with(found)
        .mount(&server)
        .await;
    Mock::given(any()).respond_with(ok(json!({ "data": [], "has_more": false }))).with_priority(9).mount(&server).await;
    let stripe = client(&server.uri());
    assert_eq!(stripe.invoice_of("pi_1").await.unwrap().as_deref(), Some("in_1"));
    assert_eq!(stripe.invoice_of("pi_2").await.unwrap(), None);
}

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    let server = MockServer::start().await;
    let line = |id: &str| json!({ "id": id, "quantity": 1, "pricing": { "price_details": { "price": id } } });
    let pages = Mock::given(path("/v1/invoices/in_1/lines")).and(query_param("limit", "100"));
    pages
        .and(query_param_is_missing("starting_after"))
        .respond_with(ok(json!({ "data": [line("a"), line("b")], "has_more": true })))
        .mount(&server)
        .await;
    Mock::given(query_param("starting_after", "b"))
        .respond_with(ok(json!({ "data": [line("c")], "has_more": false })))
        .mount(&server)
        .await;
    let prices: Vec<_> = client(&server.uri()).invoice_lines("in_1").await.unwrap();
    assert_eq!(prices.iter().map(|line| line.price.as_deref().unwrap()).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_drops_its_words() {
    let words = json!({
        "type": "invalid_request_error", "code": "resource_missing", "param": "customer",
        "message": "No such customer: 'cus_1'; a similar object exists for clara@example.com",
    });
    for status in [400, 401, 402, 403, 404] {
        let (server, stripe) = answering(problem(status, words.clone())).await;
        let error = stripe.create_customer("k", UserId(Uuid::new_v4()), None).await.unwrap_err();
        assert!(error.is_missing("customer") && !error.is_missing("price"), "{error:?}");
        assert!(
            matches!(&error, StripeError::Refused { status: refused, .. } if *refused == StatusCode::from_u16(status).unwrap())
        );
        let shown = format!("{error} {error:?} {stripe:?}");
        assert!(!shown.contains("clara") && !shown.contains("cus_1") && !shown.contains(KEY), "{shown}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "asking again changes nothing");
    }
}

#[tokio::test]
async fn an_object_that_must_not_be_read_is_not_taken_for_a_missing_one() {
    for (status, code) in [(404, ""), (401, ""), (400, "resource_missing")] {
        let (_server, stripe) = answering(problem(status, json!({ "code": code }))).await;
        let error = stripe.subscription("sub_1").await.unwrap_err();
        assert!(matches!(error, StripeError::Refused { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_may_work_later_is_told_from_what_never_will() {
    for (status, code) in [(500, ""), (502, ""), (503, ""), (429, "rate_limit"), (409, "lock_timeout")] {
        let (_server, stripe) = answering(problem(status, json!({ "code": code }))).await;
        let error = stripe.charge("ch_1").await.unwrap_err();
        assert!(matches!(error, StripeError::Unavailable(_)), "{status}: {error:?}");
    }
    let error = client("http://127.0.0.1:9").charge("ch_1").await.unwrap_err();
    assert!(matches!(error, StripeError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn garbage_is_called_so() {
    let page = json!({ "data": [{ "id": "sub_1" }], "has_more": false }).to_string();
    for body in ["", "<html>", "[]", "null", "{\"id\":", &page] {
        let server = Raw::start(Reply::body("application/json", body.as_bytes())).await;
        let stripe = client(server.origin.as_str());
        let error = stripe.subscription("sub_1").await.unwrap_err();
        assert!(matches!(error, StripeError::Garbled(_)), "{body}: {error:?}");
        let error = stripe.live_subscriptions("cus_1").await.unwrap_err();
        assert!(matches!(error, StripeError::Garbled(_)), "{body}: {error:?}");
        let error = stripe.create_customer("k", UserId(Uuid::new_v4()), None).await.err();
        assert!(matches!(error, Some(StripeError::Garbled(_))), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_or_breaks_off_is_given_up_after_eight_seconds() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":".to_vec();
    let silent = Raw::start(Reply::Silence(Vec::new())).await;
    let drips = Raw::start(Reply::Silence(half.clone())).await;
    let breaks = Raw::start(Reply::Bytes(half)).await;
    for (server, longest) in [(&silent, 10), (&drips, 10), (&breaks, 5)] {
        let asked = Instant::now();
        let error = client(server.origin.as_str()).charge("ch_1").await.unwrap_err();
        assert!(matches!(error, StripeError::Unavailable(_)), "{error:?}");
        assert!(asked.elapsed() < Duration::from_secs(longest), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn a_server_error_is_asked_once_more_with_the_same_key() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).up_to_n_times(1).mount(&server).await;
    Mock::given(any()).respond_with(ok(json!({ "id": "cus_1" }))).mount(&server).await;
    client(&server.uri()).create_customer("k", UserId(Uuid::new_v4()), None).await.unwrap();
    let [first, second] = &server.received_requests().await.unwrap()[..] else { panic!("two requests") };
    assert_eq!(header(first, "idempotency-key"), header(second, "idempotency-key"));
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_makes_one_customer() {
    let proxy = Proxy::before(&setting("STRIPE_API_URL")).await;
    proxy.set(Mode::LoseAnswerTo("POST /v1/customers"));
    let stripe = Stripe::new(proxy.origin.clone(), setting("STRIPE_SECRET_KEY").into()).unwrap();
    let (user_id, email) = (UserId(Uuid::new_v4()), format!("{}@example.com", Uuid::new_v4()));
    let key = format!("customer:{user_id}");

    let made = stripe.create_customer(&key, user_id, Some(&email)).await.unwrap();

    assert_eq!(stripe.create_customer(&key, user_id, Some(&email)).await.unwrap(), made);
    let found = crate::checkout::at_stripe(&format!("/v1/customers?email={email}")).await;
    assert_eq!(found["data"].as_array().unwrap().len(), 1, "{found}");
}

#[tokio::test]
async fn while_another_request_with_the_key_is_under_way_stripe_is_asked_again() {
    let server = MockServer::start().await;
    let busy = problem(409, json!({ "type": "idempotency_error", "code": "idempotency_key_in_use" }));
    Mock::given(any()).respond_with(busy.clone()).up_to_n_times(2).mount(&server).await;
    Mock::given(any()).respond_with(ok(json!({ "id": "cus_1" }))).mount(&server).await;
    let user_id = UserId(Uuid::new_v4());
    assert_eq!(client(&server.uri()).create_customer("k", user_id, None).await.unwrap(), "cus_1");

    let (server, stripe) = answering(busy).await;
    let error = stripe.create_customer("k", user_id, None).await.unwrap_err();
    assert!(matches!(error, StripeError::Unavailable(_)), "{error:?}");
    assert_eq!(server.received_requests().await.unwrap().len(), 4);
}

/// Requests whose idempotency key is the one of the first.
struct SameKey(std::sync::OnceLock<String>);

impl Match for SameKey {
    fn matches(&self, request: &Request) -> bool {
        let key = header(request, "idempotency-key");
        self.0.get_or_init(|| key.to_owned()) == key
    }
}

#[tokio::test]
async fn a_failure_that_stripe_keeps_under_a_key_is_not_waited_out() {
    let failures = [
        problem(500, json!({ "type": "api_error" })),
        problem(400, json!({ "type": "invalid_request_error", "param": "line_items[0][price]" })),
    ];
    for failure in failures {
        let server = MockServer::start().await;
        let kept = failure.append_header("idempotent-replayed", "true");
        Mock::given(SameKey(Default::default())).respond_with(kept).mount(&server).await;
        Mock::given(any()).respond_with(ok(json!({ "id": "cus_1" }))).mount(&server).await;
        let made = client(&server.uri()).create_customer("k", UserId(Uuid::new_v4()), None).await.unwrap();
        assert_eq!(made, "cus_1");
    }
}

#[tokio::test]
async fn a_subscription_is_cancelled_with_nothing_asked_for_but_its_end() {
    let (server, stripe) = answering(ok(subscription("sub_1", "canceled"))).await;
    stripe.cancel_subscription("sub_1").await.unwrap();
    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!((request.method.as_str(), request.url.path()), ("DELETE", "/v1/subscriptions/sub_1"));
    assert_eq!((request.url.query(), request.body.len()), (None, 0), "no last invoice, no proration");

    let missing = json!({ "type": "invalid_request_error", "code": "resource_missing", "param": "id" });
    let (_server, stripe) = answering(problem(404, missing)).await;
    stripe.cancel_subscription("sub_1").await.unwrap();
    let (_server, stripe) = answering(problem(403, json!({ "type": "invalid_request_error" }))).await;
    assert!(matches!(stripe.cancel_subscription("sub_1").await, Err(StripeError::Refused { .. })));
    let (_server, stripe) = answering(problem(500, json!({ "type": "api_error" }))).await;
    assert!(matches!(stripe.cancel_subscription("sub_1").await, Err(StripeError::Unavailable(_))));
    let (_server, stripe) = answering(ResponseTemplate::new(200).set_body_string("<html>")).await;
    assert!(matches!(stripe.cancel_subscription("sub_1").await, Err(StripeError::Garbled(_))));
}

#[tokio::test]
async fn subscriptions_that_have_not_ended_are_all_that_somebody_may_still_pay_for() {
    let of = |status: &str| subscription(&format!("sub_{status}"), status);
    let all = ["active", "past_due", "incomplete", "incomplete_expired", "canceled", "unpaid", "a_word_of_the_future"];
    let (server, stripe) = answering(ok(json!({ "data": all.map(of), "has_more": false }))).await;
    let found: Vec<String> =
        stripe.unended_subscriptions("cus_1").await.unwrap().into_iter().map(|one| one.status).collect();
    assert_eq!(found, ["active", "past_due", "incomplete", "unpaid", "a_word_of_the_future"]);
    let request = &server.received_requests().await.unwrap()[0];
    let query: Vec<(String, String)> = request.url.query_pairs().into_owned().collect();
    for asked in [("customer", "cus_1"), ("status", "all")] {
        assert!(query.contains(&(asked.0.to_owned(), asked.1.to_owned())), "{query:?}");
    }
}
