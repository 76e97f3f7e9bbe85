//! clean-up: what has had its time goes, in batches, with its objects; nothing else does, wherever it is killed.

use std::{collections::BTreeSet, sync::Arc};

use clean_up::Task;
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    doubles::{Mode, Proxy},
    generation::job_of,
    stack::{User, clean_up as function, database, setting},
    worker::Worker,
};

/// clean-up takes whatever has had its time, whosever it is, so tests that count on what is left run one after another.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The task as the schedule sends it.
fn task(name: &str) -> Task {
    serde_json::from_value(json!({ "task": name })).unwrap()
}

async fn run(deps: &Arc<clean_up::Deps>, name: &str) -> Result<(), String> {
    clean_up::handle(deps.clone(), task(name)).await.map_err(|error| format!("{error:#}"))
}

/// An upload of so many days ago with its object and its clean copies.
async fn upload(user: &User, days: i32) -> Uuid {
    let insert = "insert into public.assets (user_id, content_type, bytes, width, height, verified_at, created_at)
                  values ($1, 'image/png', 5, 64, 96, now(), now() - make_interval(days => $2)) returning id";
    let id: Uuid = database().await.query_one(insert, &[&user.id, &days]).await.unwrap().get(0);
    for key in keys(user, id) {
        put(&key).await;
    }
    id
}

fn keys(user: &User, id: Uuid) -> [String; 3] {
    let user = user.id;
    [
        format!("uploads/{user}/{id}.png"),
        format!("assets/{user}/{id}/image.webp"),
        format!("assets/{user}/{id}/thumb.webp"),
    ]
}

async fn put(key: &str) {
    let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
    s3.put_object().bucket(setting("MEDIA_BUCKET")).key(key).body(b"x".to_vec().into()).send().await.unwrap();
}

/// All of a user's objects.
async fn objects(user: &User) -> BTreeSet<String> {
    let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
    let mut found = BTreeSet::new();
    for folder in ["uploads", "assets", "outputs"] {
        let list = s3.list_objects_v2().bucket(setting("MEDIA_BUCKET")).prefix(format!("{folder}/{}/", user.id));
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            found.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
    }
    found
}

async fn count(select: &str, of: Uuid) -> i64 {
    database().await.query_one(select, &[&of]).await.unwrap().get(0)
}

async fn rows(user: &User) -> i64 {
    count("select count(*) from public.assets where user_id = $1", user.id).await
}

/// A picture of so many days ago that a job made.
async fn output(user: &User, days: i32) -> (Uuid, [String; 3]) {
    let job = job_of(user, json!({})).await;
    let name = |name: &str| format!("outputs/{}/{job}/{name}", user.id);
    let names = [name("original.webp"), name("screen.webp"), name("thumb.webp")];
    let insert = "insert into public.assets (user_id, kind, object_key, content_type, bytes, width, height, job_id, verified_at, created_at)
                  values ($1, 'output', $2, 'image/webp', 5, 64, 96, $3, now(), now() - make_interval(days => $4))";
    database().await.execute(insert, &[&user.id, &names[0], &job, &days]).await.unwrap();
    for key in &names {
        put(key).await;
    }
    (job, names)
}

#[tokio::test]
async fn uploads_of_thirty_days_go_with_their_objects_and_everything_else_stays() {
    let _alone = ALONE.lock().await;
    let deps = function(|_| {});
    let user = User::new().await;
    let (old, young, used) = (upload(&user, 31).await, upload(&user, 29).await, upload(&user, 90).await);
    let job = job_of(&user, json!({ "input_asset_id": used })).await;
    let (made, picture) = output(&user, 400).await;
    let database = database().await;

    run(&deps, "uploads").await.unwrap();
    let stay: BTreeSet<String> =
        [keys(&user, young), keys(&user, used), picture.clone()].concat().into_iter().collect();
    assert_eq!(objects(&user).await, stay, "{old} goes");
    assert_eq!(rows(&user).await, 3);

    // The job has ended: what it started from has had its time.
    let end = "select public.end_generation_job($1, 'failed', 'refused', 'm')";
    database.execute(end, &[&job]).await.unwrap();
    // Somebody removes old jobs: their pictures are still their users'.
    database.execute("delete from public.generation_jobs where id = $1", &[&made]).await.unwrap();
    run(&deps, "uploads").await.unwrap();
    let stay: BTreeSet<String> = keys(&user, young).into_iter().chain(picture).collect();
    assert_eq!(objects(&user).await, stay);
    assert_eq!(rows(&user).await, 2);
    run(&deps, "uploads").await.unwrap();
    assert_eq!(objects(&user).await, stay, "what is gone is gone");
}

