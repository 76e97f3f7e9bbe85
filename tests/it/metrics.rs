//! What is counted: what took effect, where it did, and once.

use std::{collections::BTreeMap, future::Future};

use image::ImageFormat;
use jiff::Timestamp;
use lambda_http::request::from_str;
use lambda_kit::metrics::metered;
use serde_json::{Value, json};

use crate::{
    callback::{made, with_token},
    doubles::{Raw, Reply},
    events::event,
    generation::{Bench, job_of},
    jobs_api::{Desk, about, wish},
    stack::{
        User, callback_token, cancel_generation_job, create, create_influencer, fetch_image, fetch_message,
        image_pending, n8n_callback, own_queue, picture, replicate_webhook, requested, setting, stripe_webhook,
        sweep_generation_jobs,
    },
};

/// Counts, by name and value of the dimension; the latter is empty where there is none.
pub type Counted = BTreeMap<(String, String), u64>;

/// Runs a call; answers what it counted, too. How long things took is left out.
pub async fn counted<F: Future>(call: F) -> (F::Output, Counted) {
    let (output, lines) = metered(call).await;
    let mut counted = Counted::new();
    for line in lines {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        let of = directive["Dimensions"][0][0].as_str().map_or("", |name| line[name].as_str().unwrap());
        for metric in directive["Metrics"].as_array().unwrap().iter().filter(|metric| metric["Unit"] == "Count") {
            let name = metric["Name"].as_str().unwrap();
            counted.insert((name.to_owned(), of.to_owned()), line[name].as_u64().unwrap());
        }
    }
    (output, counted)
}

/// Each of these once, and nothing else.
fn once(names: &[(&str, &str)]) -> Counted {
    names.iter().map(|(name, of)| (((*name).to_owned(), (*of).to_owned()), 1)).collect()
}

#[tokio::test]
async fn a_character_is_counted_when_she_is_requested_completed_and_failed_each_time_once() {
    let user = User::new().await;
    let up = Raw::start(Reply::status(200)).await;
    let deps = create_influencer(|config| config.n8n_webhook_url = up.origin.clone());
    let (answer, first) = counted(create(&deps, &user)).await;
    assert_eq!((answer.status, first), (202, once(&[("InfluencersRequested", "")])));
    let (answer, again) = counted(create(&deps, &user)).await;
    assert_eq!((answer.status, again), (409, once(&[])));

    let down = Raw::start(Reply::status(401)).await;
    let deps = create_influencer(|config| config.n8n_webhook_url = down.origin.clone());
    let (_, failed) = counted(create(&deps, &User::new().await)).await;
    let expected =
        [("InfluencersFailed", "workflow_unavailable"), ("InfluencersRequested", ""), ("UpstreamRefusals", "n8n")];
    assert_eq!(failed, once(&expected));

    let (user, id) = image_pending().await;
    let images = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    let deps = fetch_image(|config| config.local_image_origin = Some(images.origin.clone()));
    let message = || fetch_message(&user, id, images.origin.as_str());
    let (done, first) = counted(fetch_image::handle(deps.clone(), message())).await;
    assert_eq!((done.is_ok(), first), (true, once(&[("InfluencersCompleted", "")])));
    let (done, again) = counted(fetch_image::handle(deps.clone(), message())).await;
    assert_eq!((done.is_ok(), again), (true, once(&[])));

    let (user, id) = image_pending().await;
    let inside = || fetch_message(&user, id, "https://169.254.169.254/");
    let (_, failed) = counted(fetch_image::handle(deps.clone(), inside())).await;
    assert_eq!(failed, once(&[("InfluencersFailed", "image_host_not_allowed"), ("UrlsRefused", "")]));
    assert_eq!(counted(fetch_image::handle(deps, inside())).await.1, once(&[]));
}

