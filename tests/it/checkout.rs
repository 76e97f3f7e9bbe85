//! create-checkout-session: who may buy what, that nobody pays twice, and that the user's id is on all that Stripe makes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use create_checkout_session::{Config, Deps, handle};
use futures_util::future::join_all;
use lambda_kit::ApiError;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, body_string_contains, method, path},
};

use crate::{
    doubles::{Mode, Proxy, Raw, Reply},
    stack::{Answer, User, claims, create_checkout_session, database, request, setting, user_token},
};

/// What Stripe answers to a request with our key; a form makes it a POST.
pub async fn stripe(method: Method, path: &str, form: &[(&str, &str)]) -> Value {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let http = http_client::client(Duration::from_secs(10)).unwrap();
    let request = http.request(method, format!("{}{path}", setting("STRIPE_API_URL"))).body(form);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.bearer_auth(setting("STRIPE_SECRET_KEY")).send().await.unwrap();
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// What is at Stripe.
pub async fn at_stripe(path: &str) -> Value {
    stripe(Method::GET, path, &[]).await
}

/// What a person or time does to Stripe (the table at the head of `local/sandbox/stripe.mjs`).
pub async fn act(path: &str, body: Value) -> Value {
    let http = http_client::client(Duration::from_secs(10)).unwrap();
    let response = http.post(format!("{}/sandbox/stripe/{path}", setting("SANDBOX_URL"))).json(&body).send().await;
    let response = response.unwrap();
    assert!(response.status().is_success(), "{path}: {}", response.status());
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Lets something go wrong with the next request that mentions `only`.
async fn next(fault: &str, times: u32, only: &str) {
    let http = http_client::client(Duration::from_secs(10)).unwrap();
    let fault = json!({ "fault": fault, "times": times, "only": only });
    let response = http.put(format!("{}/sandbox/next", setting("SANDBOX_URL"))).json(&fault).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
}

async fn order(
    deps: &Arc<Deps>,
    user: &User,
    body: Value,
) -> Result<lambda_http::Response<lambda_http::Body>, ApiError> {
    handle(deps.clone(), request("POST", "/checkout-sessions", Some(&user.token), body.to_string())).await
}

/// The answer to an order, with everything else in order.
async fn buy(user: &User, body: Value) -> Answer {
    order(&create_checkout_session(|_| {}), user, body).await.into()
}

/// The session of an answer, as Stripe has it.
async fn session(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{answer:?}");
    let session = at_stripe(&format!("/v1/checkout/sessions/{}", text(&answer.body["session_id"]))).await;
    assert_eq!(session["url"], answer.body["checkout_url"]);
    session
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

async fn customer_of(user: &User) -> Option<String> {
    let select = "select customer_id from public.stripe_customers where user_id = $1";
    database().await.query_opt(select, &[&user.id]).await.unwrap().map(|row| row.get(0))
}

async fn customers_with_email(email: &str) -> Vec<Value> {
    at_stripe(&format!("/v1/customers?email={email}")).await["data"].as_array().unwrap().clone()
}

/// Her checkout pages that are open.
async fn open_pages(user: &User) -> Vec<String> {
    let customer = customer_of(user).await.unwrap();
    let sessions = at_stripe(&format!("/v1/checkout/sessions?status=open&customer={customer}")).await;
    sessions["data"].as_array().unwrap().iter().map(|session| text(&session["id"]).to_owned()).collect()
}

/// A user whose token names `origin` as the project, so that functions which know it by that name believe her.
pub async fn user_of(origin: &Url) -> User {
    let user = User::new().await;
    let mut claims = claims(user.id, &user.email);
    claims["iss"] = json!(format!("{origin}auth/v1"));
    User { token: user_token(&claims), ..user }
}

/// A user who subscribed at Stripe, and the page on which she did; what Stripe would tell us of it is held back.
async fn subscriber() -> (User, Value) {
    let user = User::new().await;
    let session = session(&buy(&user, json!({ "plan_id": "pro" })).await).await;
    next("stripe_webhook_held", 9, text(&session["customer"])).await;
    let paid = act(&format!("checkout/{}/pay", text(&session["id"])), json!({})).await;
    (user, paid)
}

fn plan() -> Value {
    json!({ "plan_id": "pro" })
}

fn pack() -> Value {
    json!({ "pack_id": "small" })
}

#[tokio::test]
async fn a_plan_is_sold_on_a_page_that_names_the_user_everywhere() {
    let user = User::new().await;
    let session = session(&buy(&user, plan()).await).await;

    let names = json!({ "user_id": user.id, "plan_id": "pro", "fingerprint": session["metadata"]["fingerprint"] });
    assert_eq!(session["metadata"], names);
    assert_eq!((&session["mode"], &session["client_reference_id"]), (&json!("subscription"), &json!(user.id)));
    assert_eq!(customer_of(&user).await.as_deref(), session["customer"].as_str());
    let site = setting("SITE_ORIGINS");
    assert_eq!(session["success_url"], format!("{site}/dashboard?checkout=success"));
    assert_eq!(session["cancel_url"], format!("{site}/dashboard?checkout=cancelled"));
    let customer = at_stripe(&format!("/v1/customers/{}", text(&session["customer"]))).await;
    assert_eq!((&customer["email"], &customer["metadata"]), (&json!(user.email), &json!({ "user_id": user.id })));

    let paid = act(&format!("checkout/{}/pay", text(&session["id"])), json!({})).await;
    let subscription = at_stripe(&format!("/v1/subscriptions/{}", text(&paid["subscription"]))).await;
    assert_eq!(subscription["metadata"], json!({ "user_id": user.id, "plan_id": "pro" }));
    assert_eq!(subscription["items"]["data"][0]["price"]["id"], "price_pro_monthly");
}

#[tokio::test]
async fn a_pack_is_sold_on_a_page_that_names_the_user_and_the_credits_promised() {
    let user = User::new().await;
    let session = session(&buy(&user, pack()).await).await;
    assert_eq!((&session["mode"], &session["amount_total"]), (&json!("payment"), &json!(900)));
    assert_eq!(session["metadata"]["credits"], "10");

    let paid = act(&format!("checkout/{}/pay", text(&session["id"])), json!({})).await;
    let payment = at_stripe(&format!("/v1/payment_intents/{}", text(&paid["payment_intent"]))).await;
    assert_eq!(payment["metadata"], json!({ "user_id": user.id, "pack_id": "small", "credits": "10" }));
}

#[tokio::test]
async fn fifty_requests_at_once_make_one_customer_and_one_page() {
    for body in [plan(), pack()] {
        let user = User::new().await;
        let answers = join_all((0..50).map(|_| buy(&user, body.clone()))).await;

        let first = &answers[0];
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (201, &first.body), "{answer:?}");
        }
        assert_eq!(customers_with_email(&user.email).await.len(), 1);
        assert_eq!(open_pages(&user).await, [text(&first.body["session_id"])]);
    }
}

#[tokio::test]
async fn a_customer_with_the_same_email_is_somebody_else() {
    let user = User::new().await;
    let other = stripe(Method::POST, "/v1/customers", &[("email", &user.email)]).await;
    let hers = session(&buy(&user, pack()).await).await["customer"].clone();
    assert_ne!(hers, other["id"]);
    assert_eq!(customers_with_email(&user.email).await.len(), 2);
}

#[tokio::test]
async fn nobody_can_name_another_users_customer() {
    let (owner, other) = (User::new().await, User::new().await);
    let owners = session(&buy(&owner, pack()).await).await["customer"].clone();
    let body = json!({
        "pack_id": "small", "customer": owners, "customer_id": owners, "user_id": owner.id, "client_reference_id": owner.id,
        "metadata": { "user_id": owner.id }, "email": owner.email,
    });
    let session = session(&buy(&other, body).await).await;
    assert_ne!(session["customer"], owners);
    assert_eq!(
        (&session["client_reference_id"], &session["metadata"]["user_id"]),
        (&json!(other.id), &json!(other.id))
    );
}

#[tokio::test]
async fn the_same_wish_finds_the_page_that_is_open() {
    for body in [plan(), pack()] {
        let user = User::new().await;
        let first = buy(&user, body.clone()).await;
        let clicked_twice = join_all((0..2).map(|_| buy(&user, body.clone()))).await;
        for answer in clicked_twice {
            assert_eq!(answer.body, first.body);
        }
        assert_eq!(open_pages(&user).await.len(), 1);
    }
}

#[tokio::test]
async fn another_page_for_a_plan_closes_the_one_before_and_leaves_packs_alone() {
    let user = User::new().await;
    let of_pack = session(&buy(&user, pack()).await).await;
    let first = session(&buy(&user, plan()).await).await;
    let elsewhere = format!("{}/credits", setting("SITE_ORIGINS"));
    let second = session(&buy(&user, json!({ "plan_id": "pro", "cancel_url": elsewhere })).await).await;

    assert_ne!(first["id"], second["id"]);
    assert_eq!(second["cancel_url"], elsewhere);
    let open = open_pages(&user).await;
    assert_eq!(open, [text(&second["id"]), text(&of_pack["id"])]);

    let again = session(&buy(&user, plan()).await).await;
    assert_ne!(again["id"], first["id"], "a page that was closed is not handed out again");
    assert_eq!(again["status"], "open");
}

#[tokio::test]
async fn different_wishes_at_once_never_leave_two_pages_that_subscribe() {
    for _ in 0..5 {
        let user = User::new().await;
        let site = setting("SITE_ORIGINS");
        let wishes = (0..6).map(|i| buy(&user, json!({ "plan_id": "pro", "cancel_url": format!("{site}/{i}") })));
        for answer in join_all(wishes).await {
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        let open = open_pages(&user).await;
        assert!(open.len() <= 1, "{open:?}");
        assert_eq!(session(&buy(&user, plan()).await).await["status"], "open", "and the next wish is granted");
        assert_eq!(open_pages(&user).await.len(), 1);
    }
}

#[tokio::test]
async fn a_page_that_is_paid_or_about_to_close_is_not_handed_out_again() {
    let user = User::new().await;
    let first = session(&buy(&user, pack()).await).await;
    act(&format!("checkout/{}/pay", text(&first["id"])), json!({})).await;
    let second = session(&buy(&user, pack()).await).await;
    assert_ne!(second["id"], first["id"]);

    // The same wish, on a page that closes in 29 minutes and 40 seconds.
    let soon = (jiff::Timestamp::now().as_second() + 1780).to_string();
    let hurried = stripe(
        Method::POST,
        "/v1/checkout/sessions",
        &[
            ("mode", "payment"),
            ("customer", text(&second["customer"])),
            ("line_items[0][price]", "price_pack_small"),
            ("line_items[0][quantity]", "1"),
            ("success_url", text(&second["success_url"])),
            ("metadata[fingerprint]", text(&second["metadata"]["fingerprint"])),
            ("expires_at", &soon),
        ],
    )
    .await;
    act(&format!("checkout/{}/expire", text(&second["id"])), json!({})).await;
    let third = session(&buy(&user, pack()).await).await;
    assert!(third["id"] != second["id"] && third["id"] != hurried["id"], "{third}");
}

#[tokio::test]
async fn who_is_known_to_subscribe_is_sent_to_the_portal() {
    let site = setting("SITE_ORIGINS");
    for status in ["trialing", "active", "past_due", "unpaid", "paused", "of_tomorrow"] {
        let user = User::new().await;
        let customer = stripe(Method::POST, "/v1/customers", &[("metadata[user_id]", &user.id.to_string())]).await;
        let insert =
            "insert into public.subscriptions (id, user_id, customer_id, plan_id, status, current_period_start,
                      current_period_end, created, ticket) values ($1, $2, $3, 'pro', $4, now(), now(), now(), 0)";
        let (id, customer) = (format!("sub_{}", user.id), text(&customer["id"]));
        database().await.execute(insert, &[&id, &user.id, &customer, &status]).await.unwrap();

        let error = order(&create_checkout_session(|_| {}), &user, plan()).await.unwrap_err();

        assert_eq!((error.status().as_u16(), error.code()), (409, "already_subscribed"), "{status}");
        let portal_url = text(&error.extensions()["portal_url"]);
        assert!(portal_url.starts_with(&setting("STRIPE_API_URL")), "{portal_url}");
        assert!(!portal_url.starts_with(&site), "{portal_url}");
        assert_eq!(buy(&user, pack()).await.status, 201, "packs can be bought by everybody");
    }
    for status in ["incomplete", "incomplete_expired", "canceled"] {
        let user = User::new().await;
        let insert =
            "insert into public.subscriptions (id, user_id, customer_id, plan_id, status, current_period_start,
                      current_period_end, created, ticket) values ($1, $2, 'cus_x', 'pro', $3, now(), now(), now(), 0)";
        database().await.execute(insert, &[&format!("sub_{}", user.id), &user.id, &status]).await.unwrap();
        assert_eq!(buy(&user, plan()).await.status, 201, "{status}");
    }
}

