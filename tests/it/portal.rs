//! create-portal-session: everybody reaches her own billing account, and nobody another's.

use std::sync::Arc;

use create_portal_session::{Deps, handle};
use serde_json::{Value, json};
use url::Url;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    checkout::{pointers, site, stripe},
    doubles::{Mode, Proxy, Raw, Reply},
    stack::{Answer, User, claims, create_portal_session, database, request, setting, user_token},
};

async fn open(deps: &Arc<Deps>, user: &User, body: &str) -> Answer {
    handle(deps.clone(), request("POST", "/billing-portal-sessions", Some(&user.token), body)).await.into()
}

async fn keep_customer(user: &User, customer: &str) {
    let insert = "insert into public.stripe_customers (user_id, customer_id) values ($1, $2)";
    database().await.execute(insert, &[&user.id, &customer]).await.unwrap();
}

/// A user who is a customer at Stripe.
async fn customer() -> (User, String) {
    let user = User::new().await;
    let made = stripe(reqwest::Method::POST, "/v1/customers", &[("metadata[user_id]", &user.id.to_string())]).await;
    let id = made["id"].as_str().unwrap().to_owned();
    keep_customer(&user, &id).await;
    (user, id)
}

/// A Stripe that opens every portal, so that a test sees for whom.
async fn open_door() -> (MockServer, Arc<Deps>) {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({ "url": "https://billing.example/p" }));
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let deps = create_portal_session(|config| {
        config.stripe_api_url = server.uri().parse().unwrap();
        config.site = site();
    });
    (server, deps)
}

/// What the portal was asked for: the customer and where she comes back to.
async fn asked(server: &MockServer) -> Vec<(String, String)> {
    let form = |request: &wiremock::Request| {
        let form: std::collections::BTreeMap<String, String> =
            url::form_urlencoded::parse(&request.body).into_owned().collect();
        (form["customer"].clone(), form["return_url"].clone())
    };
    server.received_requests().await.unwrap().iter().map(form).collect()
}

#[tokio::test]
async fn a_customer_gets_a_link_to_her_portal() {
    let (user, _) = customer().await;
    let answer = open(&create_portal_session(|_| {}), &user, "").await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let url = answer.body["portal_url"].as_str().unwrap();
    let http = http_client::client(std::time::Duration::from_secs(5)).unwrap();
    let page = http.get(url).send().await.unwrap();
    assert_eq!(page.status(), 200, "{url}");
    let site = setting("SITE_ORIGINS");
    assert!(page.text().await.unwrap().contains(&format!("{site}/dashboard")), "the page leads back to ours");
}

#[tokio::test]
async fn who_never_bought_anything_has_nothing_to_manage() {
    let (server, deps) = open_door().await;
    let answer = open(&deps, &User::new().await, "").await;
    assert_eq!((answer.status, answer.code.as_str()), (409, "no_billing_account"));
    assert_eq!(asked(&server).await, []);
}

#[tokio::test]
async fn whoever_asks_and_whatever_she_says_the_customer_is_her_own() {
    let (server, deps) = open_door().await;
    let (owner, other, nobody) = (User::new().await, User::new().await, User::new().await);
    keep_customer(&owner, &format!("cus_{}", owner.id)).await;
    keep_customer(&other, &format!("cus_{}", other.id)).await;
    let others: Value = json!({
        "customer": format!("cus_{}", owner.id), "customer_id": format!("cus_{}", owner.id), "user_id": owner.id,
    });

    assert_eq!(open(&deps, &owner, "").await.status, 201);
    assert_eq!(open(&deps, &other, &others.to_string()).await.status, 201);
    assert_eq!(open(&deps, &nobody, &others.to_string()).await.code, "no_billing_account");

    let home = "https://site.example/dashboard".to_owned();
    assert_eq!(
        asked(&server).await,
        [(format!("cus_{}", owner.id), home.clone()), (format!("cus_{}", other.id), home)]
    );
}

