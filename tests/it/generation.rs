//! Generation jobs from end to end, and the worker: what it asks for, what it takes, what it refuses (invariant I4), and that
//! credits come back once where there is no picture (I7). `generation_faults.rs` kills it.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use domain::id::JobId;
use futures_util::future::join_all;
use image::ImageFormat;
use jiff::Timestamp;
use job_queue::GenerateImage;
use lambda_http::{Body, Request, http};
use lambda_kit::Message;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path, path_regex},
};

use crate::{
    credits::{balance, rpc},
    doubles::{Mode, Proxy, Raw, Reply},
    listener::{listen, told},
    stack::{
        Answer, User, database, drain, image_pending, object, own_queue, picture, process_generation_job,
        replicate_webhook, setting, sweep_generation_jobs,
    },
    worker::{Worker, queued},
};

/// Asks until there is an answer, for a minute at most.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
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

fn wish() -> Value {
    json!({ "prompt": "A woman in a red coat", "model_preset": "fashion_model_v1", "pose_preset": "standing",
        "scene_preset": "street", "generation_type": "standard" })
}

/// A job of the user's that waits in no queue; `change` are other fields of the wish.
pub async fn job_of(user: &User, change: Value) -> Uuid {
    let mut wish = wish();
    wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let arguments =
        json!({ "p_user_id": user.id, "p_request_key": Uuid::new_v4().to_string(), "p_wish": wish.to_string() });
    let answer = rpc("create_generation_job", arguments).await;
    assert_eq!(answer["outcome"], "created", "{answer}");
    answer["job"]["id"].as_str().unwrap().parse().unwrap()
}

/// A new user, who has three credits left, and her job.
async fn asked(change: Value) -> (User, Uuid) {
    let user = User::new().await;
    let job = job_of(&user, change).await;
    (user, job)
}

/// The whole row of a job.
pub async fn row(job: Uuid) -> Value {
    let select = "select to_jsonb(j) from public.generation_jobs j where id = $1";
    database().await.query_one(select, &[&job]).await.unwrap().get(0)
}

/// Lets ten minutes pass for a job: leases end, and what was asked for then would be listed by now.
pub async fn later(job: Uuid) {
    let shift = "update public.generation_jobs set lease_until = lease_until - interval '10 minutes',
                   look_at = look_at - interval '10 minutes', submitting_since = submitting_since - interval '10 minutes'
                 where id = $1";
    database().await.execute(shift, &[&job]).await.unwrap();
}

/// Lets its deadline have passed so many minutes ago.
async fn overdue(job: Uuid, minutes: i32) {
    let shift = "update public.generation_jobs set deadline_at = now() - make_interval(mins => $2) where id = $1";
    database().await.execute(shift, &[&job, &minutes]).await.unwrap();
}

async fn sandbox(method: Method, path: &str, body: Value) -> Value {
    let http = http_client::client(Duration::from_secs(30)).unwrap();
    let request = http.request(method, format!("{}{path}", setting("SANDBOX_URL"))).json(&body);
    request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

/// What is to go wrong with what mentions `only`.
pub async fn arm(fault: &str, times: u32, only: impl ToString) {
    sandbox(Method::PUT, "/sandbox/next", json!({ "fault": fault, "times": times, "only": only.to_string() })).await;
}

/// Every prediction that was paid for, for one job or for all; those of fal look like Replicate's.
pub async fn predictions(job: Option<Uuid>) -> Vec<Value> {
    let query = job.map(|job| format!("?job={job}")).unwrap_or_default();
    let mut replicates = sandbox(Method::GET, &format!("/sandbox/replicate.json{query}"), json!({})).await;
    let fals = sandbox(Method::GET, &format!("/sandbox/fal.json{query}"), json!({})).await;
    let mut all = std::mem::take(replicates["predictions"].as_array_mut().unwrap());
    for mut request in fals["requests"].as_array().unwrap().iter().cloned() {
        request["status"] = match (request["status"].as_str().unwrap(), request["status_code"].as_u64()) {
            ("COMPLETED", Some(200)) => json!("succeeded"),
            ("COMPLETED", _) => json!("failed"),
            _ => json!("processing"),
        };
        all.push(request);
    }
    all
}

/// How each prediction of a job ended, or not.
async fn fates(job: Uuid) -> Vec<String> {
    predictions(Some(job)).await.iter().map(|made| made["status"].as_str().unwrap().to_owned()).collect()
}

/// Waits until no prediction of a job is under way.
pub async fn settled(job: Uuid) {
    until("the end of its prediction", async || {
        let under_way = |fate: &String| matches!(fate.as_str(), "starting" | "processing");
        (!fates(job).await.iter().any(under_way)).then_some(())
    })
    .await;
}

/// A message as the queue hands it over for the `receive_count`th time.
pub fn message(job: Uuid, receive_count: u32) -> Message<GenerateImage> {
    Message { body: GenerateImage { job_id: JobId(job) }, receive_count }
}

/// The worker, with a queue that nobody else works on, and no webhooks.
pub struct Bench {
    pub deps: Arc<process_generation_job::Deps>,
    pub queue: String,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut process_generation_job::Config)) -> Self {
        let queue = own_queue().await;
        let deps = process_generation_job(|config| {
            config.generation_queue_url = queue.parse().unwrap();
            config.replicate_webhook_url = "http://127.0.0.1:9/".parse().unwrap();
            change(config);
        });
        Self { deps, queue }
    }

    /// Replicate is this one.
    async fn on(replicate: &MockServer, change: impl FnOnce(&mut process_generation_job::Config)) -> Self {
        let url = replicate.uri().parse().unwrap();
        Self::with(|config| {
            config.replicate_api_url = url;
            change(config);
        })
        .await
    }

    pub async fn receive(&self, job: Uuid, receive_count: u32) -> Result<(), String> {
        let handled = process_generation_job::handle(self.deps.clone(), message(job, receive_count)).await;
        handled.map_err(|error| format!("{error:#}"))
    }

    pub async fn work(&self, job: Uuid) {
        self.receive(job, 1).await.unwrap();
    }

    /// Works on a job, and again whenever its prediction is over, until the job has ended.
    pub async fn finish(&self, job: Uuid) -> Value {
        for _ in 0..10 {
            self.work(job).await;
            let row = row(job).await;
            if !row["finished_at"].is_null() {
                return row;
            }
            settled(job).await;
        }
        panic!("it never ended: {}", row(job).await);
    }

    /// The jobs of the messages in the queue, taken out.
    async fn queued(&self) -> Vec<Uuid> {
        let messages = drain(&self.queue).await;
        messages.iter().map(|message| message["job_id"].as_str().unwrap().parse().unwrap()).collect()
    }
}

