//! Every file below `events/` goes through its function, as whole an envelope as AWS sends. The files hold `{{placeholders}}`
//! for what only a running system knows; by hand, `make event EVENT=events/...` fills them the same way.

use std::{collections::BTreeSet, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use image::ImageFormat;
use jiff::Timestamp;
use lambda_http::request::from_str;
use ring::hmac;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, path},
};

use crate::{
    credits::{balance, rpc},
    doubles::{Raw, Reply},
    grid::{call, published},
    jobs_api::{Desk, fail},
    stack::{
        Answer, User, callback_token, cancel_generation_job, check_invariants, clean_up, create_checkout_session,
        create_influencer, create_portal_session, create_upload, delete_account, drain, erase_account, export_account,
        fetch_image, get_credit_history, get_dashboard, get_generation_job, get_generation_options, image_pending,
        list_generation_jobs, n8n_callback, own_queue, picture, process_generation_job, replicate_webhook, requested,
        row, setting, stripe_webhook, sweep_generation_jobs,
    },
    uploads::Upload,
};

/// A file below `events/`, its placeholders filled.
pub fn event(name: &str, values: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    values.iter().fold(text, |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
}

/// Which records of a batch failed.
fn failed<'a>(ids: impl Iterator<Item = &'a String>) -> String {
    let number = |id: &String| id.chars().last().unwrap().to_string();
    let numbers: BTreeSet<String> = ids.map(number).collect();
    format!("failed: {}", numbers.into_iter().collect::<Vec<_>>().join(" "))
}

