//! create-influencer: who may, what is refused, and that one user gets one character.

use futures_util::future::join_all;
use lambda_http::Body;
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    doubles::{Raw, Reply},
    stack::{Answer, User, create, create_influencer, dashboard, database, request, requested, row, setting, wish},
};

/// An n8n that takes everything and does nothing, so that a test sees what it was asked.
async fn silent_n8n() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    server
}

fn with_n8n(n8n: &str) -> std::sync::Arc<create_influencer::Deps> {
    let url = n8n.parse().unwrap();
    create_influencer(|config| config.n8n_webhook_url = url)
}

#[tokio::test]
async fn a_request_answers_202_and_starts_one_signed_workflow() {
    let n8n = silent_n8n().await;
    let user = User::new().await;

    let answer = create(&with_n8n(&format!("{}/webhook/x", n8n.uri())), &user).await;

    assert_eq!(answer.status, 202, "{answer:?}");
    let her = &answer.body["influencer"];
    assert_eq!(her["state"], "requested");
    assert_eq!(her["name"], "Clara");
    assert_eq!(row(&user).await["id"], her["id"]);

    let calls = n8n.received_requests().await.unwrap();
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    let header = |name: &str| call.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("idempotency-key"), format!("{}:1", her["id"].as_str().unwrap()));
    let secret = setting("N8N_WEBHOOK_SECRET").into();
    assert!(auth::signature::verify(&secret, &header("x-signature"), jiff::Timestamp::now(), &call.body));
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    let token = body["callback_token"].as_str().unwrap();
    let scope = auth::callback_token::verify(&setting("CALLBACK_TOKEN_SECRET").into(), token).unwrap();
    assert_eq!(json!(scope.influencer_id), her["id"]);
    assert_eq!(
        body,
        json!({
            "influencer_id": her["id"], "user_id": user.id, "attempt": 1, "name": "Clara",
            "bio": "A 29 year old architect from Lisbon.", "vibe": "calm, curious",
            "callback_url": setting("CALLBACK_URL"), "callback_token": token,
        })
    );
}

#[tokio::test]
async fn a_hundred_requests_at_once_make_one_influencer_and_start_one_workflow() {
    let n8n = silent_n8n().await;
    let user = User::new().await;
    let deps = with_n8n(&n8n.uri());

    let answers = join_all((0..100).map(|_| create(&deps, &user))).await;

    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1, "{answers:?}");
    let exists = answers.iter().filter(|answer| (answer.status, answer.code.as_str()) == (409, "influencer_exists"));
    assert_eq!(exists.count(), 99, "{answers:?}");
    assert_eq!(n8n.received_requests().await.unwrap().len(), 1);
    let count = "select count(*) from public.influencers where user_id = $1";
    assert_eq!(database().await.query_one(count, &[&user.id]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn after_a_failure_or_a_time_out_she_may_be_requested_again_under_the_same_id() {
    let n8n = silent_n8n().await;
    let deps = with_n8n(&n8n.uri());
    for ending in [
        "state = 'failed', failure_code = 'workflow_failed', failure_message = 'No luck.'",
        "deadline_at = now() - interval '1 second'",
        "state = 'image_pending', deadline_at = now() - interval '1 second'",
    ] {
        let (user, id) = requested().await;
        assert_eq!(create(&deps, &user).await.code, "influencer_exists", "{ending}");

        database()
            .await
            .execute(&format!("update public.influencers set {ending} where id = $1"), &[&id])
            .await
            .unwrap();
        let answers = join_all((0..10).map(|_| create(&deps, &user))).await;

        assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1, "{ending}: {answers:?}");
        let row = row(&user).await;
        assert_eq!((&row["id"], &row["attempt"], &row["state"]), (&json!(id), &json!(2), &json!("requested")));
        assert_eq!((&row["base_prompt"], &row["failure_code"]), (&json!(null), &json!(null)));
        let keys: Vec<_> = n8n.received_requests().await.unwrap();
        assert_eq!(keys.last().unwrap().headers["idempotency-key"].to_str().unwrap(), format!("{id}:2"));
    }
}

#[tokio::test]
async fn a_workflow_that_cannot_be_reached_says_so_and_trying_again_works() {
    let user = User::new().await;
    let closed = "http://127.0.0.1:9/webhook";
    let failing = Raw::start(Reply::status(500)).await;
    let inactive = Raw::start(Reply::status(404)).await;

    for (url, tries) in [
        (closed, None),
        (failing.origin.as_str(), Some((&failing, 2))),
        (inactive.origin.as_str(), Some((&inactive, 1))),
    ] {
        let answer = create(&with_n8n(url), &user).await;
        assert_eq!((answer.status, answer.code.as_str()), (502, "workflow_unavailable"), "{url}");
        if let Some((server, tries)) = tries {
            assert_eq!(server.hits(), tries, "one retry on a 5xx, none on a 4xx");
        }
        let shown = dashboard(&user).await;
        assert_eq!(shown["influencer"]["state"], "failed");
        assert_eq!(shown["influencer"]["failure"]["code"], "workflow_unavailable");
    }

    let n8n = silent_n8n().await;
    assert_eq!(create(&with_n8n(&n8n.uri()), &user).await.status, 202);
    assert_eq!(dashboard(&user).await["influencer"]["state"], "requested");
}

#[tokio::test]
async fn the_retry_carries_the_same_idempotency_key() {
    let n8n = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).up_to_n_times(1).mount(&n8n).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&n8n).await;

    assert_eq!(create(&with_n8n(&n8n.uri()), &User::new().await).await.status, 202);

    let calls = n8n.received_requests().await.unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].headers["idempotency-key"], calls[1].headers["idempotency-key"]);
    assert_eq!(calls[0].body, calls[1].body);
}