/// The three objects of a picture that is done, and its row among the assets.
pub async fn is_delivered(user: Uuid, job: Uuid) {
    let select = "select object_key, verified_at is not null from public.assets where job_id = $1 and kind = 'output'";
    let assets = database().await.query(select, &[&job]).await.unwrap();
    assert_eq!(assets.len(), 1, "assets of {job}");
    let key: String = assets[0].get(0);
    let folder = format!("outputs/{user}/{job}/");
    assert!(assets[0].get::<_, bool>(1) && key.starts_with(&format!("{folder}original.")), "{key}");
    for key in [key, format!("{folder}screen.webp"), format!("{folder}thumb.webp")] {
        assert!(object(&key).await.is_some(), "{key} is missing");
    }
}

/// It failed for this reason, is said so, and its credit is back, whoever comes to it again.
async fn failed(bench: &Bench, user: &User, job: Uuid, code: &str, case: &str) {
    let seen = row(job).await;
    assert_eq!((&seen["status"], &seen["failure_code"]), (&json!("failed"), &json!(code)), "{case}: {seen}");
    assert!(seen["failure_message"].as_str().unwrap().contains("Your credits are back"), "{case}");
    bench.work(job).await;
    assert_eq!(balance(user.id).await, 4, "{case}");
    assert_eq!(row(job).await, seen, "{case}: what has ended stays");
}

#[tokio::test]
async fn a_picture_is_asked_for_watched_and_received() {
    let http = http_client::client(Duration::from_secs(30)).unwrap();
    let api = setting("FUNCTIONS_URL");
    let user = User::new().await;
    let asked =
        http.post(format!("{api}/generation-jobs")).bearer_auth(&user.token).json(&wish()).send().await.unwrap();
    assert_eq!(asked.status(), 202);
    let asked: Value = asked.json().await.unwrap();
    assert_eq!((&asked["cost_credits"], &asked["remaining_credits"]), (&json!(1), &json!(3)));
    let id = asked["job_id"].as_str().unwrap();

    let job = until("the picture", async || {
        let seen = http.get(format!("{api}/generation-jobs/{id}")).bearer_auth(&user.token).send().await.unwrap();
        let job: Value = seen.json().await.unwrap();
        assert_ne!(job["status"], "failed", "{job}");
        (job["status"] == "completed").then_some(job)
    })
    .await;
    for (name, width, height) in [("screen_url", 2, 3), ("thumb_url", 320, 480)] {
        let picture = http.get(job["output"][name].as_str().unwrap()).send().await.unwrap();
        assert_eq!(picture.headers()["content-type"], "image/webp");
        let picture = image::load_from_memory(&picture.bytes().await.unwrap()).unwrap();
        assert_eq!(picture.width() * height, picture.height() * width, "{name}");
    }
    assert_eq!(balance(user.id).await, 3);
}

// --- One worker at a time ---