/// As Replicate signs: Standard Webhooks.
fn replicate_signature(event: &Value) -> String {
    let header = |name: &str| event["headers"][name].as_str().unwrap().to_owned();
    let body = event["body"].as_str().unwrap();
    let signed = format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp"));
    let secret = setting("REPLICATE_WEBHOOK_SECRET");
    let secret = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

/// What the database answers.
fn rows(answer: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(answer)
}

/// What a tick ended with.
fn tick(result: Result<(), impl std::fmt::Display>) -> String {
    match result {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{error:#}"),
    }
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
        "create-upload" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            Answer::from(create_upload::handle(create_upload(|_| {}), request).await).status.to_string()
        }
        "get-dashboard" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            Answer::from(get_dashboard::handle(get_dashboard(|_| {}), request).await).status.to_string()
        }
        "delete-account" | "export-account" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            let queue = own_queue().await;
            let answer = match function {
                "delete-account" => {
                    let deps = delete_account(|config| config.erasure_queue_url = queue.parse().unwrap());
                    delete_account::handle(deps, request).await
                }
                _ => export_account::handle(export_account(|_| {}), request).await,
            };
            Answer::from(answer).status.to_string()
        }
        "erase-account" => {
            let user = User::new().await;
            rpc("begin_account_deletion", json!({ "p_user_id": user.id })).await;
            let batch = serde_json::from_str(&event(name, &[("user_id", user.id.to_string())])).unwrap();
            let response = lambda_kit::run_batch(erase_account(|_| {}), batch, erase_account::handle).await;
            failed(response.batch_item_failures.iter().map(|item| &item.item_identifier))
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
        "create-generation-job" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            let desk = Desk::new().await;
            Answer::from(create_generation_job::handle(desk.create, request).await).status.to_string()
        }
        "get-generation-job" | "cancel-generation-job" | "retry-generation-job" => {
            let (user, desk) = (User::new().await, Desk::new().await);
            let job = desk.job(&user).await;
            if function == "retry-generation-job" {
                fail(job).await;
            }
            let values = [("access_token", user.token), ("job_id", job.to_string())];
            let request = from_str(&event(name, &values)).unwrap();
            let answer = match function {
                "get-generation-job" => get_generation_job::handle(get_generation_job(|_| {}), request).await,
                "cancel-generation-job" => cancel_generation_job::handle(cancel_generation_job(|_| {}), request).await,
                _ => retry_generation_job::handle(desk.retry, request).await,
            };
            Answer::from(answer).status.to_string()
        }
        "list-images" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            Answer::from(list_images::handle(crate::stack::list_images(|_| {}), request).await).status.to_string()
        }
        "publish-image" | "like-image" | "report-image" | "hide-image" => {
            let user = User::new().await;
            let values = [("image_id", published(&user).await.to_string()), ("access_token", user.token)];
            call(function, from_str(&event(name, &values)).unwrap()).await.status.to_string()
        }
        "list-generation-jobs" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            Answer::from(list_generation_jobs::handle(list_generation_jobs(|_| {}), request).await).status.to_string()
        }
        "get-generation-options" => {
            let request = from_str(&event(name, &[("access_token", User::new().await.token)])).unwrap();
            Answer::from(get_generation_options::handle(get_generation_options(|_| {}), request).await)
                .status
                .to_string()
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
        "register-upload" => {
            let upload = Upload::with("image/png", &picture(ImageFormat::Png)).await;
            let batch = serde_json::from_str(&event(name, &[("object_key", upload.key.clone())])).unwrap();
            let response = lambda_kit::run_batch(upload.bucket.deps(), batch, register_upload::handle).await;
            failed(response.batch_item_failures.iter().map(|item| &item.item_identifier))
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
            failed(response.batch_item_failures.iter().map(|item| &item.item_identifier))
        }
        "process-generation-job" => {
            let job = Desk::new().await.job(&User::new().await).await;
            let batch = serde_json::from_str(&event(name, &[("job_id", job.to_string())])).unwrap();
            let deps = process_generation_job(|_| {});
            let response = lambda_kit::run_batch(deps, batch, process_generation_job::handle).await;
            failed(response.batch_item_failures.iter().map(|item| &item.item_identifier))
        }
        "replicate-webhook" => {
            let queue = own_queue().await;
            let deps = replicate_webhook(|config| config.generation_queue_url = queue.parse().unwrap());
            let time = Timestamp::now().as_second().to_string();
            let mut values = vec![("job_id", Uuid::new_v4().to_string()), ("webhook_timestamp", time)];
            let signature = replicate_signature(&serde_json::from_str(&event(name, &values)).unwrap());
            values.push(("webhook_signature", signature));
            let request = from_str(&event(name, &values)).unwrap();
            let answer = Answer::from(replicate_webhook::handle(deps, request).await);
            format!("{}, {} queued", answer.status, drain(&queue).await.len())
        }
        // The real queue: what is due may be another test's.
        "sweep-generation-jobs" => {
            let payload = serde_json::from_str(&event(name, &[])).unwrap();
            tick(sweep_generation_jobs::handle(sweep_generation_jobs(|_| {}), payload).await)
        }
        // The real database: what is broken there may be another test's.
        "check-invariants" => {
            let payload = serde_json::from_str(&event(name, &[])).unwrap();
            tick(check_invariants::handle(check_invariants(|_| {}), payload).await)
        }
        "clean-up" => match serde_json::from_str(&event(name, &[])) {
            Ok(task) => {
                // Not the real database: it would take away what other tests look at.
                let database = MockServer::start().await;
                Mock::given(path("/rest/v1/rpc/orphaned_object_keys"))
                    .respond_with(rows(json!([])))
                    .mount(&database)
                    .await;
                Mock::given(any()).respond_with(rows(json!(0))).mount(&database).await;
                let deps = clean_up(|config| config.supabase_url = database.uri().parse().unwrap());
                tick(clean_up::handle(deps, task).await)
            }
            Err(_) => "no such task".to_owned(),
        },
        other => panic!("no function {other} is known here"),
    }
}