#[tokio::test]
async fn an_n8n_that_answers_5xx_though_it_did_the_work_does_not_fail_her() {
    let user = User::new().await;
    // Does the work (its callback is recorded) while the answer is still on its way, then answers 500.
    let n8n = MockServer::start().await;
    let (id, runtime) = (user.id, tokio::runtime::Handle::current());
    Mock::given(any())
        .respond_with(move |_: &wiremock::Request| {
            let recorded = runtime.spawn(async move {
                let update = "update public.influencers set state = 'image_pending', callback_digest = 'd', seed = 1,
                              base_prompt = 'p' where user_id = $1";
                database().await.execute(update, &[&id]).await.unwrap();
            });
            std::thread::scope(|scope| scope.spawn(|| runtime.block_on(recorded)).join().unwrap().unwrap());
            ResponseTemplate::new(500)
        })
        .mount(&n8n)
        .await;

    assert_eq!(create(&with_n8n(&n8n.uri()), &user).await.status, 202);
    assert_eq!(row(&user).await["state"], "image_pending");
}

#[tokio::test]
async fn bad_fields_are_named_all_at_once() {
    let user = User::new().await;
    let deps = with_n8n("http://127.0.0.1:9");
    let ask = async |body: String| -> Answer {
        create_influencer::handle(deps.clone(), request("POST", "/influencers", Some(&user.token), body)).await.into()
    };
    let cases = [
        (json!({}), json!([["#/name", "missing"], ["#/bio", "missing"], ["#/vibe", "missing"]])),
        (
            json!({"name": null, "bio": 1, "vibe": []}),
            json!([["#/name", "missing"], ["#/bio", "not_a_string"], ["#/vibe", "not_a_string"]]),
        ),
        (
            json!({"name": "  ", "bio": "", "vibe": "\u{3000}"}),
            json!([["#/name", "too_short"], ["#/bio", "too_short"], ["#/vibe", "too_short"]]),
        ),
        (
            json!({"name": "n".repeat(41), "bio": "b".repeat(1001), "vibe": "v".repeat(201)}),
            json!([["#/name", "too_long"], ["#/bio", "too_long"], ["#/vibe", "too_long"]]),
        ),
        (
            json!({"name": "a\nb", "bio": "a\u{0}b", "vibe": "fine"}),
            json!([["#/name", "control_characters"], ["#/bio", "control_characters"]]),
        ),
        (
            json!({"name": "Lea", "bio": "She is 16 years old.", "vibe": "a schoolgirl"}),
            json!([["#/bio", "describes_minor"], ["#/vibe", "describes_minor"]]),
        ),
    ];
    for (body, expected) in cases {
        let answer = ask(body.to_string()).await;
        assert_eq!((answer.status, answer.code.as_str()), (422, "invalid_fields"), "{body}");
        let found: Vec<_> = answer.body.as_array().unwrap().iter().map(|e| json!([e["pointer"], e["code"]])).collect();
        assert_eq!(json!(found), expected, "{body}");
    }
    for body in ["", "[]", "\"text\"", "{\"name\":", "null", "\u{feff}{}"] {
        let answer = ask(body.to_owned()).await;
        assert_eq!((answer.status, answer.code.as_str()), (400, "malformed_json"), "{body:?}");
    }
    assert!(row(&user).await.is_null());
}

#[tokio::test]
async fn lengths_count_characters_in_the_database_too() {
    let n8n = silent_n8n().await;
    let user = User::new().await;
    let body = json!({ "name": "é".repeat(40), "bio": "日".repeat(1000), "vibe": "😀".repeat(200) }).to_string();
    let request = request("POST", "/influencers", Some(&user.token), body);
    let answer = Answer::from(create_influencer::handle(with_n8n(&n8n.uri()), request).await);
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test]
async fn a_base64_body_of_the_api_is_read_like_any_other() {
    let n8n = silent_n8n().await;
    let user = User::new().await;
    let body = Body::Binary(wish().into_bytes());
    let request = request("POST", "/influencers", Some(&user.token), body);
    assert_eq!(Answer::from(create_influencer::handle(with_n8n(&n8n.uri()), request).await).status, 202);
}

#[tokio::test]
async fn a_user_who_was_deleted_is_told_to_log_in() {
    let user = User::new().await;
    database().await.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    let answer = create(&with_n8n("http://127.0.0.1:9"), &user).await;
    assert_eq!((answer.status, answer.code.as_str()), (401, "unauthenticated"));
}
