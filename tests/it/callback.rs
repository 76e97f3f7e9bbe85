//! n8n-callback: what it lets in, what it records, and that the same answer counts once.

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use lambda_http::Request;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stack::{
    Answer, callback_token, create, create_influencer, dashboard, database, drain, image_pending, n8n_callback,
    own_queue, request, requested, row, setting,
};

pub fn made(id: Uuid) -> Value {
    json!({ "influencer_id": id, "base_prompt": "A portrait of Clara", "seed": 4_294_967_295_i64,
            "image_url": "https://replicate.delivery/a/out-0.webp" })
}

pub fn with_token(body: &Value, token: &str) -> Request {
    request("POST", "/", Some(token), body.to_string())
}

fn signed(body: &Value, secret: &str, at: Timestamp) -> Request {
    let body = body.to_string();
    let signature = auth::signature::sign(&secret.into(), at, body.as_bytes());
    let mut request = request("POST", "/", None, body);
    request.headers_mut().insert("x-signature", signature.parse().unwrap());
    request
}

#[tokio::test]
async fn prompt_and_seed_are_stored_and_the_image_is_queued() {
    let (user, id) = requested().await;
    let queue = own_queue().await;
    let deps = n8n_callback(|config| config.image_queue_url = queue.parse().unwrap());

    let answer = Answer::from(n8n_callback::handle(deps, with_token(&made(id), &callback_token(id, 1))).await);

    assert_eq!(answer.status, 202, "{answer:?}");
    let row = row(&user).await;
    assert_eq!(
        (&row["state"], &row["base_prompt"], &row["seed"], &row["is_locked"]),
        (&json!("image_pending"), &json!("A portrait of Clara"), &json!(4_294_967_295_i64), &json!(false))
    );
    assert!(!row.to_string().contains("replicate.delivery"), "the vendor's URL is not kept");
    let expected = json!({ "influencer_id": id, "user_id": user.id, "attempt": 1,
                           "image_url": "https://replicate.delivery/a/out-0.webp" });
    assert_eq!(drain(&queue).await, [expected]);
}

#[tokio::test]
async fn the_same_callback_fifty_times_at_once_counts_once() {
    let (user, id) = requested().await;
    let queue = own_queue().await;
    let deps = n8n_callback(|config| config.image_queue_url = queue.parse().unwrap());
    let token = callback_token(id, 1);

    let answers: Vec<Answer> = join_all(
        (0..50).map(|_| async { n8n_callback::handle(deps.clone(), with_token(&made(id), &token)).await.into() }),
    )
    .await;

    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 49, "{answers:?}");
    assert_eq!(row(&user).await["state"], "image_pending");
}

#[tokio::test]
async fn a_callback_whose_queue_was_down_is_finished_by_its_repetition() {
    let (user, id) = requested().await;
    let token = callback_token(id, 1);
    let down =
        n8n_callback(|config| config.image_queue_url = format!("{}-gone", setting("IMAGE_QUEUE_URL")).parse().unwrap());

    let first = Answer::from(n8n_callback::handle(down, with_token(&made(id), &token)).await);
    assert_eq!((first.status, first.code.as_str()), (503, "queue_unavailable"));
    assert_eq!(row(&user).await["state"], "image_pending");

    let queue = own_queue().await;
    let up = n8n_callback(|config| config.image_queue_url = queue.parse().unwrap());
    assert_eq!(Answer::from(n8n_callback::handle(up, with_token(&made(id), &token)).await).status, 200);
    assert_eq!(drain(&queue).await.len(), 1);
}

#[tokio::test]
async fn tokens_that_are_forged_expired_or_for_somebody_else_change_nothing() {
    let (user, id) = requested().await;
    let (_, other) = requested().await;
    let before = row(&user).await;
    let deps = n8n_callback(|_| {});
    let scope = auth::callback_token::Scope { influencer_id: domain::id::InfluencerId(id), attempt: 1, trace: None };
    let issue = |secret: &str, now| {
        auth::callback_token::issue(&secret.into(), scope, now, SignedDuration::from_secs(60)).unwrap()
    };
    let secret = setting("CALLBACK_TOKEN_SECRET");
    let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    let requests = [
        ("no token", request("POST", "/", None, made(id).to_string())),
        ("garbage", with_token(&made(id), "garbage")),
        ("forged", with_token(&made(id), &issue("another secret", Timestamp::now()))),
        ("expired", with_token(&made(id), &issue(&secret, hour_ago))),
        ("another's", with_token(&made(id), &callback_token(other, 1))),
        ("a user's", with_token(&made(id), &user.token)),
        ("wrong signature", signed(&made(id), "another secret", Timestamp::now())),
        ("old signature", signed(&made(id), &setting("CALLBACK_HMAC_SECRET"), hour_ago)),
    ];
    for (case, request) in requests {
        let answer = Answer::from(n8n_callback::handle(deps.clone(), request).await);
        assert_eq!((answer.status, answer.code.as_str()), (401, "unauthenticated"), "{case}");
    }
    assert_eq!(row(&user).await, before);
}