#[tokio::test]
async fn who_subscribes_at_stripe_only_is_sent_to_the_portal_too() {
    let (user, paid) = subscriber().await;
    for status in ["active", "past_due", "unpaid", "paused", "trialing"] {
        act(&format!("subscriptions/{}/status", text(&paid["subscription"])), json!({ "status": status })).await;
        let error = order(&create_checkout_session(|_| {}), &user, plan()).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (409, "already_subscribed"), "{status}");
        assert!(text(&error.extensions()["portal_url"]).starts_with("http"));
        assert_eq!(open_pages(&user).await, Vec::<String>::new());
    }
    let known = "select count(*) from public.subscriptions where user_id = $1";
    assert_eq!(database().await.query_one(known, &[&user.id]).await.unwrap().get::<_, i64>(0), 0, "we were not told");
}

#[tokio::test]
async fn who_pays_on_another_page_meanwhile_gets_no_second_one_to_pay_on() {
    // She has an open page, pays on it while the next one is made, and Stripe knows when it is asked again.
    let stripe = MockServer::start().await;
    let user = User::new().await;
    let list = |data: Value| ResponseTemplate::new(200).set_body_json(json!({ "data": data, "has_more": false }));
    let page = |id: &str, status: &str| {
        json!({ "id": id, "mode": "subscription", "status": status, "payment_status": "unpaid", "url": "https://x.example",
                "expires_at": 4102444800_i64, "created": 1795255200 })
    };
    let answer = |body: Value| ResponseTemplate::new(200).set_body_json(body);
    Mock::given(path("/v1/customers"))
        .respond_with(answer(json!({ "id": format!("cus_{}", user.id) })))
        .mount(&stripe)
        .await;
    let live = json!([{ "id": "sub_1", "customer": "cus_1", "status": "active", "created": 1795255200,
                        "items": { "data": [] } }]);
    let subscriptions = || Mock::given(path("/v1/subscriptions"));
    subscriptions().respond_with(list(json!([]))).up_to_n_times(1).mount(&stripe).await;
    subscriptions().respond_with(list(live)).mount(&stripe).await;
    let sessions = || Mock::given(method("GET")).and(path("/v1/checkout/sessions"));
    sessions().respond_with(list(json!([page("cs_0", "open")]))).up_to_n_times(1).mount(&stripe).await;
    sessions().respond_with(list(json!([page("cs_1", "open"), page("cs_0", "complete")]))).mount(&stripe).await;
    let made = Mock::given(method("POST")).and(path("/v1/checkout/sessions"));
    made.respond_with(answer(page("cs_1", "open"))).expect(1).mount(&stripe).await;
    let expiry = Mock::given(path("/v1/checkout/sessions/cs_1/expire")).respond_with(answer(json!({ "id": "cs_1" })));
    expiry.expect(1).mount(&stripe).await;
    let portal = answer(json!({ "url": "https://billing.example/p" }));
    Mock::given(path("/v1/billing_portal/sessions")).respond_with(portal).mount(&stripe).await;

    let deps = create_checkout_session(|config| config.stripe_api_url = stripe.uri().parse().unwrap());
    let error = order(&deps, &user, plan()).await.unwrap_err();

    assert_eq!(error.code(), "already_subscribed");
    assert_eq!(error.extensions()["portal_url"], "https://billing.example/p");
}

