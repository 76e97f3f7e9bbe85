//! Pictures: uploaded, asked for, made, looked at, given up; and what the clock does about them.

use base64::{Engine, prelude::BASE64_STANDARD};
use image::ImageFormat;
use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    AT_ONCE, Bucket, CLOCK, Database, Flow, Outcome, Pictures, Queue, Replicate, Trial,
    house::{Function, Line, by, caller, event},
};
use crate::{
    credits::balance,
    doubles::Mode,
    events,
    generation::{arm, job_of, later, predictions, row, settled},
    jobs_api,
    listener::{listen, told},
    stack::{User, database, picture, setting, sweep_generation_jobs},
};

pub const FLOWS: &[Flow] = &[
    ("Announce an upload", &["create-upload"], &[Database], |trial| Box::pin(announced(trial))),
    ("Register an upload", &["register-upload"], &[Database, Bucket], |trial| Box::pin(registered(trial))),
    ("What there is to choose", &["get-generation-options"], &[Database], |trial| {
        Box::pin(looked_at(trial, "get-generation-options", "/generation-options"))
    }),
    ("Ask for a picture", &["create-generation-job"], &[Database, Queue], |trial| Box::pin(asked_for(trial))),
    ("Order its prediction", &["process-generation-job"], &[Database, Replicate], |trial| Box::pin(ordered(trial))),
    ("Replicate tells of its end", &["replicate-webhook"], &[Queue], |trial| Box::pin(told_of(trial))),
    ("Bring the picture", &["process-generation-job"], &[Database, Replicate, Pictures, Bucket], |trial| {
        Box::pin(brought(trial))
    }),
    ("Order another, as it broke", &["process-generation-job"], &[Database, Replicate, Queue], |trial| {
        Box::pin(ordered_again(trial))
    }),
    ("Look at a picture", &["get-generation-job"], &[Database], |trial| {
        Box::pin(looked_at(trial, "get-generation-job", "/generation-jobs/{id}"))
    }),
    ("List pictures", &["list-generation-jobs"], &[Database], |trial| {
        Box::pin(looked_at(trial, "list-generation-jobs", "/generation-jobs"))
    }),
    ("Cancel a picture", &["cancel-generation-job"], &[Database], |trial| Box::pin(cancelled(trial))),
    ("Try a picture again", &["retry-generation-job"], &[Database, Queue], |trial| Box::pin(tried_again(trial))),
    ("Sweep", &["sweep-generation-jobs"], &[Database, Queue], |trial| Box::pin(swept(trial))),
    ("Clean up", &["clean-up"], &[Database, Bucket], |trial| Box::pin(cleaned_up(trial))),
];

async fn announced(trial: Trial) -> Outcome {
    let user = caller().await;
    let function = trial.function("create-upload", &[]).await;
    let file = json!({ "filename": "dress.png", "content_type": "image/png", "size": 5 });
    let (form, outcome) = trial.ask(&function, &by(&user, "POST", "/uploads", None, Some(file)), &[201]).await;
    let id: Uuid = form.body["asset_id"].as_str().unwrap().parse().unwrap();
    let waits = "select object_key from public.assets where id = $1 and verified_at is null";
    let key: String = database().await.query_one(waits, &[&id]).await.unwrap().get(0);
    assert_eq!(form.body["fields"]["key"], key, "{}", trial.case);
    outcome
}

async fn registered(trial: Trial) -> Outcome {
    let (user, line) = (User::new().await, trial.house.line().await);
    let insert = "insert into public.assets (user_id, content_type) values ($1, 'image/png') returning id, object_key";
    let asset = database().await.query_one(insert, &[&user.id]).await.unwrap();
    let (id, key): (Uuid, String) = (asset.get(0), asset.get(1));
    let bucket = trial.house.bucket().await;
    trial.house.put(&bucket, &key, picture(ImageFormat::Png)).await;
    line.send(&json!({ "Records": [{ "eventName": "ObjectCreated:Post", "s3": { "object": { "key": key } } }] })).await;

    let function = trial.function("register-upload", &[("MEDIA_BUCKET", &bucket)]).await;
    let outcome = trial.deliver(&line, &function, id, async {}).await;
    let verified = "select verified_at is not null and rejected_code is null from public.assets where id = $1";
    assert!(database().await.query_one(verified, &[&id]).await.unwrap().get::<_, bool>(0), "{}", trial.case);
    for name in ["image", "thumb"] {
        let copy = trial.house.s3.get_object().bucket(&bucket).key(format!("assets/{}/{id}/{name}.webp", user.id));
        let copy = copy.send().await.unwrap().body.collect().await.unwrap().to_vec();
        assert!(image::load_from_memory(&copy).is_ok(), "{}: {name}", trial.case);
    }
    trial.is_whole(&[&line], &[user.id]).await;
    outcome
}

