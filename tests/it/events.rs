//! Every file below `events/` goes through its function, as whole an envelope as AWS sends. The files hold `{{placeholders}}`
//! for what only a running system knows; by hand, `make event EVENT=events/...` fills them the same way.

use std::{collections::BTreeSet, path::Path};

use image::ImageFormat;
use lambda_http::request::from_str;
use serde_json::json;
use uuid::Uuid;

use crate::{
    credits::balance,
    doubles::{Raw, Reply},
    stack::{
        Answer, User, callback_token, create_checkout_session, create_influencer, create_portal_session, fetch_image,
        get_credit_history, get_dashboard, image_pending, n8n_callback, own_queue, picture, requested, row, setting,
        stripe_webhook,
    },
};

/// A file below `events/`, its placeholders filled.
fn event(name: &str, values: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    values.iter().fold(text, |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
}

/// The file's outcome with its function: an HTTP status, or which records of a batch failed.
async fn outcome(name: &str) -> String {
    let (function, _) = name.split_once('/').unwrap();
    match function {
        "create-influencer" => {
            let n8n = Raw::start(Reply::status(200)).await;
            let deps = create_influencer(|config| config.n8n_webhook_url = n8n.origin.clone());
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            Answer::from(create_influencer::handle(deps, request).await).status.to_string()
        }
        "get-dashboard" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            Answer::from(get_dashboard::handle(get_dashboard(|_| {}), request).await).status.to_string()
        }
        "create-checkout-session" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            let deps = create_checkout_session(|_| {});
            Answer::from(create_checkout_session::handle(deps, request).await).status.to_string()
        }
        "create-portal-session" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            let deps = create_portal_session(|_| {});
            Answer::from(create_portal_session::handle(deps, request).await).status.to_string()
        }
        "get-credit-history" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            Answer::from(get_credit_history::handle(get_credit_history(|_| {}), request).await).status.to_string()
        }
        "stripe-webhook" => {
            let user = User::new().await;
            let values = [("user_id", user.id.to_string())];
            let body: serde_json::Value = serde_json::from_str(&event(name, &values)).unwrap();
            let secret = setting("STRIPE_WEBHOOK_SECRET").into();
            let signature =
                auth::signature::sign(&secret, jiff::Timestamp::now(), body["body"].as_str().unwrap().as_bytes());
            let values = [values[0].clone(), ("stripe_signature", signature)];
            let request = from_str(&event(name, &values)).unwrap();
            let answer = Answer::from(stripe_webhook::handle(stripe_webhook(|_| {}), request).await);
            format!("{}, {} credits", answer.status, balance(user.id).await)
        }
        "n8n-callback" => {
            let (_, id) = requested().await;
            let queue = own_queue().await;
            let deps = n8n_callback(|config| config.image_queue_url = queue.parse().unwrap());
            let values = [("influencer_id", id.to_string()), ("callback_token", callback_token(id, 1))];
            let request = from_str(&event(name, &values)).unwrap();
            Answer::from(n8n_callback::handle(deps, request).await).status.to_string()
        }
        "fetch-image" => {
            let (user, id): (User, Uuid) = image_pending().await;
            let images = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
            let deps = fetch_image(|config| config.local_image_origin = Some(images.origin.clone()));
            let values = [
                ("influencer_id", id.to_string()),
                ("user_id", user.id.to_string()),
                ("image_url", images.origin.to_string()),
            ];
            let batch = serde_json::from_str(&event(name, &values)).unwrap();
            let response = lambda_kit::run_batch(deps, batch, fetch_image::handle).await;
            assert_eq!(row(&user).await["state"], "ready", "{name}");
            let failed: BTreeSet<_> =
                response.batch_item_failures.iter().map(|item| item.item_identifier.clone()).collect();
            let number = |id: &String| id.chars().last().unwrap().to_string();
            format!("failed: {}", failed.iter().map(number).collect::<Vec<_>>().join(" "))
        }
        other => panic!("no function {other} is known here"),
    }
}

#[tokio::test]
async fn every_event_file_has_the_outcome_that_its_name_says() {
    let expected = json!({
        "create-checkout-session/bad-fields.json": "422",
        "create-checkout-session/not-logged-in.json": "401",
        "create-checkout-session/pack.json": "201",
        "create-checkout-session/plan.json": "201",
        "create-influencer/accepted.json": "202",
        "create-influencer/bad-fields.json": "422",
        "create-influencer/not-logged-in.json": "401",
        "create-portal-session/bad-return-url.json": "422",
        "create-portal-session/never-bought.json": "409",
        "create-portal-session/not-logged-in.json": "401",
        "fetch-image/garbage-beside-a-good-one.json": "failed: 0 2",
        "fetch-image/one.json": "failed: ",
        "get-credit-history/not-logged-in.json": "401",
        "get-credit-history/seen.json": "200",
        "get-dashboard/not-logged-in.json": "401",
        "get-dashboard/seen.json": "200",
        "n8n-callback/base64-garbage.json": "400",
        "n8n-callback/failed.json": "202",
        "n8n-callback/forged-token.json": "401",
        "n8n-callback/made.json": "202",
        "stripe-webhook/forged-signature.json": "401, 4 credits",
        "stripe-webhook/pack-paid.json": "200, 14 credits",
        "stripe-webhook/unknown-type.json": "200, 4 credits",
    });
    let mut outcomes = serde_json::Map::new();
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    for function in std::fs::read_dir(events).unwrap() {
        let function = function.unwrap();
        for file in std::fs::read_dir(function.path()).unwrap() {
            let name = format!("{}/{}", function.file_name().display(), file.unwrap().file_name().display());
            outcomes.insert(name.clone(), json!(outcome(&name).await));
        }
    }
    assert_eq!(json!(outcomes), expected);
}
