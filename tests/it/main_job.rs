//! The main job, end to end: through auth's front door, function processes on the Lambda runtime API, the sandbox's n8n and
//! Replicate, SQS and S3, to an image in the browser's reach.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    checkout::{act, at_stripe},
    stack::{setting, wish},
};

fn http() -> Client {
    http_client::client(Duration::from_secs(30)).unwrap()
}

/// Signs up, follows the link in the mail and logs in; answers the access token.
async fn sign_up(http: &Client) -> String {
    let email = format!("{}@example.com", Uuid::new_v4());
    let auth = |path: &str| {
        let request = http.post(format!("{}/auth/v1/{path}", setting("SUPABASE_URL")));
        request.header("apikey", setting("SUPABASE_PUBLISHABLE_KEY"))
    };
    let credentials = json!({ "email": email, "password": "correct horse battery 9" });
    let signed_up = auth("signup").json(&credentials).send().await.unwrap();
    assert_eq!(signed_up.status(), StatusCode::OK, "{}", signed_up.text().await.unwrap());
    let refused = auth("token?grant_type=password").json(&credentials).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "logged in before the address was confirmed");

    let link = until("the confirmation mail", async || {
        let inbox = format!("{}/inbox.json?to={email}", setting("SANDBOX_URL"));
        let mails: Value = http.get(inbox).send().await.unwrap().json().await.unwrap();
        mails["mails"][0]["links"][0].as_str().map(ToOwned::to_owned)
    })
    .await;
    assert_eq!(http.get(link).send().await.unwrap().status(), StatusCode::SEE_OTHER);

    let session: Value =
        auth("token?grant_type=password").json(&credentials).send().await.unwrap().json().await.unwrap();
    session["access_token"].as_str().unwrap().to_owned()
}

/// Asks until there is an answer, for a minute at most.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.unwrap_or_else(|_| panic!("{what} never came"))
}