#[tokio::test]
async fn there_may_be_more_than_fit_into_one_batch() {
    let _alone = ALONE.lock().await;
    let user = User::new().await;
    let insert = "insert into public.assets (user_id, content_type, created_at)
                  select $1, 'image/png', now() - interval '31 days' from generate_series(1, 520)";
    let database = database().await;
    database.execute(insert, &[&user.id]).await.unwrap();
    let first: Uuid = database
        .query_one("select id from public.assets where user_id = $1 limit 1", &[&user.id])
        .await
        .unwrap()
        .get(0);
    for key in keys(&user, first) {
        put(&key).await;
    }
    run(&function(|_| {}), "uploads").await.unwrap();
    assert_eq!((rows(&user).await, objects(&user).await.len()), (0, 0));
    let left = "select count(*) from public.orphaned_objects where object_key like '%/' || $1::uuid || '/%'";
    assert_eq!(count(left, user.id).await, 0);
}

#[tokio::test]
async fn who_deletes_her_account_leaves_no_objects() {
    let _alone = ALONE.lock().await;
    let user = User::new().await;
    upload(&user, 0).await;
    output(&user, 0).await;
    assert_eq!(objects(&user).await.len(), 6);
    database().await.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    run(&function(|_| {}), "uploads").await.unwrap();
    assert!(objects(&user).await.is_empty());
}

#[tokio::test]
async fn killed_between_rows_and_objects_the_next_one_finds_what_is_left() {
    let _alone = ALONE.lock().await;
    let user = User::new().await;
    upload(&user, 31).await;
    // Objects are removed before their keys are forgotten, and rows go before both.
    for (at, objects_left) in [("orphaned_object_keys", 3), ("forget_orphaned_objects", 0)] {
        let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
        proxy.set(Mode::HangAt(at));
        let environment = [("SUPABASE_URL", proxy.origin.as_str())];
        let mut worker = Worker::run("clean-up", &json!({ "task": "uploads" }), &environment).await;
        let held = tokio::time::timeout(std::time::Duration::from_secs(30), proxy.swallowed());
        held.await.unwrap_or_else(|_| panic!("it never came to {at}"));
        worker.process.kill().await.unwrap();
        assert_eq!((rows(&user).await, objects(&user).await.len()), (0, objects_left), "{at}");
        let left = "select count(*) from public.orphaned_objects where object_key like '%/' || $1::uuid || '/%'";
        assert_eq!(count(left, user.id).await, 2, "{at}");
    }
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    proxy.set(Mode::ServerError);
    let down = function(|config| config.supabase_url = proxy.origin.clone());
    for name in ["uploads", "job_events"] {
        assert!(run(&down, name).await.is_err(), "{name}: the alarm is to ring");
    }
    run(&function(|_| {}), "uploads").await.unwrap();
    let left = "select count(*) from public.orphaned_objects where object_key like '%/' || $1::uuid || '/%'";
    assert_eq!(count(left, user.id).await, 0);
}

#[tokio::test]
async fn events_of_ninety_days_go() {
    let user = User::new().await;
    let job = job_of(&user, json!({})).await;
    let insert = "insert into public.job_events (job_id, to_status, created_at)
                  select $1, 'queued', now() - make_interval(days => n) from generate_series(1, 1300) n";
    database().await.execute(insert, &[&job]).await.unwrap();
    let deps = function(|_| {});
    run(&deps, "job_events").await.unwrap();
    let events = "select count(*) from public.job_events where job_id = $1";
    assert_eq!(count(events, job).await, 1 + 89);
    assert_eq!(count("select count(*) from public.generation_jobs where id = $1", job).await, 1);
    for nonsense in [json!({}), json!({ "task": "everything" }), json!({ "task": null })] {
        assert!(serde_json::from_value::<Task>(nonsense).is_err());
    }
}
