//! A function that dies midway, or does not hear what became of its request. `faults.rs` has the parts that fail and come back.

use std::time::Duration;

use image::ImageFormat;
use serde_json::json;

use crate::{
    doubles::{Mode, Proxy, Raw, Reply},
    stack::{
        User, claims, create, create_influencer, image_key, image_pending, object, picture, requested, row, setting,
        user_token,
    },
    worker::Worker,
};

/// A user whose token names `origin` as the project, so that functions which know it by that name believe her.
pub async fn user_of(origin: &url::Url) -> User {
    let user = User::new().await;
    let mut claims = claims(user.id, &user.email);
    claims["iss"] = json!(format!("{origin}auth/v1"));
    User { token: user_token(&claims), ..user }
}

#[tokio::test]
async fn a_worker_killed_between_bucket_and_database_is_finished_by_the_next() {
    let (user, id) = image_pending().await;
    let bytes = picture(ImageFormat::Png);
    let images = Raw::start(Reply::body("image/png", &bytes)).await;
    let database = Proxy::before(&setting("SUPABASE_URL")).await;
    database.set(Mode::HangAt("lock_influencer"));

    let mut worker = Worker::start(&user, id, &images.origin, &[("SUPABASE_URL", database.origin.as_str())]).await;
    tokio::time::timeout(Duration::from_secs(30), database.swallowed())
        .await
        .expect("the worker never came to the lock");
    worker.process.kill().await.unwrap();

    assert_eq!(object(&image_key(&user, id, "png")).await.unwrap().0, bytes, "the bucket has it");
    assert_eq!(row(&user).await["state"], "image_pending", "the database does not know");

    let next = Worker::start(&user, id, &images.origin, &[]).await;
    assert_eq!(next.answer().await, json!({ "batchItemFailures": [] }));
    assert_eq!(row(&user).await["state"], "ready");
    assert_eq!(object(&image_key(&user, id, "png")).await.unwrap().0, bytes);
}

#[tokio::test]
async fn a_success_that_somebody_else_tells_in_the_buckets_place_is_not_believed() {
    let (user, id) = image_pending().await;
    let images = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    let bucket = Proxy::that(Mode::Garbage, &setting("AWS_ENDPOINT_URL"));
    let worker = Worker::start(&user, id, &images.origin, &[("AWS_ENDPOINT_URL", bucket.origin.as_str())]).await;
    assert_eq!(worker.answer().await, json!({ "batchItemFailures": [{ "itemIdentifier": "m" }] }));
    assert_eq!(row(&user).await["state"], "image_pending");
}

#[tokio::test]
async fn a_create_whose_answer_from_the_database_was_lost_starts_its_workflow_all_the_same() {
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    proxy.set(Mode::LoseAnswerTo("request_influencer"));
    let user = user_of(&proxy.origin).await;
    let n8n = Raw::start(Reply::status(200)).await;
    let deps = create_influencer(|config| {
        config.auth.supabase_url = proxy.origin.clone();
        config.n8n_webhook_url = n8n.origin.clone();
    });
    let answer = create(&deps, &user).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!((n8n.hits(), &row(&user).await["attempt"]), (1, &json!(1)));
    assert_eq!(create(&deps, &user).await.code, "influencer_exists", "another request is another one");
}

#[tokio::test]
async fn a_set_up_whose_create_died_before_n8n_heard_of_it_times_out_and_starts_again() {
    // What is left behind: a row in "requested" and nobody at work.
    let (user, id) = requested().await;
    let n8n = Raw::start(Reply::status(200)).await;
    let deps = create_influencer(|config| config.n8n_webhook_url = n8n.origin.clone());
    assert_eq!(create(&deps, &user).await.code, "influencer_exists");
    let late = "update public.influencers set deadline_at = now() - interval '1 second' where id = $1";
    crate::stack::database().await.execute(late, &[&id]).await.unwrap();
    assert_eq!(create(&deps, &user).await.status, 202);
    assert_eq!(n8n.hits(), 1);
}