#[tokio::test]
async fn of_twenty_workers_at_once_one_holds_the_job() {
    let (bench, (user, job)) = (Bench::new().await, asked(json!({})).await);
    for result in join_all((0..20).map(|_| bench.receive(job, 1))).await {
        result.unwrap();
    }
    settled(job).await;
    for result in join_all((0..20).map(|_| bench.receive(job, 1))).await {
        result.unwrap();
    }
    let done = bench.finish(job).await;
    assert_eq!((&done["status"], &done["predictions"]), (&json!("completed"), &json!(1)));
    assert_eq!(fates(job).await, ["succeeded"]);
    is_delivered(user.id, job).await;
    assert_eq!(balance(user.id).await, 3);
}

#[tokio::test]
async fn a_webhook_that_comes_before_its_prediction_is_noted_is_not_lost() {
    let (_, job) = asked(json!({})).await;
    let other = Bench::new().await;
    let others = other.deps.clone();
    // What the webhook's message does: it finds somebody at work.
    let webhook = listen(move |_| {
        let others = others.clone();
        async move {
            process_generation_job::handle(others, message(job, 1)).await.unwrap();
            told(200, "{}")
        }
    })
    .await;
    let bench = Bench::with(|config| config.replicate_webhook_url = webhook).await;
    arm("replicate_webhook_early", 1, job).await;

    bench.work(job).await;
    assert_eq!(row(job).await["status"], "processing");
    assert_eq!(bench.queued().await, [job], "it looks again at once");
    bench.work(job).await;
    assert_eq!(row(job).await["status"], "completed");
    assert!(other.queued().await.is_empty() && bench.queued().await.is_empty());
}

// --- Answers that get lost ---

#[tokio::test]
async fn a_database_that_is_down_leaves_the_job_for_later() {
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let bench = Bench::with(|config| config.supabase_url = proxy.origin.clone()).await;
    let (_, job) = asked(json!({})).await;
    for mode in [Mode::Refuse, Mode::ServerError] {
        proxy.set(mode);
        assert!(bench.receive(job, 4).await.is_err(), "{mode:?}");
        assert_eq!(row(job).await["status"], "queued", "{mode:?}");
    }
    proxy.set(Mode::Pass);
    assert_eq!(bench.finish(job).await["status"], "completed");
}

#[tokio::test]
async fn a_prediction_whose_answer_got_lost_is_found_and_not_paid_for_again() {
    for (model, fault) in [("fashion_model_v1", "replicate_api_lost"), ("fashion_model_fal", "fal_api_lost")] {
        let (bench, (user, job)) = (Bench::new().await, asked(json!({ "model_preset": model })).await);
        arm(fault, 1, job).await;
        assert!(bench.receive(job, 1).await.is_err(), "{fault}");
        assert!(!row(job).await["submitting_since"].is_null(), "{fault}");
        settled(job).await;
        later(job).await;
        assert_eq!(bench.finish(job).await["status"], "completed", "{fault}");
        assert_eq!(fates(job).await, ["succeeded"], "{fault}");
        assert_eq!(balance(user.id).await, 3, "{fault}");
    }
}

#[tokio::test]
async fn nothing_is_asked_for_while_it_cannot_be_known_whether_the_last_request_arrived() {
    let (bench, (_, job)) = (Bench::new().await, asked(json!({ "model_preset": "fashion_model_fal" })).await);
    arm("fal_api_429", 1, job).await;
    assert!(bench.receive(job, 1).await.is_err());
    later(job).await;
    // The first try was not taken. The second one arrives, and is under way when a message comes twice.
    arm("fal_api_lost", 1, job).await;
    arm("fal_slow", 1, job).await;
    for _ in 0..4 {
        let _ = bench.receive(job, 1).await;
        assert!(predictions(Some(job)).await.len() < 2);
    }
    settled(job).await;
    later(job).await;
    assert_eq!(bench.finish(job).await["status"], "completed");
    assert_eq!(predictions(Some(job)).await.len(), 1);
}

#[tokio::test]
async fn a_provider_that_is_down_is_asked_again_and_the_last_time_the_credits_come_back() {
    for (model, fault) in [
        ("fashion_model_v1", "replicate_api_500"),
        ("fashion_model_v1", "replicate_api_429"),
        // It may have taken the request all the same, and lists what has ended only: asking again might pay twice.
        ("fashion_model_fal", "fal_api_500"),
        ("fashion_model_fal", "fal_api_429"),
    ] {
        let (bench, (user, job)) = (Bench::new().await, asked(json!({ "model_preset": model })).await);
        arm(fault, 1, job).await;
        assert!(bench.receive(job, 1).await.is_err(), "{fault}");
        let waiting = row(job).await;
        assert_eq!((&waiting["status"], &waiting["lease_token"]), (&json!("processing"), &Value::Null), "{fault}");
        later(job).await;
        if fault == "fal_api_500" {
            bench.work(job).await;
            failed(&bench, &user, job, "unavailable", fault).await;
            assert!(fates(job).await.is_empty());
        } else {
            assert_eq!(bench.finish(job).await["status"], "completed", "{fault}");
            assert_eq!(fates(job).await, ["succeeded"], "{fault}");
        }

        let (user, job) = asked(json!({ "model_preset": model })).await;
        arm(fault, 1, job).await;
        assert!(bench.receive(job, 4).await.is_err(), "{fault}: it belongs to the dead letters");
        failed(&bench, &user, job, "unavailable", fault).await;
    }
}