#[tokio::test]
async fn a_signature_is_as_good_as_a_token() {
    let (user, id) = requested().await;
    let queue = own_queue().await;
    let deps = n8n_callback(|config| config.image_queue_url = queue.parse().unwrap());
    let request = signed(&made(id), &setting("CALLBACK_HMAC_SECRET"), Timestamp::now());
    assert_eq!(Answer::from(n8n_callback::handle(deps.clone(), request).await).status, 202);
    assert_eq!(row(&user).await["state"], "image_pending");

    let nobody = signed(&made(Uuid::new_v4()), &setting("CALLBACK_HMAC_SECRET"), Timestamp::now());
    assert_eq!(Answer::from(n8n_callback::handle(deps, nobody).await).code, "no_such_influencer");
}

#[tokio::test]
async fn a_signed_answer_without_a_number_never_meets_a_later_start() {
    let (user, id) = requested().await;
    database().await.execute("update public.influencers set attempt = 2 where id = $1", &[&id]).await.unwrap();
    let before = row(&user).await;
    let queue = own_queue().await;
    let deps = n8n_callback(|config| config.image_queue_url = queue.parse().unwrap());
    let secret = setting("CALLBACK_HMAC_SECRET");
    for late in [made(id), json!({ "influencer_id": id, "error": "too late" })] {
        let answer = Answer::from(n8n_callback::handle(deps.clone(), signed(&late, &secret, Timestamp::now())).await);
        assert_eq!((answer.status, answer.code.as_str()), (409, "superseded"));
    }
    assert_eq!(row(&user).await, before);

    let mut numbered = made(id);
    numbered["attempt"] = json!(2);
    let request = signed(&numbered, &secret, Timestamp::now());
    assert_eq!(Answer::from(n8n_callback::handle(deps, request).await).status, 202);
}

#[tokio::test]
async fn a_locked_influencer_an_earlier_attempt_and_another_result_are_conflicts() {
    let deps = n8n_callback(|_| {});
    let failed = |id| json!({ "influencer_id": id, "error": "too late" });

    let (locked, id) = image_pending().await;
    let lock =
        "update public.influencers set state = 'ready', is_locked = true, created_at = now(), initial_image_url = 'u'
                where id = $1";
    database().await.execute(lock, &[&id]).await.unwrap();
    let before = row(&locked).await;
    for body in [made(id), failed(id)] {
        let answer = Answer::from(n8n_callback::handle(deps.clone(), with_token(&body, &callback_token(id, 1))).await);
        assert_eq!((answer.status, answer.code.as_str()), (409, "influencer_locked"));
    }
    assert_eq!(row(&locked).await, before);

    let (restarted, id) = requested().await;
    database().await.execute("update public.influencers set attempt = 2 where id = $1", &[&id]).await.unwrap();
    let before = row(&restarted).await;
    for body in [made(id), failed(id)] {
        let answer = Answer::from(n8n_callback::handle(deps.clone(), with_token(&body, &callback_token(id, 1))).await);
        assert_eq!((answer.status, answer.code.as_str()), (409, "superseded"));
    }
    assert_eq!(row(&restarted).await, before);

    let (pending, id) = image_pending().await;
    let before = row(&pending).await;
    for body in [made(id), failed(id)] {
        let answer = Answer::from(n8n_callback::handle(deps.clone(), with_token(&body, &callback_token(id, 1))).await);
        assert_eq!((answer.status, answer.code.as_str()), (409, "callback_conflict"));
    }
    assert_eq!(row(&pending).await, before);
}