/// Reads: asked again, they say what there is.
async fn looked_at(trial: Trial, name: &'static str, path: &str) -> Outcome {
    let user = caller().await;
    let job = job_of(&user, json!({})).await;
    let function = trial.function(name, &[]).await;
    let (seen, outcome) = trial.ask(&function, &by(&user, "GET", path, Some(job), None), &[200]).await;
    let known = match name {
        "get-generation-job" => seen.body["id"] == json!(job),
        "list-generation-jobs" => seen.body["jobs"][0]["id"] == json!(job),
        _ => seen.body["credits"] == 3,
    };
    assert!(known, "{}: {}", trial.case, seen.body);
    outcome
}

/// The worker, for a queue. No webhook comes by itself.
fn at(line: &Line) -> [(&'static str, &str); 2] {
    [("GENERATION_QUEUE_URL", &line.url), ("REPLICATE_WEBHOOK_URL", "http://127.0.0.1:9/")]
}

/// The message that a job's webhook sends.
fn about(job: Uuid) -> Value {
    json!({ "job_id": job })
}

/// Time passes and the clock ticks, as it does every few minutes.
async fn sweep(line: &Line, job: Uuid) {
    let _alone = CLOCK.lock().await;
    later(job).await;
    let sweeper = sweep_generation_jobs(|config| {
        config.generation_queue_url = line.url.parse().unwrap();
        config.erasure_queue_url = line.url.parse().unwrap();
    });
    sweep_generation_jobs::handle(sweeper, serde::de::IgnoredAny).await.unwrap();
}

/// A worker for which all is well works off what a queue has for a job. Should it fail on a machine that is too busy, the queue hands
/// the message out again, later and as often as it does.
async fn work_off(line: &Line, worker: &Function, job: Uuid) {
    while !line.deliver(worker, job).await {
        later(job).await;
    }
}

/// All goes its way with a job: its messages are worked off, or it is swept, its predictions end and their webhooks come. Answers
/// whether it had to be swept.
async fn finish(trial: &Trial, line: &Line, job: Uuid) -> bool {
    let worker = trial.house.function("process-generation-job", &at(line)).await;
    work_off(line, &worker, job).await;
    let lost = row(job).await["status"] == "queued";
    if lost {
        sweep(line, job).await;
        work_off(line, &worker, job).await;
    }
    // One that broke is followed by another, three in all.
    for _ in 0..3 {
        settled(job).await;
        line.send(&about(job)).await;
        work_off(line, &worker, job).await;
    }
    lost
}

/// It is there, was paid for once, and `made` predictions were made for it, one of which succeeded.
async fn is_finished(trial: &Trial, line: &Line, user: &User, job: Uuid, made: usize) {
    let case = &trial.case;
    let done = row(job).await;
    assert_eq!(done["status"], "completed", "{case}: {done}");
    let fates = predictions(Some(job)).await;
    let succeeded = fates.iter().filter(|made| made["status"] == "succeeded").count();
    assert_eq!((fates.len(), succeeded), (made, 1), "{case}: {fates:?}");
    assert_eq!(balance(user.id).await, 3, "{case}");
    trial.is_whole(&[line], &[user.id]).await;
}

/// After it was asked for: worked on until it is there.
async fn completes(trial: &Trial, line: &Line, user: &User, job: Uuid, outcome: Outcome) -> Outcome {
    let lost = finish(trial, line, job).await;
    is_finished(trial, line, user, job, 1).await;
    match (lost, outcome.whole) {
        (true, AT_ONCE) => outcome.whole("swept"),
        (true, whole) => panic!("{}: {whole}, and it had to be swept", trial.case),
        _ => outcome,
    }
}

async fn asked_for(trial: Trial) -> Outcome {
    let (user, line) = (caller().await, trial.house.line().await);
    let wish = json!({ "prompt": "A woman in a red coat", "model_preset": "fashion_model_v1", "pose_preset": "standing",
        "scene_preset": "street", "generation_type": "standard" });
    let mut event = by(&user, "POST", "/generation-jobs", None, Some(wish));
    event["headers"]["idempotency-key"] = json!(user.id);
    let function = trial.function("create-generation-job", &[("GENERATION_QUEUE_URL", &line.url)]).await;
    let (answer, outcome) = trial.ask(&function, &event, &[200, 202]).await;
    let job = answer.body["job_id"].as_str().unwrap().parse().unwrap();
    let outcome = completes(&trial, &line, &user, job, outcome).await;
    let jobs = "select count(*) from public.generation_jobs where user_id = $1";
    assert_eq!(database().await.query_one(jobs, &[&user.id]).await.unwrap().get::<_, i64>(0), 1, "{}", trial.case);
    outcome
}

async fn tried_again(trial: Trial) -> Outcome {
    let (user, line) = (caller().await, trial.house.line().await);
    let failed = job_of(&user, json!({})).await;
    jobs_api::fail(failed).await;
    let event = by(&user, "POST", "/generation-jobs/{id}/retry", Some(failed), None);
    let function = trial.function("retry-generation-job", &[("GENERATION_QUEUE_URL", &line.url)]).await;
    let (answer, outcome) = trial.ask(&function, &event, &[200, 202]).await;
    let job = answer.body["job_id"].as_str().unwrap().parse().unwrap();
    completes(&trial, &line, &user, job, outcome).await
}

async fn ordered(trial: Trial) -> Outcome {
    let (user, line) = (User::new().await, trial.house.line().await);
    let job = job_of(&user, json!({})).await;
    line.send(&about(job)).await;
    let function = trial.function("process-generation-job", &at(&line)).await;
    let outcome = trial.deliver(&line, &function, job, later(job)).await;
    assert!(!finish(&trial, &line, job).await, "{}", trial.case);
    is_finished(&trial, &line, &user, job, 1).await;
    outcome
}

/// A job whose prediction has ended, and a message that says so.
async fn predicted(trial: &Trial, fault: Option<&str>) -> (User, Line, Uuid) {
    let (user, line) = (User::new().await, trial.house.line().await);
    let job = job_of(&user, json!({})).await;
    if let Some(fault) = fault {
        arm(fault, 1, job).await;
    }
    line.send(&about(job)).await;
    let worker = trial.house.function("process-generation-job", &at(&line)).await;
    work_off(&line, &worker, job).await;
    settled(job).await;
    (user, line, job)
}

async fn brought(trial: Trial) -> Outcome {
    let (user, line, job) = predicted(&trial, None).await;
    line.send(&about(job)).await;
    let mut environment = at(&line).to_vec();
    let replicate = at_replicate(&trial).await;
    if trial.upstream == Pictures {
        environment.push(("REPLICATE_API_URL", &replicate));
    }
    let function = trial.function("process-generation-job", &environment).await;
    let outcome = trial.deliver(&line, &function, job, later(job)).await;
    if (trial.upstream, trial.fault) == (Pictures, Mode::Garbage) {
        assert_eq!(row(job).await["failure_code"], "output_invalid", "{}", trial.case);
        assert_eq!(balance(user.id).await, 4, "{}", trial.case);
        trial.is_whole(&[&line], &[user.id]).await;
        return outcome.whole("job failed, credits back");
    }
    is_finished(&trial, &line, &user, job, 1).await;
    outcome
}

/// A Replicate whose pictures lie where the trial's do.
async fn at_replicate(trial: &Trial) -> String {
    let prediction = json!({ "id": "p", "status": "succeeded", "output": [trial.proxy.origin] }).to_string();
    listen(move |_| {
        let prediction = prediction.clone();
        async move { told(200, prediction) }
    })
    .await
    .to_string()
}

async fn ordered_again(trial: Trial) -> Outcome {
    let (user, line, job) = predicted(&trial, Some("replicate_breaks")).await;
    line.send(&about(job)).await;
    let function = trial.function("process-generation-job", &at(&line)).await;
    let outcome = trial.deliver(&line, &function, job, later(job)).await;
    assert!(!finish(&trial, &line, job).await, "{}", trial.case);
    is_finished(&trial, &line, &user, job, 2).await;
    outcome
}

async fn told_of(trial: Trial) -> Outcome {
    let (user, line, job) = predicted(&trial, None).await;
    let function = trial.function("replicate-webhook", &[("GENERATION_QUEUE_URL", &line.url)]).await;
    let whole: Value =
        serde_json::from_str(&events::event("replicate-webhook/done.json", &[("job_id", job.to_string())])).unwrap();
    let (body, time) = (whole["body"].as_str().unwrap(), Timestamp::now().as_second());
    let secret = setting("REPLICATE_WEBHOOK_SECRET");
    let secret = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), format!("msg_1.{time}.{body}").as_bytes());
    let headers = json!({ "webhook-id": "msg_1", "webhook-timestamp": time.to_string(),
        "webhook-signature": format!("v1,{}", BASE64_STANDARD.encode(tag)) });
    let mut event = event("POST", "/lambda-url/replicate-webhook/", None, headers, Some(body.into()));
    event["rawQueryString"] = json!(format!("job={job}"));
    event["queryStringParameters"] = json!({ "job": job });
    let (_, outcome) = trial.ask(&function, &event, &[200]).await;
    let worker = trial.house.function("process-generation-job", &at(&line)).await;
    work_off(&line, &worker, job).await;
    is_finished(&trial, &line, &user, job, 1).await;
    outcome
}