#[tokio::test]
async fn a_bucket_that_fails_is_tried_again_without_another_prediction() {
    let (bench, (user, job)) = (Bench::new().await, asked(json!({})).await);
    let no_bucket = Bench::with(|config| config.media_bucket = "no-such-bucket".to_owned()).await;
    bench.work(job).await;
    settled(job).await;
    assert!(no_bucket.receive(job, 1).await.is_err());
    assert_eq!(row(job).await["status"], "processing");
    assert_eq!(bench.finish(job).await["status"], "completed");
    assert_eq!(fates(job).await, ["succeeded"]);
    is_delivered(user.id, job).await;

    let (user, job) = asked(json!({})).await;
    bench.work(job).await;
    settled(job).await;
    assert!(no_bucket.receive(job, 4).await.is_err());
    failed(&bench, &user, job, "unavailable", "no bucket").await;
}

// --- Predictions that come to nothing ---

#[tokio::test]
async fn a_prediction_that_fails_is_made_again_where_that_may_help_and_refunded_where_not() {
    let cases = [
        ("fashion_model_v1", "replicate_fails", 1, Err("refused"), 1),
        ("fashion_model_v1", "replicate_breaks", 1, Ok(()), 2),
        ("fashion_model_v1", "replicate_breaks", 2, Ok(()), 3),
        ("fashion_model_v1", "replicate_breaks", 3, Err("model_failed"), 3),
        ("fashion_model_v1", "replicate_aborted", 1, Ok(()), 2),
        ("fashion_model_fal", "fal_refuses", 1, Err("refused"), 1),
        ("fashion_model_fal", "fal_breaks", 1, Ok(()), 2),
    ];
    join_all(cases.map(async |(model, fault, times, end, made)| {
        let case = format!("{fault} {times} times");
        let (bench, (user, job)) = (Bench::new().await, asked(json!({ "model_preset": model })).await);
        arm(fault, times, job).await;
        let done = bench.finish(job).await;
        match end {
            Ok(()) => {
                assert_eq!((&done["status"], balance(user.id).await), (&json!("completed"), 3), "{case}: {done}");
                is_delivered(user.id, job).await;
            }
            Err(code) => failed(&bench, &user, job, code, &case).await,
        }
        assert_eq!(predictions(Some(job)).await.len(), made, "{case}");
        assert_eq!(bench.queued().await.len(), made - 1, "{case}: it goes on at once");
    }))
    .await;
}

#[tokio::test]
async fn a_prediction_that_stalls_is_stopped_at_the_deadline_and_its_credits_come_back() {
    let (bench, (user, job)) = (Bench::new().await, asked(json!({})).await);
    arm("replicate_stalls", 1, job).await;
    bench.work(job).await;
    bench.work(job).await;
    let running = row(job).await;
    assert_eq!((&running["status"], &running["progress"]), (&json!("processing"), &json!(50)));
    overdue(job, 1).await;
    bench.work(job).await;
    failed(&bench, &user, job, "timed_out", "stalled").await;
    assert_eq!(fates(job).await, ["canceled"]);
}

#[tokio::test]
async fn a_prediction_that_cannot_be_stopped_gives_the_credits_back_all_the_same() {
    let replicate = replicate_that_says(json!({ "status": "processing" })).await;
    let refused = ResponseTemplate::new(422).set_body_json(json!({ "title": "Cannot be canceled", "status": 422 }));
    Mock::given(path("/v1/predictions/p1/cancel")).respond_with(refused).with_priority(1).mount(&replicate).await;
    let (bench, (user, job)) = (Bench::on(&replicate, |_| {}).await, asked(json!({})).await);
    bench.work(job).await;
    overdue(job, 1).await;
    bench.work(job).await;
    failed(&bench, &user, job, "timed_out", "it goes on").await;
}

#[tokio::test]
async fn a_prediction_that_somebody_stopped_gives_the_credits_back() {
    let (bench, (user, job)) = (Bench::new().await, asked(json!({})).await);
    arm("replicate_stalls", 1, job).await;
    bench.work(job).await;
    let http = http_client::client(Duration::from_secs(5)).unwrap();
    let id = row(job).await["prediction_id"].as_str().unwrap().to_owned();
    let cancel = format!("{}/v1/predictions/{id}/cancel", setting("SANDBOX_URL"));
    let cancel = http.post(cancel).bearer_auth(setting("REPLICATE_API_TOKEN")).send().await.unwrap();
    assert_eq!(cancel.status(), 200);
    bench.work(job).await;
    failed(&bench, &user, job, "timed_out", "stopped").await;
}

