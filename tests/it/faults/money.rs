//! Money: sold, managed, told of by Stripe, looked up.

use serde_json::{Value, json};

use super::{
    Database, Flow, Outcome, Stripe, Trial,
    house::{by, caller, event},
};
use crate::{
    checkout::{act, at_stripe, stripe},
    credits::balance,
    events,
    generation::arm,
    stack::{Answer, User, create_checkout_session, dashboard, database, request, setting},
};

pub const FLOWS: &[Flow] = &[
    ("Go to checkout", &["create-checkout-session"], &[Database, Stripe], |trial| Box::pin(sold(trial))),
    ("Open the portal", &["create-portal-session"], &[Database, Stripe], |trial| Box::pin(managed(trial))),
    ("Stripe tells of a payment", &["stripe-webhook"], &[Database], |trial| Box::pin(paid(trial))),
    ("Stripe tells of a change", &["stripe-webhook"], &[Database, Stripe], |trial| Box::pin(changed(trial))),
    ("Credit history", &["get-credit-history"], &[Database], |trial| Box::pin(looked_up(trial))),
];

async fn customer_of(user: &User) -> String {
    let select = "select customer_id from public.stripe_customers where user_id = $1";
    database().await.query_one(select, &[&user.id]).await.unwrap().get(0)
}

/// Somebody who is on a page of Stripe's, and the page.
pub async fn at_checkout(user: &User, what: Value) -> Value {
    let asked = request("POST", "/checkout-sessions", Some(&user.token), what.to_string());
    let answer = Answer::from(create_checkout_session::handle(create_checkout_session(|_| {}), asked).await);
    assert_eq!(answer.status, 201, "{answer:?}");
    at_stripe(&format!("/v1/checkout/sessions/{}", answer.body["session_id"].as_str().unwrap())).await
}

async fn sold(trial: Trial) -> Outcome {
    let user = caller().await;
    let function = trial.function("create-checkout-session", &[]).await;
    let event = by(&user, "POST", "/checkout-sessions", None, Some(json!({ "plan_id": "pro" })));
    let (answer, outcome) = trial.ask(&function, &event, &[201]).await;
    let customers = at_stripe(&format!("/v1/customers?email={}", user.email)).await;
    assert_eq!(customers["data"].as_array().unwrap().len(), 1, "{}: {customers}", trial.case);
    assert_eq!(customers["data"][0]["id"], json!(customer_of(&user).await), "{}", trial.case);
    let pages = at_stripe(&format!("/v1/checkout/sessions?customer={}", customer_of(&user).await)).await;
    assert_eq!(pages["data"].as_array().unwrap().len(), 1, "{}: {pages}", trial.case);
    assert_eq!(pages["data"][0]["id"], answer.body["session_id"], "{}", trial.case);
    trial.is_whole(&[], &[user.id]).await;
    outcome
}

async fn managed(trial: Trial) -> Outcome {
    let user = caller().await;
    let made = stripe(reqwest::Method::POST, "/v1/customers", &[("metadata[user_id]", &user.id.to_string())]).await;
    let insert = "insert into public.stripe_customers (user_id, customer_id) values ($1, $2)";
    database().await.execute(insert, &[&user.id, &made["id"].as_str()]).await.unwrap();
    let function = trial.function("create-portal-session", &[]).await;
    let event = by(&user, "POST", "/billing-portal-sessions", None, None);
    let (answer, outcome) = trial.ask(&function, &event, &[201]).await;
    assert!(answer.body["portal_url"].is_string(), "{}", trial.case);
    outcome
}

/// What Stripe sends with this body.
fn signed(body: &str) -> Value {
    let secret = setting("STRIPE_WEBHOOK_SECRET").into();
    let signature = auth::signature::sign(&secret, jiff::Timestamp::now(), body.as_bytes());
    event("POST", "/lambda-url/stripe-webhook/", None, json!({ "stripe-signature": signature }), Some(body.into()))
}

async fn paid(trial: Trial) -> Outcome {
    let user = caller().await;
    let whole = events::event("stripe-webhook/pack-paid.json", &[("user_id", user.id.to_string())]);
    let whole: Value = serde_json::from_str(&whole).unwrap();
    let function = trial.function("stripe-webhook", &[]).await;
    let (_, outcome) = trial.ask(&function, &signed(whole["body"].as_str().unwrap()), &[200]).await;
    assert_eq!(balance(user.id).await, 14, "{}", trial.case);
    trial.is_whole(&[], &[user.id]).await;
    outcome
}

async fn changed(trial: Trial) -> Outcome {
    let user = caller().await;
    let page = at_checkout(&user, json!({ "plan_id": "pro" })).await;
    arm("stripe_webhook_held", 9, page["customer"].as_str().unwrap()).await;
    let paid = act(&format!("checkout/{}/pay", page["id"].as_str().unwrap()), json!({})).await;
    let subscription = at_stripe(&format!("/v1/subscriptions/{}", paid["subscription"].as_str().unwrap())).await;
    let told = json!({ "id": format!("evt_{}", user.id), "object": "event", "type": "customer.subscription.created",
        "created": jiff::Timestamp::now().as_second(), "livemode": false, "api_version": "2026-07-29.dahlia", "pending_webhooks": 1,
        "request": null, "data": { "object": subscription } });
    let function = trial.function("stripe-webhook", &[]).await;
    let (_, outcome) = trial.ask(&function, &signed(&told.to_string()), &[200]).await;
    let seen = dashboard(&user).await;
    assert_eq!((&seen["plan"], &seen["credits"]), (&json!("pro"), &json!(4)), "{}", trial.case);
    trial.is_whole(&[], &[user.id]).await;
    outcome
}

async fn looked_up(trial: Trial) -> Outcome {
    let user = caller().await;
    let function = trial.function("get-credit-history", &[]).await;
    let (seen, outcome) = trial.ask(&function, &by(&user, "GET", "/credit-history", None, None), &[200]).await;
    assert_eq!(seen.body["entries"][0]["amount"], 4, "{}", trial.case);
    outcome
}