#[tokio::test]
async fn the_workflows_own_failure_is_recorded_once_and_shown() {
    let (user, id) = requested().await;
    let deps = n8n_callback(|_| {});
    let body = json!({ "influencer_id": id, "error": "  The model refused:\n\u{7}too bold. " });
    let token = callback_token(id, 1);

    let first = Answer::from(n8n_callback::handle(deps.clone(), with_token(&body, &token)).await);
    let again = Answer::from(n8n_callback::handle(deps.clone(), with_token(&body, &token)).await);
    assert_eq!((first.status, again.status), (202, 200));
    let her = &dashboard(&user).await["influencer"];
    assert_eq!(her["state"], "failed");
    assert_eq!(her["failure"], json!({ "code": "workflow_failed", "message": "The model refused: too bold." }));

    // A success of the same start is not believed any more; a new start is free.
    let answer = Answer::from(n8n_callback::handle(deps.clone(), with_token(&made(id), &token)).await);
    assert_eq!(answer.code, "callback_conflict");

    for (error, shown) in [
        (json!(""), "Our studio could not finish her. Please try again.".to_owned()),
        (json!({}), "Our studio could not finish her. Please try again.".to_owned()),
        (json!("x".repeat(400)), "x".repeat(299) + "…"),
    ] {
        let (user, id) = requested().await;
        let body = json!({ "influencer_id": id, "error": error });
        assert_eq!(
            Answer::from(n8n_callback::handle(deps.clone(), with_token(&body, &callback_token(id, 1))).await).status,
            202
        );
        assert_eq!(dashboard(&user).await["influencer"]["failure"]["message"], shown);
    }
}

#[tokio::test]
async fn a_late_answer_to_a_start_that_looked_unreachable_is_welcome() {
    let user = crate::stack::User::new().await;
    let unreachable = create_influencer(|config| config.n8n_webhook_url = "http://127.0.0.1:9".parse().unwrap());
    assert_eq!(create(&unreachable, &user).await.code, "workflow_unavailable");
    let id: Uuid = row(&user).await["id"].as_str().unwrap().parse().unwrap();

    let queue = own_queue().await;
    let deps = n8n_callback(|config| config.image_queue_url = queue.parse().unwrap());
    assert_eq!(
        Answer::from(n8n_callback::handle(deps, with_token(&made(id), &callback_token(id, 1))).await).status,
        202
    );
    let row = row(&user).await;
    assert_eq!((&row["state"], &row["failure_code"]), (&json!("image_pending"), &json!(null)));
}

#[tokio::test]
async fn bad_bodies_are_refused_with_a_pointer_for_each_field() {
    let (user, id) = requested().await;
    let before = row(&user).await;
    let deps = n8n_callback(|_| {});
    let token = callback_token(id, 1);
    let cases = [
        (json!({}), json!(["#/influencer_id", "#/base_prompt", "#/seed", "#/image_url"])),
        (
            json!({ "influencer_id": "x", "base_prompt": " ", "seed": 1.5, "image_url": 7 }),
            json!(["#/influencer_id", "#/base_prompt", "#/seed", "#/image_url"]),
        ),
        (
            json!({ "influencer_id": id, "base_prompt": "p", "seed": -1, "image_url": "u".repeat(2049) }),
            json!(["#/seed", "#/image_url"]),
        ),
        (
            json!({ "influencer_id": id, "base_prompt": "p", "seed": 9_007_199_254_740_992_i64, "image_url": "u" }),
            json!(["#/seed"]),
        ),
        (
            json!({ "influencer_id": id, "base_prompt": "p".repeat(8001), "seed": 1e30, "image_url": "" }),
            json!(["#/base_prompt", "#/seed", "#/image_url"]),
        ),
    ];
    for (body, pointers) in cases {
        let answer = Answer::from(n8n_callback::handle(deps.clone(), with_token(&body, &token)).await);
        assert_eq!((answer.status, answer.code.as_str()), (422, "invalid_fields"), "{body}");
        let found: Vec<_> = answer.body.as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
        assert_eq!(json!(found), pointers, "{body}");
    }
    let answer = Answer::from(n8n_callback::handle(deps, request("POST", "/", Some(&token), "not json")).await);
    assert_eq!((answer.status, answer.code.as_str()), (400, "malformed_json"));
    assert_eq!(row(&user).await, before);
}