#[tokio::test]
async fn what_cannot_begin_any_more_is_not_begun() {
    let bench = Bench::with(|config| config.fal_key = None).await;
    let (user, job) = asked(json!({})).await;
    overdue(job, 1).await;
    bench.work(job).await;
    failed(&bench, &user, job, "timed_out", "too late").await;
    assert!(fates(job).await.is_empty());

    let (user, job) = asked(json!({ "model_preset": "fashion_model_fal" })).await;
    bench.work(job).await;
    failed(&bench, &user, job, "unavailable", "fal is not set up").await;
    assert!(fates(job).await.is_empty());

    let user = User::new().await;
    let insert = "insert into public.assets (user_id, content_type, bytes, width, height, verified_at)
                  values ($1, 'image/png', 5, 64, 96, now()) returning id";
    let dress: Uuid = database().await.query_one(insert, &[&user.id]).await.unwrap().get(0);
    let job = job_of(&user, json!({ "input_asset_id": dress })).await;
    let delete = "delete from public.assets where id = $1";
    let refused = database().await.execute(delete, &[&dress]).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().message(), "a picture is being made from this upload");
    rpc("cancel_generation_job", json!({ "p_user_id": user.id, "p_job_id": job })).await;
    assert_eq!(database().await.execute(delete, &[&dress]).await.unwrap(), 1, "nobody needs it any more");

    bench.work(Uuid::new_v4()).await;
}

// --- What the model made ---

#[tokio::test]
async fn an_output_that_is_no_picture_gives_the_credits_back() {
    let cases = ["image_gone", "image_not_an_image", "image_truncated", "image_huge"];
    join_all(cases.map(async |fault| {
        let (bench, (user, job)) = (Bench::new().await, asked(json!({})).await);
        arm(fault, 1, job).await;
        bench.finish(job).await;
        failed(&bench, &user, job, "output_invalid", fault).await;
    }))
    .await;

    let (bench, (user, job)) = (Bench::new().await, asked(json!({})).await);
    arm("image_server_error", 1, job).await;
    bench.work(job).await;
    settled(job).await;
    assert!(bench.receive(job, 1).await.is_err(), "it may be there later");
    assert_eq!(bench.finish(job).await["status"], "completed");
    assert_eq!((fates(job).await.len(), balance(user.id).await), (1, 3));
}

#[tokio::test]
async fn a_picture_of_fifty_megapixels_is_brought_in_bounded_memory() {
    let (bench, (user, job)) = (Bench::new().await, asked(json!({})).await);
    arm("image_large", 2, job).await;
    bench.work(job).await;
    settled(job).await;
    // It takes the sandbox seconds to make it, and the worker waits for no server that long.
    let link = predictions(Some(job)).await[0]["output"][0].as_str().unwrap().to_owned();
    let http = http_client::client(Duration::from_secs(60)).unwrap();
    http.get(link).send().await.unwrap().error_for_status().unwrap();
    let worker = Worker::run("process-generation-job", &queued(&json!({ "job_id": job })), &[]).await;
    assert_eq!(worker.answer().await, json!({ "batchItemFailures": [] }));
    let (done, peak) = (row(job).await, worker.peak_memory());
    assert_eq!(done["status"], "completed", "{done}");
    is_delivered(user.id, job).await;
    let select = "select width, height from public.assets where job_id = $1";
    let asset = database().await.query_one(select, &[&job]).await.unwrap();
    assert_eq!((asset.get(0), asset.get(1)), (5792, 8688));
    eprintln!("process-generation-job had {} MB at most", peak / 1024);
    assert!(peak < 256 * 1024, "{peak} KiB");
}

/// Replicate, whose every prediction stands like this.
async fn replicate_that_says(standing: Value) -> MockServer {
    let server = MockServer::start().await;
    let made = ResponseTemplate::new(201).set_body_json(json!({ "id": "p1", "status": "starting" }));
    Mock::given(method("POST")).respond_with(made).mount(&server).await;
    let mut prediction = json!({ "id": "p1", "status": "succeeded", "output": null, "error": null, "logs": "" });
    prediction.as_object_mut().unwrap().extend(standing.as_object().unwrap().clone());
    let seen = ResponseTemplate::new(200).set_body_json(prediction);
    Mock::given(method("GET")).and(path("/v1/predictions/p1")).respond_with(seen).mount(&server).await;
    server
}