#[tokio::test]
async fn a_signed_in_user_creates_her_character_and_sees_the_image() {
    let http = http();
    let token = sign_up(&http).await;
    let api = setting("FUNCTIONS_URL");

    let dashboard = async || -> Value {
        http.get(format!("{api}/dashboard")).bearer_auth(&token).send().await.unwrap().json().await.unwrap()
    };
    let empty = dashboard().await;
    assert_eq!((&empty["plan"], &empty["credits"], &empty["influencer"]), (&json!("free"), &json!(4), &Value::Null));

    let created = http.post(format!("{api}/influencers")).bearer_auth(&token).body(wish()).send().await.unwrap();
    assert_eq!(created.status(), StatusCode::ACCEPTED);
    let created: Value = created.json().await.unwrap();

    let her = until("her image", async || {
        let her = dashboard().await["influencer"].clone();
        assert_ne!(her["state"], "failed", "{her}");
        (her["state"] == "ready").then_some(her)
    })
    .await;
    assert_eq!((&her["id"], &her["name"]), (&created["influencer"]["id"], &json!("Clara")));
    let image = http.get(her["image_url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(image.headers()["content-type"], "image/webp");
    let image = image::load_from_memory(&image.bytes().await.unwrap()).unwrap();
    assert_eq!(image.width() * 3, image.height() * 2, "2:3");

    let again = http.post(format!("{api}/influencers")).bearer_auth(&token).body(wish()).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let problem: Value = again.json().await.unwrap();
    assert_eq!(problem["code"], "influencer_exists");
    assert!(!problem["request_id"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_user_pays_for_pro_renews_buys_a_pack_gets_money_back_and_cancels() {
    let http = http();
    let token = sign_up(&http).await;
    let api = setting("FUNCTIONS_URL");
    let dashboard = async || -> Value {
        http.get(format!("{api}/dashboard")).bearer_auth(&token).send().await.unwrap().json().await.unwrap()
    };
    let shows = async |plan: &str, credits: i64| {
        until(&format!("{plan} with {credits} credits"), async || {
            let seen = dashboard().await;
            (seen["plan"] == plan && seen["credits"] == credits).then_some(seen)
        })
        .await
    };
    let post = async |path: &str, body: Value| -> Value {
        let answer = http.post(format!("{api}{path}")).bearer_auth(&token).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{path}");
        answer.json().await.unwrap()
    };
    shows("free", 4).await;

    let session = post("/checkout-sessions", json!({ "plan_id": "pro" })).await;
    let paid = act(&format!("checkout/{}/pay", session["session_id"].as_str().unwrap()), json!({})).await;
    let subscribed = shows("pro", 20).await;
    assert_eq!(subscribed["subscription"]["status"], "active");
    assert!(subscribed["subscription"]["renews_at"].is_string(), "{subscribed}");
    let again = http.post(format!("{api}/checkout-sessions")).bearer_auth(&token).json(&json!({ "plan_id": "pro" }));
    let again = again.send().await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let again: Value = again.json().await.unwrap();
    assert!(again["code"] == "already_subscribed" && again["portal_url"].is_string(), "{again}");

    let subscription = format!("subscriptions/{}", paid["subscription"].as_str().unwrap());
    act(&format!("{subscription}/renew"), json!({})).await;
    shows("pro", 40).await;
    act(&format!("{subscription}/renew"), json!({ "fails": true })).await;
    until("the failed payment", async || dashboard().await["subscription"]["payment_failed"].as_bool().filter(|b| *b))
        .await;
    shows("pro", 40).await;

    let session = post("/checkout-sessions", json!({ "pack_id": "small" })).await;
    let paid = act(&format!("checkout/{}/pay", session["session_id"].as_str().unwrap()), json!({})).await;
    shows("pro", 50).await;
    let intent = at_stripe(&format!("/v1/payment_intents/{}", paid["payment_intent"].as_str().unwrap())).await;
    act(&format!("charges/{}/refund", intent["latest_charge"].as_str().unwrap()), json!({ "amount": 450 })).await;
    shows("pro", 45).await;

    assert!(post("/billing-portal-sessions", json!({})).await["portal_url"].is_string());
    act(&format!("{subscription}/cancel"), json!({ "now": true })).await;
    shows("free", 45).await;

    let history = http.get(format!("{api}/credit-history")).bearer_auth(&token).send().await.unwrap();
    let history: Value = history.json().await.unwrap();
    let entries = history["entries"].as_array().unwrap();
    let amounts: Vec<i64> = entries.iter().map(|entry| entry["amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [-5, 10, 20, -4, 20, 4]);
    assert_eq!((&entries[0]["balance_after"], &history["next"]), (&json!(45), &Value::Null));
}

#[tokio::test]
async fn an_error_is_a_problem_document_with_the_request_id() {
    let answer = http().get(format!("{}/dashboard", setting("FUNCTIONS_URL"))).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let problem: Value = answer.json().await.unwrap();
    let expected = json!({
        "type": "about:blank", "title": "Unauthorized", "status": 401, "code": "unauthenticated",
        "detail": "Please log in: the request carries no access token.", "request_id": problem["request_id"],
    });
    assert_eq!(problem, expected);
}

#[tokio::test]
async fn a_query_that_is_no_uri_is_served_like_any_other() {
    let event = include_str!("../../events/get-dashboard/not-logged-in.json");
    let event = event.replace(r#""rawQueryString": """#, r#""rawQueryString": "a=b c&d=<\"é#>""#);
    assert!(event.contains("b c"));
    let invoke = format!("{}/2015-03-31/functions/get-dashboard/invocations", setting("FUNCTIONS_URL"));
    let answer: Value = http().post(invoke).body(event).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["statusCode"], 401, "{answer}");
}

#[tokio::test]
async fn no_log_line_of_a_function_holds_a_secret_or_personal_data() {
    // Logs of everything that ran so far, this test's own main job included.
    let http = http();
    let token = sign_up(&http).await;
    let answer =
        http.post(format!("{}/influencers", setting("FUNCTIONS_URL"))).bearer_auth(&token).body(wish()).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED);
    let private = http.post(format!("{}/influencers", setting("FUNCTIONS_URL"))).bearer_auth(&token);
    let answer = private.body("\"my private life\"").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let log = std::fs::read_to_string(setting("STACK_LOG")).unwrap();
    let functions = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions")).unwrap();
    let functions: Vec<String> = functions.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let of_a_function = |line: &&str| functions.iter().any(|name| line.starts_with(name));
    let logs: String = log.lines().filter(of_a_function).collect();
    assert!(logs.contains("influencer requested"), "the log is there");
    let token_start = token.split('.').nth(1).unwrap();
    for secret in [
        token_start,
        "@example.com",
        "architect from Lisbon",
        "private life",
        &setting("SUPABASE_SECRET_KEY"),
        &setting("SUPABASE_JWT_SECRET"),
        &setting("N8N_WEBHOOK_SECRET"),
        &setting("CALLBACK_TOKEN_SECRET"),
        &setting("CALLBACK_HMAC_SECRET"),
        &setting("STRIPE_SECRET_KEY"),
        &setting("STRIPE_WEBHOOK_SECRET"),
        "X-Amz-Signature",
    ] {
        assert!(!logs.contains(secret), "a log line holds {secret}");
    }
}