#[tokio::test]
async fn return_urls_lead_to_pages_of_ours_and_nowhere_else() {
    let user = User::new().await;
    let deps = create_checkout_session(|config| config.site = site());
    let foreign = [
        "https://evil.example/",
        "http://site.example/",
        "https://site.example:444/",
        "https://other.example/",
        "https://site.example.evil.example/",
        "https://evil.example/https://site.example/",
        "https://site.example@evil.example/",
        "https://evil.example#@site.example/",
        "https://user@site.example/",
        "https://user:word@site.example/",
        "https://:word@site.example/",
        "https://xsite.example/",
        "https://www.site.example/",
        "https://site.example./",
        "javascript:alert(1)",
        "javascript://site.example/%0aalert(1)",
        "data:text/html,x",
        "ftp://site.example/",
        "blob:https://site.example/x",
    ];
    let broken = [
        "",
        "//evil.example",
        "//site.example/",
        "/dashboard",
        "dashboard",
        "https:",
        "https://",
        "https://site.example\\@evil.example/",
        "https:\\\\site.example\\",
        "https://site.example/\\evil.example",
        " https://site.example/",
        "https://site.example/ x",
        "https://site.example/\n",
        "https://si\tte.example/",
        "https://site.example/\u{0}",
        &format!("https://site.example/{}", "a".repeat(2000)),
    ];
    let cases = foreign.iter().map(|url| (*url, "not_allowed")).chain(broken.iter().map(|url| (*url, "invalid")));
    for (url, code) in cases {
        let body = json!({ "pack_id": "small", "success_url": url, "cancel_url": url });
        let answer = Answer::from(order(&deps, &user, body).await);
        assert_eq!((answer.status, answer.code.as_str()), (422, "invalid_fields"), "{url}");
        assert_eq!(pointers(&answer), json!([["#/success_url", code], ["#/cancel_url", code]]), "{url}");
    }
    assert_eq!(customer_of(&user).await, None, "and nothing was done");

    for url in
        ["https://site.example", "https://site.example/a?b=c#d", "http://127.0.0.1:3000/x", "HTTPS://Site.Example:443/"]
    {
        let body = json!({ "pack_id": "small", "success_url": url, "cancel_url": url });
        let session = session(&order(&deps, &user, body).await.into()).await;
        let parsed: Url = url.parse().unwrap();
        assert_eq!((&session["success_url"], &session["cancel_url"]), (&json!(parsed), &json!(parsed)));
    }
}