#[tokio::test]
async fn outputs_that_lead_inside_are_never_asked() {
    let inside = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    let port = inside.origin.port().unwrap();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("https://localhost:{port}/"),
        "https://localhost/".to_owned(),
        "https://127.0.0.1/".to_owned(),
        "https://2130706433/".to_owned(),
        "https://0x7f.1/".to_owned(),
        "https://[::1]/".to_owned(),
        "https://[::ffff:7f00:1]/".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://[fd00:ec2::254]/".to_owned(),
        format!("https://replicate.delivery@127.0.0.1:{port}/"),
        format!("https://user:secret@replicate.delivery:{port}/"),
        format!("https://127.0.0.1:{port}#.replicate.delivery"),
        "https://replicate.delivery.evil.example/".to_owned(),
        "https://evilreplicate.delivery/".to_owned(),
    ] {
        let replicate = replicate_that_says(json!({ "output": [url] })).await;
        // Allowed by name, refused by what the name resolves to.
        let bench = Bench::on(&replicate, |config| {
            config.local_image_origin = None;
            config.image_hosts = ["replicate.delivery", "localhost", "127.0.0.1"].map(str::to_owned).into();
        })
        .await;
        let (user, job) = asked(json!({})).await;
        bench.work(job).await;
        bench.work(job).await;
        failed(&bench, &user, job, "output_invalid", &url).await;
    }
    assert_eq!(inside.hits(), 0);
}

#[tokio::test]
async fn whatever_a_prediction_says_the_job_ends_or_is_asked_about_again() {
    let cases = [
        (json!({ "output": null }), "model_failed"),
        (json!({ "output": "a woman in a red coat" }), "model_failed"),
        (json!({ "output": "file:///etc/passwd" }), "model_failed"),
        (json!({ "output": ["https://replicate.delivery/a"], "data_removed": true }), "output_invalid"),
        (json!({ "status": "failed", "error": "The input was invalid (E006)" }), "model_failed"),
        (json!({ "status": "failed", "error": "Content Moderated" }), "refused"),
        (json!({ "status": "canceled" }), "timed_out"),
    ];
    for (standing, code) in cases {
        let replicate = replicate_that_says(standing.clone()).await;
        let bench = Bench::on(&replicate, |_| {}).await;
        let (user, job) = asked(json!({})).await;
        for _ in 0..6 {
            bench.work(job).await;
        }
        failed(&bench, &user, job, code, &standing.to_string()).await;
    }
    for standing in [json!({ "status": "dreaming" }), json!({ "status": 7 })] {
        let replicate = replicate_that_says(standing).await;
        let bench = Bench::on(&replicate, |_| {}).await;
        let (user, job) = asked(json!({})).await;
        bench.work(job).await;
        assert!(bench.receive(job, 3).await.is_err());
        assert_eq!(row(job).await["status"], "processing");
        assert!(bench.receive(job, 4).await.is_err());
        failed(&bench, &user, job, "unavailable", "unreadable").await;
    }

    let unknown = MockServer::start().await;
    let made = ResponseTemplate::new(201).set_body_json(json!({ "id": "p1", "status": "starting" }));
    Mock::given(method("POST")).respond_with(made).mount(&unknown).await;
    let (bench, (user, job)) = (Bench::on(&unknown, |_| {}).await, asked(json!({})).await);
    bench.work(job).await;
    bench.work(job).await;
    failed(&bench, &user, job, "output_invalid", "forgotten").await;

    let wrong_key = MockServer::start().await;
    let refused = ResponseTemplate::new(401).set_body_json(json!({ "title": "Unauthenticated", "status": 401 }));
    Mock::given(path_regex(".*")).respond_with(refused).mount(&wrong_key).await;
    let (bench, (user, job)) = (Bench::on(&wrong_key, |_| {}).await, asked(json!({})).await);
    bench.work(job).await;
    failed(&bench, &user, job, "unavailable", "wrong key").await;
}

#[tokio::test]
async fn a_user_who_is_gone_is_not_worked_for() {
    let (bench, (user, job)) = (Bench::new().await, asked(json!({})).await);
    bench.work(job).await;
    settled(job).await;
    database().await.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    bench.work(job).await;
    assert!(object(&format!("outputs/{}/{job}/original.webp", user.id)).await.is_none());
    assert_eq!(orphaned(&format!("outputs/{}/{job}/", user.id)).await, 1, "what a worker may have stored is removed");
}

async fn orphaned(key: &str) -> i64 {
    let select = "select count(*) from public.orphaned_objects where object_key = $1";
    database().await.query_one(select, &[&key]).await.unwrap().get(0)
}

// --- The order ---

