//! Parts that fail and come back: the flow says so, loses nothing, and goes on. And a worker that is killed midway.

use std::time::Duration;

use image::ImageFormat;
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use crate::{
    doubles::{Mode, Proxy, Raw, Reply},
    stack::{
        Answer, User, callback_token, claims, create, create_influencer, fetch_image, fetch_message, get_dashboard,
        image_key, image_pending, n8n_callback, object, own_queue, picture, request, requested, row, setting,
        user_token,
    },
    worker::Worker,
};

const FAULTS: [Mode; 4] = [Mode::Refuse, Mode::ServerError, Mode::Hang, Mode::Pass];

/// A user whose token names `origin` as the project, so that functions which know it by that name believe her.
pub async fn user_of(origin: &url::Url) -> User {
    let user = User::new().await;
    let mut claims = claims(user.id, &user.email);
    claims["iss"] = json!(format!("{origin}auth/v1"));
    User { token: user_token(&claims), ..user }
}

#[tokio::test]
async fn a_database_that_fails_and_comes_back() {
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let user = user_of(&proxy.origin).await;
    let n8n = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&n8n).await;
    let create_deps = create_influencer(|config| {
        config.auth.supabase_url = proxy.origin.clone();
        config.n8n_webhook_url = n8n.uri().parse().unwrap();
    });
    let dashboard_deps = get_dashboard(|config| config.auth.supabase_url = proxy.origin.clone());
    for mode in FAULTS {
        proxy.set(mode);
        let seen = Answer::from(
            get_dashboard::handle(dashboard_deps.clone(), request("GET", "/dashboard", Some(&user.token), ())).await,
        );
        let created = create(&create_deps, &user).await;
        if mode == Mode::Pass {
            assert_eq!((seen.status, created.status), (200, 202), "{seen:?} {created:?}");
        } else {
            assert_eq!((seen.status, seen.code.as_str()), (503, "database_unavailable"), "{mode:?}");
            assert_eq!((created.status, created.code.as_str()), (503, "database_unavailable"), "{mode:?}");
            assert!(row(&user).await.is_null(), "{mode:?}");
            assert!(n8n.received_requests().await.unwrap().is_empty(), "database first, then n8n");
        }
    }

    // The callback and the worker meet the same.
    let id = row(&user).await["id"].as_str().unwrap().parse().unwrap();
    let queue = own_queue().await;
    let callback_deps = n8n_callback(|config| {
        config.supabase_url = proxy.origin.clone();
        config.image_queue_url = queue.parse().unwrap();
    });
    let images = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    let fetch_deps = fetch_image(|config| {
        config.supabase_url = proxy.origin.clone();
        config.local_image_origin = Some(images.origin.clone());
    });
    let body = json!({ "influencer_id": id, "base_prompt": "p", "seed": 1, "image_url": images.origin });
    for mode in FAULTS {
        proxy.set(mode);
        let request = request("POST", "/", Some(&callback_token(id, 1)), body.to_string());
        let answer = Answer::from(n8n_callback::handle(callback_deps.clone(), request).await);
        let expected = if mode == Mode::Pass { 202 } else { 503 };
        assert_eq!(answer.status, expected, "{mode:?} {answer:?}");
    }
    for mode in FAULTS {
        proxy.set(mode);
        let result = fetch_image::handle(fetch_deps.clone(), fetch_message(&user, id, images.origin.as_str())).await;
        assert_eq!(result.is_ok(), mode == Mode::Pass, "{mode:?} {result:?}");
    }
    assert_eq!(row(&user).await["state"], "ready");
}

#[tokio::test]
async fn an_n8n_that_hangs_is_given_up_after_ten_seconds_and_trying_again_works() {
    let n8n = Raw::start(Reply::Silence(Vec::new())).await;
    let user = User::new().await;
    let hanging = create_influencer(|config| config.n8n_webhook_url = n8n.origin.clone());
    let asked = std::time::Instant::now();
    let answer = create(&hanging, &user).await;
    assert_eq!((answer.status, answer.code.as_str()), (502, "workflow_unavailable"));
    assert!(asked.elapsed() < Duration::from_secs(20), "within the HTTP API's 30 seconds: {:?}", asked.elapsed());

    let well = Raw::start(Reply::status(200)).await;
    let well = create_influencer(|config| config.n8n_webhook_url = well.origin.clone());
    assert_eq!(create(&well, &user).await.status, 202);
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
async fn a_bucket_that_fails_and_comes_back() {
    let (user, id) = image_pending().await;
    let images = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    let proxy = Proxy::before(&setting("AWS_ENDPOINT_URL")).await;
    for mode in FAULTS {
        proxy.set(mode);
        let worker = Worker::start(&user, id, &images.origin, &[("AWS_ENDPOINT_URL", proxy.origin.as_str())]).await;
        let answer = worker.answer().await;
        if mode == Mode::Pass {
            assert_eq!(answer, json!({ "batchItemFailures": [] }));
            assert_eq!(row(&user).await["state"], "ready");
        } else {
            assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "m" }] }), "{mode:?}");
            assert_eq!(row(&user).await["state"], "image_pending", "{mode:?}");
        }
    }
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