#[tokio::test]
async fn the_customer_is_read_once_and_as_the_caller() {
    let postgrest = MockServer::start().await;
    let rows = ResponseTemplate::new(200).set_body_json(json!([{ "customer_id": "cus_1" }]));
    Mock::given(any()).respond_with(rows).mount(&postgrest).await;
    let (_server, _) = open_door().await;
    let user = user_of(&postgrest.uri().parse().unwrap()).await;
    let deps = create_portal_session(|config| {
        config.auth.supabase_url = postgrest.uri().parse().unwrap();
        config.stripe_api_url = _server.uri().parse().unwrap();
    });

    assert_eq!(open(&deps, &user, "").await.status, 201);

    let calls = postgrest.received_requests().await.unwrap();
    assert_eq!(calls.len(), 1);
    let header = |name: &str| calls[0].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("apikey"), setting("SUPABASE_PUBLISHABLE_KEY"));
    assert_eq!(header("authorization"), format!("Bearer {}", user.token));
    assert_eq!(calls[0].url.query(), Some(&*format!("select=customer_id&user_id=eq.{}", user.id)));
}

async fn user_of(origin: &Url) -> User {
    let user = User::new().await;
    let mut claims = claims(user.id, &user.email);
    claims["iss"] = json!(format!("{origin}auth/v1"));
    User { token: user_token(&claims), ..user }
}

#[tokio::test]
async fn she_comes_back_to_a_page_of_ours() {
    let (server, deps) = open_door().await;
    let user = User::new().await;
    keep_customer(&user, &format!("cus_{}", user.id)).await;
    let good = [
        ("", "https://site.example/dashboard"),
        ("{}", "https://site.example/dashboard"),
        (r#"{"return_url":null}"#, "https://site.example/dashboard"),
        (r#"{"return_url":"https://site.example/credits?x=1"}"#, "https://site.example/credits?x=1"),
        (r#"{"return_url":"http://127.0.0.1:3000/d"}"#, "http://127.0.0.1:3000/d"),
    ];
    for (body, _) in good {
        assert_eq!(open(&deps, &user, body).await.status, 201, "{body}");
    }
    let returns: Vec<_> = asked(&server).await.into_iter().map(|(_, url)| url).collect();
    assert_eq!(returns, good.map(|(_, url)| url));

    for (url, code) in [
        (json!("https://evil.example/"), "not_allowed"),
        (json!("https://site.example.evil.example/"), "not_allowed"),
        (json!("https://site.example@evil.example/"), "not_allowed"),
        (json!("javascript:alert(1)"), "not_allowed"),
        (json!("//evil.example"), "invalid"),
        (json!("https://site.example\\@evil.example"), "invalid"),
        (json!("/dashboard"), "invalid"),
        (json!(["https://site.example/"]), "invalid"),
    ] {
        let answer = open(&deps, &user, &json!({ "return_url": url }).to_string()).await;
        assert_eq!((answer.status, answer.code.as_str()), (422, "invalid_fields"), "{url}");
        assert_eq!(pointers(&answer), json!([["#/return_url", code]]), "{url}");
    }
    for body in ["[]", "null", "{", "x"] {
        let answer = open(&deps, &user, body).await;
        assert_eq!((answer.status, answer.code.as_str()), (400, "malformed_json"), "{body}");
    }
    assert_eq!(asked(&server).await.len(), good.len());
}

#[tokio::test]
async fn who_was_deleted_at_stripe_has_nothing_to_manage() {
    let (user, id) = customer().await;
    stripe(reqwest::Method::DELETE, &format!("/v1/customers/{id}"), &[]).await;
    let answer = open(&create_portal_session(|_| {}), &user, "").await;
    assert_eq!((answer.status, answer.code.as_str()), (409, "no_billing_account"));
}

#[tokio::test]
async fn a_stripe_or_a_database_that_is_down_says_so() {
    let (user, _) = customer().await;
    let html = Raw::start(Reply::body("text/html", b"<html>")).await;
    let silent = Raw::start(Reply::Silence(Vec::new())).await;
    let failing = Raw::start(Reply::status(500)).await;
    for origin in [&"http://127.0.0.1:9".parse().unwrap(), &html.origin, &silent.origin, &failing.origin] {
        let deps = create_portal_session(|config| config.stripe_api_url = origin.clone());
        let answer = open(&deps, &user, "").await;
        assert_eq!((answer.status, answer.code.as_str()), (503, "stripe_unavailable"), "{origin}");
    }

    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let user = user_of(&proxy.origin).await;
    let deps = create_portal_session(|config| config.auth.supabase_url = proxy.origin.clone());
    for (mode, code) in [
        (Mode::Refuse, "database_unavailable"),
        (Mode::ServerError, "database_unavailable"),
        (Mode::Hang, "database_unavailable"),
        (Mode::Pass, "no_billing_account"),
    ] {
        proxy.set(mode);
        assert_eq!(open(&deps, &user, "").await.code, code, "{mode:?}");
    }
}