#[tokio::test]
async fn every_event_file_has_the_outcome_that_its_name_says() {
    let expected = json!({
        "cancel-generation-job/cancelled.json": "200",
        "cancel-generation-job/no-such-job.json": "404",
        "cancel-generation-job/not-logged-in.json": "401",
        "check-invariants/tick.json": "done",
        "clean-up/job-events.json": "done",
        "clean-up/unknown-task.json": "no such task",
        "clean-up/uploads.json": "done",
        "create-checkout-session/bad-fields.json": "422",
        "create-checkout-session/not-logged-in.json": "401",
        "create-checkout-session/pack.json": "201",
        "create-checkout-session/plan.json": "201",
        "create-generation-job/accepted.json": "202",
        "create-generation-job/bad-fields.json": "422",
        "create-generation-job/describes-a-minor.json": "422",
        "create-generation-job/not-logged-in.json": "401",
        "create-influencer/accepted.json": "202",
        "create-influencer/bad-fields.json": "422",
        "create-influencer/not-logged-in.json": "401",
        "create-portal-session/bad-return-url.json": "422",
        "create-portal-session/never-bought.json": "409",
        "create-portal-session/not-logged-in.json": "401",
        "create-upload/announced.json": "201",
        "create-upload/bad-fields.json": "422",
        "create-upload/not-logged-in.json": "401",
        "delete-account/leaving.json": "202",
        "delete-account/not-logged-in.json": "401",
        "erase-account/garbage-beside-a-good-one.json": "failed: 0 2",
        "erase-account/never-asked.json": "failed: ",
        "erase-account/one.json": "failed: ",
        "export-account/not-logged-in.json": "401",
        "export-account/seen.json": "200",
        "fetch-image/garbage-beside-a-good-one.json": "failed: 0 2",
        "fetch-image/one.json": "failed: ",
        "get-credit-history/not-logged-in.json": "401",
        "get-credit-history/seen.json": "200",
        "get-dashboard/not-logged-in.json": "401",
        "get-dashboard/seen.json": "200",
        "get-generation-job/no-such-job.json": "404",
        "get-generation-job/not-logged-in.json": "401",
        "get-generation-job/seen.json": "200",
        "get-generation-options/not-logged-in.json": "401",
        "get-generation-options/seen.json": "200",
        "hide-image/no-reason.json": "422",
        "hide-image/not-an-admin.json": "403",
        "hide-image/not-logged-in.json": "401",
        "like-image/liked.json": "200",
        "like-image/no-such-image.json": "404",
        "like-image/not-logged-in.json": "401",
        "like-image/taken-back.json": "200",
        "list-generation-jobs/bad-cursor.json": "422",
        "list-generation-jobs/not-logged-in.json": "401",
        "list-generation-jobs/seen.json": "200",
        "list-images/bad-cursor.json": "422",
        "list-images/not-logged-in.json": "200",
        "list-images/seen.json": "200",
        "n8n-callback/base64-garbage.json": "400",
        "n8n-callback/failed.json": "202",
        "n8n-callback/forged-token.json": "401",
        "n8n-callback/made.json": "202",
        "process-generation-job/garbage-beside-a-good-one.json": "failed: 0 2",
        "process-generation-job/no-such-job.json": "failed: ",
        "process-generation-job/one.json": "failed: ",
        "publish-image/no-such-image.json": "404",
        "publish-image/not-logged-in.json": "401",
        "publish-image/published.json": "200",
        "publish-image/taken-out.json": "200",
        "replicate-webhook/done.json": "200, 1 queued",
        "replicate-webhook/forged-signature.json": "401, 0 queued",
        "replicate-webhook/no-prediction.json": "400, 0 queued",
        "report-image/bad-reason.json": "422",
        "report-image/not-logged-in.json": "401",
        "report-image/reported.json": "201",
        "retry-generation-job/asked-again.json": "202",
        "retry-generation-job/no-such-job.json": "404",
        "retry-generation-job/not-logged-in.json": "401",
        "register-upload/garbage-beside-a-good-one.json": "failed: 0 2 3",
        "register-upload/nobody-announced-it.json": "failed: ",
        "register-upload/one.json": "failed: ",
        "register-upload/test-event.json": "failed: ",
        "stripe-webhook/forged-signature.json": "401, 4 credits",
        "stripe-webhook/pack-paid.json": "200, 14 credits",
        "stripe-webhook/unknown-type.json": "200, 4 credits",
        "sweep-generation-jobs/tick.json": "done",
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