/// Two origins, unlike those of the stack.
pub fn site() -> stripe_client::Site {
    stripe_client::Site::of(&["https://site.example".to_owned(), "http://127.0.0.1:3000".to_owned()]).unwrap()
}

/// The bad fields of an answer: where, and with which code.
pub fn pointers(answer: &Answer) -> Value {
    let errors = answer.body.as_array().unwrap().iter();
    errors.map(|error| json!([error["pointer"], error["code"]])).collect()
}

#[tokio::test]
async fn bad_fields_are_named_all_at_once() {
    let user = User::new().await;
    let not_for_sale = format!("test-{}", user.id);
    let insert = "insert into public.plans (id, name, credits) values ($1, 'Not for sale', 1)";
    database().await.execute(insert, &[&not_for_sale]).await.unwrap();
    let cases = [
        (json!({}), json!([["#/plan_id", "missing"]])),
        (json!({ "plan_id": null, "pack_id": null }), json!([["#/plan_id", "missing"]])),
        (json!({ "plan_id": "pro", "pack_id": "small" }), json!([["#/pack_id", "not_allowed"]])),
        (json!({ "plan_id": "" }), json!([["#/plan_id", "invalid"]])),
        (json!({ "pack_id": 1 }), json!([["#/pack_id", "invalid"]])),
        (json!({ "plan_id": "p".repeat(101) }), json!([["#/plan_id", "invalid"]])),
        (json!({ "plan_id": "a b" }), json!([["#/plan_id", "invalid"]])),
        (
            json!({ "plan_id": [], "pack_id": {}, "success_url": 1, "cancel_url": false }),
            json!([
                ["#/plan_id", "invalid"],
                ["#/pack_id", "invalid"],
                ["#/success_url", "invalid"],
                ["#/cancel_url", "invalid"],
                ["#/pack_id", "not_allowed"]
            ]),
        ),
        (json!({ "plan_id": "free" }), json!([["#/plan_id", "unknown"]])),
        (json!({ "plan_id": "small" }), json!([["#/plan_id", "unknown"]])),
        (json!({ "plan_id": not_for_sale }), json!([["#/plan_id", "unknown"]])),
        (json!({ "pack_id": "pro" }), json!([["#/pack_id", "unknown"]])),
        (json!({ "pack_id": "price_pack_small" }), json!([["#/pack_id", "unknown"]])),
    ];
    for (body, expected) in cases {
        let answer = buy(&user, body.clone()).await;
        assert_eq!((answer.status, answer.code.as_str()), (422, "invalid_fields"), "{body}");
        assert_eq!(pointers(&answer), expected, "{body}");
    }
    for body in ["", "[]", "null", "{", "\"pro\""] {
        let request = request("POST", "/checkout-sessions", Some(&user.token), body);
        let answer = Answer::from(handle(create_checkout_session(|_| {}), request).await);
        assert_eq!((answer.status, answer.code.as_str()), (400, "malformed_json"), "{body}");
    }
    assert_eq!(customer_of(&user).await, None);
    database().await.execute("delete from public.plans where id = $1", &[&not_for_sale]).await.unwrap();
}