#[tokio::test]
async fn a_characters_words_and_seed_are_part_of_every_picture_of_her() {
    let (user, her) = image_pending().await;
    let ready = "update public.influencers set state = 'ready', is_locked = true, created_at = now(), base_prompt = ' A calm architect ',
                   seed = 4242, initial_image_url = 'u' where id = $1";
    database().await.execute(ready, &[&her]).await.unwrap();
    for model in ["fashion_model_v1", "fashion_model_fal"] {
        let bench = Bench::new().await;
        let job = job_of(&user, json!({ "influencer_id": her, "model_preset": model })).await;
        assert_eq!(bench.finish(job).await["seed"], 4242, "{model}");
        let input = predictions(Some(job)).await[0]["input"].clone();
        let words = "A calm architect, A woman in a red coat, editorial fashion photograph of an adult, standing, relaxed, \
                     on a street in a city, afternoon light";
        assert_eq!((&input["prompt"], &input["seed"]), (&json!(words), &json!(4242)), "{model}");
    }

    let (bench, (_, job)) = (Bench::new().await, asked(json!({})).await);
    let done = bench.finish(job).await;
    let input = predictions(Some(job)).await[0]["input"].clone();
    assert!(input["prompt"].as_str().unwrap().starts_with("A woman in a red coat, "), "{input}");
    assert_eq!(input["seed"], done["seed"], "without a character it has a seed of its own");
    assert!(done["seed"].as_i64().is_some_and(|seed| (0..1 << 31).contains(&seed)), "{done}");
}

#[tokio::test]
async fn the_model_gets_the_clean_copy_of_an_upload() {
    let bench = Bench::new().await;
    for (model, name) in [("fashion_model_v1", "image_prompt"), ("fashion_model_fal", "image_url")] {
        let user = User::new().await;
        let insert = "insert into public.assets (user_id, content_type, bytes, width, height, verified_at)
                      values ($1, 'image/png', 5, 64, 96, now()) returning id";
        let dress: Uuid = database().await.query_one(insert, &[&user.id]).await.unwrap().get(0);
        let clean = picture(ImageFormat::WebP);
        let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
        let key = format!("assets/{}/{dress}/image.webp", user.id);
        s3.put_object().bucket(setting("MEDIA_BUCKET")).key(key).body(clean.clone().into()).send().await.unwrap();

        let job = job_of(&user, json!({ "input_asset_id": dress, "model_preset": model })).await;
        assert_eq!(bench.finish(job).await["status"], "completed", "{model}");
        let input = predictions(Some(job)).await[0]["input"].clone();
        let link = input[name].as_str().unwrap_or_else(|| panic!("{model}: {input}"));
        let http = http_client::client(Duration::from_secs(5)).unwrap();
        assert_eq!(http.get(link).send().await.unwrap().bytes().await.unwrap(), clean, "{model}");
    }
}

// --- Replicate's webhook ---