#[tokio::test]
async fn every_webhook_is_counted_by_its_outcome() {
    let (_, id) = requested().await;
    let queue = own_queue().await;
    let deps = n8n_callback(|config| config.image_queue_url = queue.parse().unwrap());
    let call = |token: String| counted(n8n_callback::handle(deps.clone(), with_token(&made(id), &token)));
    for (token, outcome) in [
        (callback_token(id, 1), "recorded"),
        (callback_token(id, 1), "duplicate"),
        (callback_token(id, 2), "superseded"),
        ("garbage".to_owned(), "unauthenticated"),
    ] {
        assert_eq!(call(token).await.1, once(&[("N8nCallbacks", outcome)]));
    }
    let (_, id) = requested().await;
    let failure = json!({ "influencer_id": id, "error": "No." });
    let failed = with_token(&failure, &callback_token(id, 1));
    let expected = once(&[("InfluencersFailed", "workflow_failed"), ("N8nCallbacks", "failed")]);
    assert_eq!(counted(n8n_callback::handle(deps.clone(), failed)).await.1, expected);

    let user = User::new().await;
    let paid = |file: &str| {
        let values = [("user_id", user.id.to_string())];
        let body: Value = serde_json::from_str(&event(file, &values)).unwrap();
        let secret = setting("STRIPE_WEBHOOK_SECRET").into();
        let signature = auth::signature::sign(&secret, Timestamp::now(), body["body"].as_str().unwrap().as_bytes());
        let text = event(file, &[values[0].clone(), ("stripe_signature", signature)]);
        counted(stripe_webhook::handle(stripe_webhook(|_| {}), from_str(&text).unwrap()))
    };
    for (file, outcome) in [
        ("stripe-webhook/pack-paid.json", "granted"),
        ("stripe-webhook/pack-paid.json", "duplicate"),
        ("stripe-webhook/unknown-type.json", "not_kept"),
        ("stripe-webhook/forged-signature.json", "unauthenticated"),
    ] {
        assert_eq!(paid(file).await.1, once(&[("StripeEvents", outcome)]), "{file}");
    }

    let forged = from_str(&event("replicate-webhook/forged-signature.json", &[])).unwrap();
    let deps = replicate_webhook(|config| config.generation_queue_url = queue.parse().unwrap());
    let (_, forged) = counted(replicate_webhook::handle(deps, forged)).await;
    assert_eq!(forged, once(&[("ReplicateWebhooks", "unauthenticated")]));
}

#[tokio::test]
async fn a_job_is_counted_when_it_is_queued_and_when_it_ends_each_time_once() {
    let (user, desk) = (User::new().await, Desk::new().await);
    let (answer, first) = counted(desk.ask(&user, wish(), Some("a-key"))).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(first, once(&[("GenerationJobsQueued", "")]));
    assert_eq!(counted(desk.ask(&user, wish(), Some("a-key"))).await.1, once(&[]), "it is the same job");

    let job = answer.body["job_id"].as_str().unwrap().to_owned();
    let cancel = || cancel_generation_job::handle(cancel_generation_job(|_| {}), about("DELETE", &user, &job));
    assert_eq!(counted(cancel()).await.1, once(&[("GenerationJobsCancelled", "")]));
    assert_eq!(counted(cancel()).await.1, once(&[]), "it was cancelled before");

    let (bench, job) = (Bench::new().await, job_of(&user, json!({})).await);
    let (row, counts) = counted(bench.finish(job)).await;
    assert_eq!((&row["status"], counts), (&json!("completed"), once(&[("GenerationJobsCompleted", "")])));
    assert_eq!(counted(bench.work(job)).await.1, once(&[]));

    // Whoever makes pictures knows us no more.
    let replicate = Raw::start(Reply::status(402)).await;
    let bench = Bench::with(|config| config.replicate_api_url = replicate.origin.clone()).await;
    let job = job_of(&user, json!({})).await;
    let expected = [("GenerationJobsFailed", "unavailable"), ("UpstreamRefusals", "replicate")];
    assert_eq!(counted(bench.work(job)).await.1, once(&expected));
}

#[tokio::test]
async fn a_job_that_the_sweeper_gives_up_is_counted() {
    let database = wiremock::MockServer::start().await;
    for (name, answer) in
        [("sweep_generation_jobs", json!({ "due": [], "failed": 3 })), ("sweep_account_deletions", json!([]))]
    {
        let answer = wiremock::ResponseTemplate::new(200).set_body_json(answer);
        let rpc = wiremock::matchers::path(format!("/rest/v1/rpc/{name}"));
        wiremock::Mock::given(rpc).respond_with(answer).mount(&database).await;
    }
    let deps = sweep_generation_jobs(|config| config.supabase_url = database.uri().parse().unwrap());
    let (done, counts) = counted(sweep_generation_jobs::handle(deps, Default::default())).await;
    done.unwrap();
    assert_eq!(counts, [(("GenerationJobsFailed".to_owned(), "timed_out".to_owned()), 3)].into());
}

#[tokio::test]
async fn what_an_upstream_takes_and_how_it_fails_is_counted_by_its_name() {
    let broken = Raw::start(Reply::status(500)).await;
    let http = http_client::client(std::time::Duration::from_secs(5)).unwrap();
    let asked = http_client::send(http_client::Upstream::Fal, http.get(broken.origin.clone()));
    let (answer, lines) = metered(asked).await;
    assert_eq!(answer.unwrap().status(), 500);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["Upstream"], &line["UpstreamFailures"]), (&json!("fal"), &json!(1)));
    assert!(line["UpstreamLatency"].as_u64().is_some_and(|ms| ms < 5000), "{line}");

    let nobody = http_client::send(http_client::Upstream::N8n, http.get("http://127.0.0.1:9/"));
    assert_eq!(counted(nobody).await.1, once(&[("UpstreamFailures", "n8n")]));
}