#[tokio::test]
async fn a_user_who_was_deleted_is_told_to_log_in() {
    let user = User::new().await;
    database().await.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    let answer = buy(&user, plan()).await;
    assert_eq!((answer.status, answer.code.as_str()), (401, "unauthenticated"));
    assert_eq!(customers_with_email(&user.email).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_stripe_that_is_down_is_a_503_and_nothing_is_kept() {
    let user = User::new().await;
    let html = Raw::start(Reply::body("text/html", b"<html>")).await;
    let cut = Raw::start(Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec())).await;
    let failing = Raw::start(Reply::status(500)).await;
    let busy = Raw::start(Reply::status(429)).await;
    let refusing = Raw::start(Reply::status(401)).await;
    let closed: Url = "http://127.0.0.1:9".parse().unwrap();
    for origin in [&closed, &html.origin, &cut.origin, &failing.origin, &busy.origin, &refusing.origin] {
        for body in [plan(), pack()] {
            let deps = create_checkout_session(|config| config.stripe_api_url = origin.clone());
            let answer = Answer::from(order(&deps, &user, body).await);
            assert_eq!((answer.status, answer.code.as_str()), (503, "stripe_unavailable"), "{origin}");
        }
    }
    assert_eq!(customer_of(&user).await, None);
    assert_eq!(buy(&user, plan()).await.status, 201, "and once it is back, all is well");
}

#[tokio::test]
async fn a_stripe_that_answers_everything_slowly_is_given_up_within_the_apis_thirty_seconds() {
    let user = User::new().await;
    buy(&user, pack()).await;
    let stripe = MockServer::start().await;
    let list = ResponseTemplate::new(200).set_body_json(json!({ "data": [], "has_more": false }));
    Mock::given(method("GET")).respond_with(list.set_delay(Duration::from_secs(7))).mount(&stripe).await;
    let page =
        json!({ "id": "cs_1", "mode": "subscription", "payment_status": "unpaid", "expires_at": 1, "created": 1 });
    let page = ResponseTemplate::new(200).set_body_json(page).set_delay(Duration::from_secs(7));
    Mock::given(method("POST")).respond_with(page).mount(&stripe).await;
    let deps = create_checkout_session(|config| config.stripe_api_url = stripe.uri().parse().unwrap());

    let asked = Instant::now();
    let answer = Answer::from(order(&deps, &user, plan()).await);
    assert_eq!((answer.status, answer.code.as_str()), (503, "stripe_unavailable"));
    assert!(asked.elapsed() < Duration::from_secs(22), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn failures_that_pass_leave_one_customer_and_one_page() {
    for (fault, times) in [("stripe_api_500", 1), ("stripe_api_lost", 1), ("stripe_api_429", 1), ("stripe_api_500", 9)]
    {
        let user = User::new().await;
        next(fault, times, &user.id.to_string()).await;
        let mut answer = buy(&user, plan()).await;
        while answer.status == 503 {
            answer = buy(&user, plan()).await;
        }
        assert_eq!(open_pages(&user).await, [text(&answer.body["session_id"])], "{fault}");
        assert_eq!(customers_with_email(&user.email).await.len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn a_database_that_is_down_is_a_503_and_stripe_hears_of_nothing() {
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let stripe = Raw::start(Reply::status(500)).await;
    let user = user_of(&proxy.origin).await;
    let deps = create_checkout_session(|config| {
        config.auth.supabase_url = proxy.origin.clone();
        config.stripe_api_url = stripe.origin.clone();
    });
    for mode in [Mode::Refuse, Mode::ServerError, Mode::Hang] {
        proxy.set(mode);
        let answer = Answer::from(order(&deps, &user, plan()).await);
        assert_eq!((answer.status, answer.code.as_str()), (503, "database_unavailable"), "{mode:?}");
    }
    assert_eq!(stripe.hits(), 0);
}

#[tokio::test]
async fn killed_after_the_customer_was_made_the_next_request_keeps_the_same_one() {
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let user = Arc::new(user_of(&proxy.origin).await);
    let through = |config: &mut Config| config.auth.supabase_url = proxy.origin.clone();
    proxy.set(Mode::HangAt("keep_stripe_customer"));
    let (deps, buyer) = (create_checkout_session(through), Arc::clone(&user));
    let killed = tokio::spawn(async move { order(&deps, &buyer, plan()).await });
    tokio::time::timeout(Duration::from_secs(20), proxy.swallowed()).await.expect("it never came to keep the customer");
    killed.abort();
    let made = customers_with_email(&user.email).await;
    assert_eq!((made.len(), customer_of(&user).await), (1, None), "Stripe has her, we do not know");

    proxy.set(Mode::Pass);
    let session = session(&order(&create_checkout_session(through), &user, plan()).await.into()).await;
    assert_eq!(session["customer"], made[0]["id"]);
    assert_eq!(customers_with_email(&user.email).await.len(), 1);
    assert_eq!(open_pages(&user).await.len(), 1);
}

#[tokio::test]
async fn a_page_whose_answer_was_lost_is_handed_out_by_the_next_request() {
    // Once: the client asks again by itself. Twice: the next click finds what was made.
    for (times, expected) in [(1, 201), (2, 503)] {
        for body in [plan(), pack()] {
            let user = User::new().await;
            next("stripe_api_lost", times, &format!(r#""client_reference_id","{}""#, user.id)).await;
            assert_eq!(buy(&user, body.clone()).await.status, expected);
            let made = open_pages(&user).await;
            assert_eq!(made.len(), 1);
            assert_eq!(made, [text(&session(&buy(&user, body).await).await["id"])]);
        }
    }
}

#[tokio::test]
async fn who_was_deleted_at_stripe_is_made_anew() {
    let user = User::new().await;
    let gone = text(&session(&buy(&user, pack()).await).await["customer"]).to_owned();
    stripe(Method::DELETE, &format!("/v1/customers/{gone}"), &[]).await;

    let answers = join_all((0..10).map(|_| buy(&user, plan()))).await;

    let now = customer_of(&user).await.unwrap();
    assert_ne!(now, gone);
    for answer in &answers {
        assert_eq!(session(answer).await["customer"], now);
    }
    assert_eq!(customers_with_email(&user.email).await.len(), 1, "those who are deleted are not listed");
}

#[tokio::test]
async fn an_email_that_stripe_does_not_take_stands_in_nobodys_way() {
    let stripe = MockServer::start().await;
    let user = User::new().await;
    let refusal = json!({ "error": { "type": "invalid_request_error", "code": "email_invalid", "param": "email" } });
    let refusal = ResponseTemplate::new(400).set_body_json(refusal);
    Mock::given(path("/v1/customers")).and(body_string_contains("email=")).respond_with(refusal).mount(&stripe).await;
    let customer = ResponseTemplate::new(200).set_body_json(json!({ "id": format!("cus_{}", user.id) }));
    Mock::given(path("/v1/customers")).respond_with(customer).mount(&stripe).await;
    let list = ResponseTemplate::new(200).set_body_json(json!({ "data": [], "has_more": false }));
    Mock::given(method("GET")).respond_with(list).mount(&stripe).await;
    let page = json!({ "id": "cs_1", "mode": "payment", "payment_status": "unpaid", "url": "https://x.example",
                       "expires_at": 1, "created": 1 });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(page))
        .with_priority(9)
        .mount(&stripe)
        .await;

    let deps = create_checkout_session(|config| config.stripe_api_url = stripe.uri().parse().unwrap());
    let answer = Answer::from(order(&deps, &user, pack()).await);
    assert_eq!((answer.status, &answer.body["checkout_url"]), (201, &json!("https://x.example")));
    assert_eq!(customer_of(&user).await, Some(format!("cus_{}", user.id)));
}

#[tokio::test]
async fn keeping_the_same_customer_at_the_same_time_never_collides() {
    let connections = join_all((0..8).map(|_| database())).await;
    for _ in 0..50 {
        let user = User::new().await;
        let customer = format!("cus_{}", user.id);
        let call = "select public.keep_stripe_customer($1, $2, null)";
        let keep = async |db: &tokio_postgres::Client| db.query_one(call, &[&user.id, &customer]).await;
        for row in join_all(connections.iter().map(keep)).await {
            assert_eq!(row.unwrap().get::<_, Value>(0), json!({ "outcome": "kept", "customer_id": customer }));
        }
    }
}

#[tokio::test]
async fn the_first_customer_that_is_kept_counts() {
    let user = User::new().await;
    let keep = async |customer: &str, gone: Option<&str>| -> Value {
        let call = "select public.keep_stripe_customer($1, $2, $3)";
        database().await.query_one(call, &[&user.id, &customer, &gone]).await.unwrap().get(0)
    };
    let [first, second, third] = ["a", "b", "c"].map(|name| format!("cus_{name}{}", user.id));
    assert_eq!(keep(&first, None).await, json!({ "outcome": "kept", "customer_id": first }));
    assert_eq!(keep(&second, None).await["customer_id"], json!(first));
    assert_eq!(keep(&second, Some(&third)).await["customer_id"], json!(first), "another one is gone");
    assert_eq!(keep(&second, Some(&first)).await["customer_id"], json!(second));
    assert_eq!(keep(&third, Some(&first)).await["customer_id"], json!(second), "too late");
    let nobody = "select public.keep_stripe_customer($1, 'cus_x', null)";
    let outcome: Value = database().await.query_one(nobody, &[&Uuid::new_v4()]).await.unwrap().get(0);
    assert_eq!(outcome, json!({ "outcome": "no_user" }));
}