async fn cancelled(trial: Trial) -> Outcome {
    let user = caller().await;
    let job = job_of(&user, json!({})).await;
    let function = trial.function("cancel-generation-job", &[]).await;
    let event = by(&user, "DELETE", "/generation-jobs/{id}", Some(job), None);
    let (_, outcome) = trial.ask(&function, &event, &[200]).await;
    assert_eq!((&row(job).await["status"], balance(user.id).await), (&json!("cancelled"), 4), "{}", trial.case);
    trial.is_whole(&[], &[user.id]).await;
    outcome
}

async fn swept(trial: Trial) -> Outcome {
    let (user, line) = (User::new().await, trial.house.line().await);
    let job = job_of(&user, json!({})).await;
    let function = sweeper(&trial, &line).await;
    let alone = CLOCK.lock().await;
    later(job).await;
    let outcome = trial.tick(&function, &json!({}), later(job)).await;
    drop(alone);
    assert!(!finish(&trial, &line, job).await, "{}", trial.case);
    is_finished(&trial, &line, &user, job, 1).await;
    outcome
}

/// sweep-generation-jobs, for a queue.
async fn sweeper(trial: &Trial, line: &Line) -> Function {
    let queues = [("GENERATION_QUEUE_URL", line.url.as_str()), ("ERASURE_QUEUE_URL", line.url.as_str())];
    trial.function("sweep-generation-jobs", &queues).await
}