/// A webhook for a job, signed with `secret` at `second`.
fn webhook(job: &str, body: &Value, secret: &str, second: i64) -> Request {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let signed = format!("msg_1.{second}.{body}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    let request = http::Request::post(format!("https://x.lambda-url.us-east-1.on.aws/{job}"))
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", second)
        .header("webhook-signature", format!("v1,{}", BASE64_STANDARD.encode(tag)));
    request.body(Body::Text(body.to_string())).unwrap()
}

#[tokio::test]
async fn a_genuine_webhook_sends_its_job_on_and_no_other_does() {
    let queue = own_queue().await;
    let deps = replicate_webhook(|config| config.generation_queue_url = queue.parse().unwrap());
    let send = async |request| Answer::from(replicate_webhook::handle(deps.clone(), request).await);
    let (job, secret, now) = (Uuid::new_v4(), setting("REPLICATE_WEBHOOK_SECRET"), Timestamp::now().as_second());
    let ours = format!("?job={job}");
    let body = json!({ "id": "p1", "status": "succeeded", "webhook": format!("https://x.lambda-url.us-east-1.on.aws/{ours}") });

    for _ in 0..2 {
        let answer = send(webhook(&ours, &body, &secret, now)).await;
        assert_eq!((answer.status, &answer.body), (200, &json!({ "received": true })));
    }
    assert_eq!(drain(&queue).await, [json!({ "job_id": job }), json!({ "job_id": job })]);

    let other = format!("?job={}", Uuid::new_v4());
    for (nothing, query) in [("no job", ""), ("no id", "?job=1"), ("another job than the signed one", other.as_str())] {
        assert_eq!(send(webhook(query, &body, &secret, now)).await.status, 200, "{nothing}");
    }
    for (wrong, request) in [
        ("secret", webhook(&ours, &body, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", now)),
        ("too old", webhook(&ours, &body, &secret, now - 301)),
        ("too new", webhook(&ours, &body, &secret, now + 310)),
    ] {
        let answer = send(request).await;
        assert_eq!((answer.status, answer.code.as_str()), (401, "unauthenticated"), "{wrong}");
    }
    let answer = send(webhook(&ours, &json!({ "no": "prediction" }), &secret, now)).await;
    assert_eq!((answer.status, answer.code.as_str()), (400, "not_a_prediction"));
    assert!(drain(&queue).await.is_empty());

    let gone = format!("{queue}-gone");
    let down = replicate_webhook(|config| config.generation_queue_url = gone.parse().unwrap());
    let answer = Answer::from(replicate_webhook::handle(down, webhook(&ours, &body, &secret, now)).await);
    assert_eq!((answer.status, answer.code.as_str()), (503, "queue_unavailable"));
}

// --- The sweeper ---

/// Sweeps into a queue of its own; answers the jobs that it found. Jobs of other tests may be among them.
async fn sweep() -> Vec<Uuid> {
    let bench = Bench::new().await;
    let deps = sweep_generation_jobs(|config| config.generation_queue_url = bench.queue.parse().unwrap());
    sweep_generation_jobs::handle(deps, serde_json::from_str("{}").unwrap()).await.unwrap();
    bench.queued().await
}

/// Sweeps once this job is due. Somebody else who sweeps may come first: then it is made due again.
async fn is_swept(job: Uuid, case: &str) {
    let mut swept = false;
    for _ in 0..5 {
        later(job).await;
        swept = sweep().await.contains(&job);
        if swept {
            break;
        }
    }
    assert!(swept, "{case}");
    assert!(!sweep().await.contains(&job), "{case}: once is enough for now");
}

#[tokio::test]
async fn what_lost_its_message_its_webhook_or_its_worker_is_queued_again() {
    let (bench, (_, job)) = (Bench::new().await, asked(json!({})).await);
    assert!(!sweep().await.contains(&job), "it was asked for just now");
    is_swept(job, "lost message").await;
    assert_eq!(row(job).await["status"], "queued");

    bench.work(job).await;
    assert!(!sweep().await.contains(&job), "its webhook may come");
    is_swept(job, "lost webhook").await;
    settled(job).await;
    bench.work(job).await;
    assert_eq!(row(job).await["status"], "completed");
    later(job).await;
    assert!(!sweep().await.contains(&job), "it has ended");

    let (_, held) = asked(json!({})).await;
    let claim = json!({ "p_job_id": held, "p_token": Uuid::new_v4(), "p_lease_seconds": 100 });
    assert_eq!(rpc("claim_generation_job", claim).await["outcome"], "claimed");
    let due = "update public.generation_jobs set look_at = now() - interval '1 minute' where id = $1";
    database().await.execute(due, &[&held]).await.unwrap();
    assert!(!sweep().await.contains(&held), "somebody is at it");
    is_swept(held, "dead worker").await;
    assert_eq!(bench.finish(held).await["status"], "completed");
}

#[tokio::test]
async fn a_row_that_a_client_inserted_is_queued_and_made() {
    let (bench, user) = (Bench::new().await, User::new().await);
    let http = http_client::client(Duration::from_secs(5)).unwrap();
    let mut job = wish();
    job["user_id"] = json!(user.id);
    let insert = http.post(format!("{}/rest/v1/generation_jobs", setting("SUPABASE_URL")));
    let insert = insert.header("apikey", setting("SUPABASE_PUBLISHABLE_KEY")).bearer_auth(&user.token).json(&job);
    let inserted = insert.send().await.unwrap();
    assert!(inserted.status().is_success(), "{:?}", inserted.text().await);
    let select = "select id from public.generation_jobs where user_id = $1";
    let job: Uuid = database().await.query_one(select, &[&user.id]).await.unwrap().get(0);
    assert_eq!(balance(user.id).await, 3);

    sweep().await;
    until("its place in the queue", async || (row(job).await["status"] != "pending").then_some(())).await;
    assert_eq!(bench.finish(job).await["status"], "completed");
    assert_eq!(balance(user.id).await, 3);
}

#[tokio::test]
async fn what_is_far_past_its_deadline_is_given_up_once_by_however_many_sweep() {
    let bench = Bench::new().await;
    let users = join_all((0..10).map(|_| User::new())).await;
    let jobs = join_all(users.iter().flat_map(|user| (0..4).map(move |_| job_of(user, json!({}))))).await;
    let (_, held) = asked(json!({})).await;
    let claim = json!({ "p_job_id": held, "p_token": Uuid::new_v4(), "p_lease_seconds": 100 });
    assert_eq!(rpc("claim_generation_job", claim).await["outcome"], "claimed");
    overdue(held, 16).await;
    overdue(jobs[0], 14).await;
    assert!(sweep().await.iter().all(|swept| *swept != held));
    assert_eq!(row(held).await["status"], "processing", "somebody is at it");
    assert_eq!(row(jobs[0]).await["status"], "queued", "a worker may still say more of it");
    // Scattered, so that those who sweep meet the same users in another order.
    for (n, job) in jobs.iter().enumerate() {
        overdue(*job, 16 + (n as i32 * 7) % 40).await;
    }
    join_all((0..4).map(|_| sweep())).await;
    for (n, job) in jobs.iter().enumerate() {
        failed(&bench, &users[n / 4], *job, "timed_out", "swept").await;
    }
    overdue(held, 16).await;
    bench.work(held).await;
    later(held).await;
    sweep().await;
    assert_eq!(row(held).await["failure_code"], "timed_out");
}