async fn cleaned_up(trial: Trial) -> Outcome {
    let user = User::new().await;
    let alone = CLOCK.lock().await;
    let insert = "insert into public.assets (user_id, content_type, bytes, width, height, verified_at, created_at)
                  values ($1, 'image/png', 5, 64, 96, now(), now() - interval '31 days') returning id, object_key";
    let asset = database().await.query_one(insert, &[&user.id]).await.unwrap();
    let (id, upload): (Uuid, String) = (asset.get(0), asset.get(1));
    let keys = [upload, format!("assets/{}/{id}/image.webp", user.id), format!("assets/{}/{id}/thumb.webp", user.id)];
    let bucket = trial.house.bucket().await;
    for key in &keys {
        trial.house.put(&bucket, key, b"x".to_vec()).await;
    }
    let function = trial.function("clean-up", &[("MEDIA_BUCKET", &bucket)]).await;
    let outcome = trial.tick(&function, &json!({ "task": "uploads" }), async {}).await;
    drop(alone);
    let there = trial.house.s3.list_objects_v2().bucket(&bucket).send().await.unwrap();
    assert_eq!(there.key_count(), Some(0), "{}: {there:?}", trial.case);
    let left = "select (select count(*) from public.assets where user_id = $1)
                     + (select count(*) from public.orphaned_objects where object_key like '%/' || $1::uuid || '/%')";
    assert_eq!(database().await.query_one(left, &[&user.id]).await.unwrap().get::<_, i64>(0), 0, "{}", trial.case);
    outcome
}
