//! The image models' client: against servers that answer as Replicate and fal may, and as they should not, and against the
//! sandbox, which speaks as both do.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use domain::id::JobId;
use http_client::guarded::{FetchError, Guarded, Policy};
use image_models::{Fal, ModelError, Order, Provider, Providers, Replicate, Standing, webhook};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{any, method, path, query_param, query_param_is_missing},
};

use crate::{
    doubles::{Raw, Reply},
    listener::{Asked, listen, told},
    stack::setting,
};

const TOKEN: &str = "r8_clientstoken";
const FAL_KEY: &str = "clients:key";
const FLUX: &str = "black-forest-labs/flux-1.1-pro";
const MADE: &str = "https://replicate.delivery/xezq/abc/out-0.webp";

fn replicate(origin: &str) -> Provider {
    Provider::Replicate(Replicate::new(origin.parse().unwrap(), TOKEN.into()).unwrap())
}

fn fal(origin: &str) -> Provider {
    let (queue, platform) = (origin.parse().unwrap(), format!("{origin}/platform").parse().unwrap());
    Provider::Fal(Fal::new(queue, platform, FAL_KEY.into()).unwrap())
}

/// A server that answers everything like this.
async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

fn answer(status: u16, body: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

fn order(model: &str) -> Order<'_> {
    Order { job_id: JobId(Uuid::new_v4()), model, prompt: "Clara", seed: Some(7), image_url: None, webhook: None }
}

fn sent(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers[name].to_str().unwrap()
}

fn prediction(status: &str) -> Value {
    json!({
        "id": "p1", "model": FLUX, "version": "hidden", "input": { "prompt": "Clara", "seed": 7 }, "output": null,
        "error": null, "logs": "", "status": status, "source": "api", "data_removed": false,
        "created_at": "2026-11-21T14:00:00.123456Z", "urls": {},
    })
}

/// What Replicate's client makes of this prediction.
async fn replicates(prediction: Value) -> Result<Standing, ModelError> {
    replicate(&answering(answer(200, prediction)).await.uri()).standing("p1").await
}

fn with(mut prediction: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        prediction[name] = value.clone();
    }
    prediction
}

fn failed(message: &str, retryable: bool) -> Standing {
    Standing::Failed { message: message.to_owned(), retryable }
}

#[tokio::test]
async fn a_prediction_of_replicate_is_asked_for_with_job_webhook_and_deadline() {
    let server = answering(answer(201, prediction("starting"))).await;
    let webhook: Url = "https://abc.lambda-url.us-east-1.on.aws/".parse().unwrap();
    let order = Order { webhook: Some(&webhook), ..order(FLUX) };

    assert_eq!(replicate(&server.uri()).submit(&order).await.unwrap(), "p1");

    let request = &server.received_requests().await.unwrap()[0];
    let path = "/v1/models/black-forest-labs/flux-1.1-pro/predictions";
    assert_eq!((request.method.as_str(), request.url.path(), request.url.query()), ("POST", path, None));
    assert_eq!(header(request, "authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(header(request, "idempotency-key"), order.job_id.to_string());
    assert_eq!(header(request, "cancel-after"), "10m");
    assert!(!request.headers.contains_key("prefer"), "nobody waits for it");
    let expected = json!({
        "input": { "prompt": "Clara", "seed": 7, "aspect_ratio": "2:3" },
        "webhook": format!("{webhook}?job={}", order.job_id), "webhook_events_filter": ["completed"],
    });
    assert_eq!(sent(request), expected);
}

#[tokio::test]
async fn a_model_with_a_version_is_named_by_it() {
    let version = "a".repeat(64);
    for model in [version.clone(), format!("owner/name:{version}")] {
        let server = answering(answer(201, prediction("starting"))).await;
        replicate(&server.uri()).submit(&Order { seed: None, ..order(&model) }).await.unwrap();
        let request = &server.received_requests().await.unwrap()[0];
        assert_eq!(request.url.path(), "/v1/predictions");
        assert_eq!(sent(request), json!({ "input": { "prompt": "Clara", "aspect_ratio": "2:3" }, "version": model }));
    }
}

#[tokio::test]
async fn every_family_of_models_gets_the_picture_under_its_own_name() {
    let image = "https://bucket.example/a.webp?signature=x";
    for (model, name, value) in [
        (FLUX, "image_prompt", json!(image)),
        ("black-forest-labs/flux-kontext-pro", "input_image", json!(image)),
        ("black-forest-labs/flux-2-pro", "input_images", json!([image])),
        ("black-forest-labs/flux-dev", "image", json!(image)),
        ("somebody/else:1", "image", json!(image)),
    ] {
        let server = answering(answer(201, prediction("starting"))).await;
        replicate(&server.uri()).submit(&Order { image_url: Some(image), ..order(model) }).await.unwrap();
        let input = sent(&server.received_requests().await.unwrap()[0])["input"].clone();
        assert_eq!(input[name], value, "{model}: {input}");
        assert_eq!(input.as_object().unwrap().len(), 4, "{model}: {input}");
    }
}

#[tokio::test]
async fn a_request_to_fal_has_its_own_form() {
    let submitted = json!({ "status": "IN_QUEUE", "request_id": "r1", "response_url": "https://elsewhere.example/x" });
    let server = answering(answer(200, submitted)).await;
    let fal = fal(&server.uri());
    let webhook: Url = "https://abc.lambda-url.us-east-1.on.aws/".parse().unwrap();
    let plain = Order { webhook: Some(&webhook), ..order("fal-ai/flux/dev") };
    let from_image = Order { image_url: Some("https://bucket.example/a.webp"), ..plain };
    let other = Order { model: "fal-ai/flux-pro/kontext", ..from_image };
    assert_eq!(fal.submit(&plain).await.unwrap(), "fal-ai/flux/requests/r1");
    assert_eq!(fal.submit(&from_image).await.unwrap(), "fal-ai/flux/requests/r1");
    assert_eq!(fal.submit(&other).await.unwrap(), "fal-ai/flux-pro/requests/r1");

    let requests = server.received_requests().await.unwrap();
    let paths: Vec<_> = requests.iter().map(|request| request.url.path()).collect();
    assert_eq!(paths, ["/fal-ai/flux/dev", "/fal-ai/flux/dev/image-to-image", "/fal-ai/flux-pro/kontext"]);
    let (size, image) = (json!({ "width": 832, "height": 1248 }), "https://bucket.example/a.webp");
    assert_eq!(sent(&requests[0]), json!({ "prompt": "Clara", "seed": 7, "image_size": size, "num_images": 1 }));
    let expected = json!({ "prompt": "Clara", "seed": 7, "image_size": size, "num_images": 1, "image_url": image });
    assert_eq!(sent(&requests[1]), expected);
    for request in &requests {
        assert_eq!((request.method.as_str(), request.url.query()), ("POST", None), "it is polled");
        assert_eq!(header(request, "authorization"), format!("Key {FAL_KEY}"));
        assert_eq!(header(request, "idempotency-key"), plain.job_id.to_string());
        assert_eq!(header(request, "x-fal-request-timeout"), "100");
        assert_eq!(header(request, "x-fal-object-lifecycle-preference"), r#"{"expiration_duration_seconds":3600}"#);
    }
}

#[tokio::test]
async fn every_status_of_replicate_has_its_meaning() {
    let logs = "Using seed: 16010\n 45%|████▌     | 7/16 [00:00<00:01,  7.82it/s]\n";
    let nsfw = "NSFW content detected. Try running it again, or try a different prompt.";
    let done = || with(prediction("succeeded"), json!({ "output": MADE }));
    let made = |seed| Standing::Succeeded { images: vec![MADE.to_owned()], seed };
    for (change, expected) in [
        (prediction("starting"), Standing::Running { progress: None }),
        (json!({ "id": "p1", "status": "processing" }), Standing::Running { progress: None }),
        (with(prediction("processing"), json!({ "logs": logs })), Standing::Running { progress: Some(45) }),
        (done(), made(Some(7))),
        (with(done(), json!({ "logs": logs })), made(Some(16010))),
        (with(done(), json!({ "logs": null, "input": {} })), made(None)),
        (with(done(), json!({ "output": [MADE] })), made(Some(7))),
        (with(done(), json!({ "output": { "image": MADE, "caption": "her" } })), made(Some(7))),
        (with(done(), json!({ "output": null })), failed("it made no picture", true)),
        (with(done(), json!({ "output": [] })), failed("it made no picture", true)),
        (with(done(), json!({ "output": "her" })), failed("it made no picture", true)),
        (with(done(), json!({ "output": null, "input": {}, "data_removed": true })), Standing::Unknown),
        (with(prediction("failed"), json!({ "error": nsfw })), Standing::Refused { message: nsfw.to_owned() }),
        (with(prediction("failed"), json!({ "error": "CUDA out of memory" })), failed("CUDA out of memory", true)),
        (
            with(prediction("failed"), json!({ "error": "It was invalid (E006)" })),
            failed("It was invalid (E006)", false),
        ),
        (prediction("failed"), failed("", true)),
        (with(prediction("failed"), json!({ "error": { "code": 3 } })), failed("", true)),
        (prediction("canceled"), Standing::Cancelled),
        (prediction("aborted"), failed("it did not start in time", true)),
    ] {
        assert_eq!(replicates(change.clone()).await.unwrap(), expected, "{change}");
    }
    let error = replicates(prediction("of_tomorrow")).await.unwrap_err();
    assert!(matches!(error, ModelError::Garbled(_)), "{error:?}");
}

/// fal's queue, where the request has this status and result.
async fn fals(status: Value, result: ResponseTemplate) -> Result<Standing, ModelError> {
    let server = MockServer::start().await;
    let running = if status["status"] == "COMPLETED" { 200 } else { 202 };
    let asked = Mock::given(path("/fal-ai/flux/requests/r1/status")).and(query_param("logs", "1"));
    asked.respond_with(answer(running, status)).mount(&server).await;
    Mock::given(path("/fal-ai/flux/requests/r1")).respond_with(result).mount(&server).await;
    fal(&server.uri()).standing("fal-ai/flux/requests/r1").await
}

#[tokio::test]
async fn every_status_of_fal_has_its_meaning() {
    let (a, b) = ("https://v3b.fal.media/files/a.png", "https://v3b.fal.media/files/b.png");
    let images = |urls: &[&str]| urls.iter().map(|url| json!({ "url": url, "width": 832 })).collect::<Value>();
    let running = |more: Value| with(json!({ "status": "IN_PROGRESS" }), more);
    let line = json!({ "message": " 50%|█████     | 14/28", "level": "STDERR" });
    for (status, progress) in [
        (json!({ "status": "IN_QUEUE", "queue_position": 3 }), None),
        (running(json!({ "logs": null })), None),
        (running(json!({ "logs": [] })), None),
        (running(json!({ "logs": [{ "message": "Loading" }, line] })), Some(50)),
    ] {
        let standing = fals(status.clone(), ResponseTemplate::new(500)).await.unwrap();
        assert_eq!(standing, Standing::Running { progress }, "{status}");
    }

    let done = |status, body| async move { fals(json!({ "status": "COMPLETED" }), answer(status, body)).await };
    let made = |images: &[&str]| Standing::Succeeded {
        images: images.iter().map(|&url| url.to_owned()).collect(),
        seed: Some(11),
    };
    let refused = |message: &str| Standing::Refused { message: message.to_owned() };
    let violation = json!([{ "loc": ["body", "prompt"], "msg": "The content was flagged by a content checker.",
                             "type": "content_policy_violation", "input": { "prompt": "Clara" } }]);
    let missing = json!([{ "loc": ["body", "prompt"], "msg": "Field required", "type": "missing" }]);
    let crashed = json!([{ "loc": ["body"], "msg": "Internal server error", "type": "internal_server_error" }]);
    for (status, body, expected) in [
        (200, json!({ "images": images(&[a]), "seed": 11, "has_nsfw_concepts": [false] }), made(&[a])),
        (200, json!({ "images": images(&[a, b]), "seed": 11 }), made(&[a, b])),
        (200, json!({ "images": images(&[a, b]), "seed": 11, "has_nsfw_concepts": [true, false] }), made(&[b])),
        (200, json!({ "image": { "url": a }, "seed": 11 }), made(&[a])),
        (200, json!({ "images": images(&[a]), "has_nsfw_concepts": [true] }), refused("NSFW content detected")),
        (200, json!({ "images": [], "prompt": "https://evil.example/" }), failed("it made no picture", true)),
        (
            422,
            json!({ "detail": violation }),
            refused("content_policy_violation: The content was flagged by a content checker."),
        ),
        (422, json!({ "detail": missing }), failed("missing: Field required", false)),
        (422, json!({ "detail": "Bad input" }), failed("Bad input", false)),
        (500, json!({ "detail": crashed }), failed("internal_server_error: Internal server error", true)),
        (504, json!({ "detail": "Timed out", "error_type": "request_timeout" }), failed("Timed out", true)),
        (499, json!({ "detail": "Gone", "error_type": "client_cancelled" }), Standing::Cancelled),
        (404, json!({ "detail": "Request not found" }), Standing::Unknown),
    ] {
        assert_eq!(done(status, body.clone()).await.unwrap(), expected, "{status} {body}");
    }

    let error = fals(json!({ "status": "COMPLETED" }), ResponseTemplate::new(502)).await.unwrap_err();
    assert!(matches!(error, ModelError::Unavailable { .. }), "no model wrote this: {error:?}");
    let error = done(401, json!({ "detail": "Invalid authentication credentials" })).await.unwrap_err();
    assert!(matches!(error, ModelError::Refused { status: StatusCode::UNAUTHORIZED, .. }), "{error:?}");
    for garbled in [json!({ "status": "OF_TOMORROW" }), json!({}), json!([])] {
        let error = fals(garbled.clone(), ResponseTemplate::new(200)).await.unwrap_err();
        assert!(matches!(error, ModelError::Garbled(_)), "{garbled}: {error:?}");
    }
    let error = fals(json!({ "status": "COMPLETED" }), ResponseTemplate::new(200)).await.unwrap_err();
    assert!(matches!(error, ModelError::Garbled(_)), "{error:?}");
}

#[tokio::test]
async fn a_seed_that_is_too_large_for_us_is_left_out() {
    let images = json!([{ "url": "https://v3b.fal.media/files/a.png" }]);
    let result = answer(200, json!({ "images": images, "seed": 15_860_307_465_884_635_512_u64 }));
    let standing = fals(json!({ "status": "COMPLETED" }), result).await.unwrap();
    assert!(matches!(standing, Standing::Succeeded { seed: None, .. }), "{standing:?}");
}

#[tokio::test]
async fn what_nobody_knows_is_unknown() {
    let server = answering(answer(404, json!({ "title": "Not found", "detail": "…", "status": 404 }))).await;
    for provider in [replicate(&server.uri()), fal(&server.uri())] {
        assert_eq!(provider.standing("a/b/requests/c").await.unwrap(), Standing::Unknown);
        provider.cancel("a/b/requests/c").await.unwrap();
    }
}

#[tokio::test]
async fn cancelling_asks_once_and_accepts_that_it_is_over() {
    for (status, body) in [(200, prediction("canceled")), (202, json!({ "status": "CANCELLATION_REQUESTED" }))] {
        let server = answering(answer(status, body)).await;
        replicate(&server.uri()).cancel("p1").await.unwrap();
        fal(&server.uri()).cancel("fal-ai/flux/requests/r1").await.unwrap();
        let requests = server.received_requests().await.unwrap();
        let asked: Vec<_> = requests.iter().map(|request| (request.method.as_str(), request.url.path())).collect();
        let expected = [("POST", "/v1/predictions/p1/cancel"), ("PUT", "/fal-ai/flux/requests/r1/cancel")];
        assert_eq!(asked, expected);
    }
    let server = answering(answer(400, json!({ "status": "ALREADY_COMPLETED" }))).await;
    fal(&server.uri()).cancel("fal-ai/flux/requests/r1").await.unwrap();
    let server = answering(ResponseTemplate::new(503)).await;
    for provider in [replicate(&server.uri()), fal(&server.uri())] {
        let error = provider.cancel("x").await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_id_cannot_lead_to_another_path() {
    let server = answering(answer(200, prediction("starting"))).await;
    replicate(&server.uri()).standing("../account?x=1#y").await.unwrap();
    let _ = fal(&server.uri()).standing("../../a?x=1").await;
    let requests = server.received_requests().await.unwrap();
    let paths: Vec<_> = requests.iter().map(|request| request.url.path()).collect();
    assert_eq!(paths, ["/v1/predictions/..%2Faccount%3Fx=1%23y", "/a%3Fx=1/status"]);
}

#[tokio::test]
async fn a_refusal_keeps_its_kind_and_drops_its_words() {
    let said = "- input.prompt: 'Clara Secret' is not allowed";
    let problem = json!({ "title": "Input validation failed", "detail": said, "status": 422, "error_type": null });
    for status in [400, 401, 402, 403, 422] {
        let server = answering(answer(status, problem.clone())).await;
        for provider in [replicate(&server.uri()), fal(&server.uri())] {
            let error = provider.submit(&order("a/b")).await.unwrap_err();
            let ModelError::Refused { status: refused, code } = &error else { panic!("{error:?}") };
            assert_eq!((refused.as_u16(), code.as_str()), (status, "input_validation_failed"));
            let shown = format!("{error} {error:?} {provider:?}");
            assert!(!["Clara", TOKEN, FAL_KEY].iter().any(|secret| shown.contains(secret)), "{shown}");
        }
        assert_eq!(server.received_requests().await.unwrap().len(), 2, "asking again changes nothing");
    }
}

#[tokio::test]
async fn what_may_work_later_says_when() {
    let throttled = "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute \
                     with a burst of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~30s.";
    for (answer, seconds) in [
        (answer(429, json!({ "detail": throttled, "status": 429 })), Some(30)),
        (answer(429, json!({ "detail": throttled })).append_header("retry-after", "7"), Some(7)),
        (ResponseTemplate::new(503).append_header("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), None),
        (ResponseTemplate::new(429), None),
        (ResponseTemplate::new(500), None),
        (ResponseTemplate::new(502).set_body_string("<html>"), None),
        (ResponseTemplate::new(408), None),
    ] {
        let server = answering(answer).await;
        for provider in [replicate(&server.uri()), fal(&server.uri())] {
            for error in [
                provider.submit(&order("a/b")).await.unwrap_err(),
                provider.standing("a/b/requests/c").await.unwrap_err(),
                provider.find(&order("a/b"), Timestamp::now()).await.unwrap_err(),
            ] {
                let ModelError::Unavailable { retry_after, .. } = error else { panic!("{error:?}") };
                assert_eq!(retry_after, seconds.map(Duration::from_secs));
            }
        }
    }
    for provider in [replicate("http://127.0.0.1:9"), fal("http://127.0.0.1:9")] {
        let error = provider.submit(&order("a/b")).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { retry_after: None, not_taken: true, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_request_that_makes_a_prediction_is_never_repeated() {
    for reply in [Reply::status(500), Reply::status(503), Reply::Bytes(b"HTTP/1.1 201 X\r\ncontent-length: 9".to_vec())]
    {
        for (client, provider) in [("Replicate", replicate as fn(&str) -> Provider), ("fal", fal)] {
            let server = Raw::start(reply.clone()).await;
            let error = provider(server.origin.as_str()).submit(&order("a/b")).await.unwrap_err();
            assert!(matches!(error, ModelError::Unavailable { not_taken: false, .. }), "{client}: {error:?}");
            assert_eq!(server.hits(), 1, "{client}");
        }
    }
}

#[tokio::test]
async fn garbage_is_called_so() {
    for body in ["", "<html>", "[]", "null", "{\"id\":", "{\"status\":\"starting\"}", "{\"id\":1,\"request_id\":2}"] {
        let server = Raw::start(Reply::body("application/json", body.as_bytes())).await;
        for provider in [replicate(server.origin.as_str()), fal(server.origin.as_str())] {
            for error in
                [provider.submit(&order("a/b")).await.err(), provider.find(&order("a/b"), Timestamp::now()).await.err()]
            {
                assert!(matches!(error, Some(ModelError::Garbled(_))), "{body}: {error:?}");
            }
        }
        let error = replicate(server.origin.as_str()).standing("p1").await.err();
        assert!(matches!(error, Some(ModelError::Garbled(_))), "{body}: {error:?}");
    }
    let server = Raw::start(Reply::redirect("http://127.0.0.1:9/")).await;
    let error = replicate(server.origin.as_str()).submit(&order("a/b")).await.unwrap_err();
    assert!(matches!(error, ModelError::Garbled(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_hangs_or_breaks_off_is_given_up_after_ten_seconds() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":".to_vec();
    let silent = Raw::start(Reply::Silence(Vec::new())).await;
    let drips = Raw::start(Reply::Silence(half.clone())).await;
    let breaks = Raw::start(Reply::Bytes(half)).await;
    let give_up = async |server: &Raw, longest| {
        let asked = Instant::now();
        let error = replicate(server.origin.as_str()).submit(&order("a/b")).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { .. }), "{error:?}");
        assert!(asked.elapsed() < Duration::from_secs(longest), "{:?}", asked.elapsed());
    };
    tokio::join!(give_up(&silent, 12), give_up(&drips, 12), give_up(&breaks, 5));
}

fn listed(id: &str, webhook: Option<&str>, created_at: Timestamp) -> Value {
    with(prediction("processing"), json!({ "id": id, "webhook": webhook, "created_at": created_at.to_string() }))
}

#[tokio::test]
async fn a_prediction_whose_maker_died_is_found_by_its_job() {
    let since = Timestamp::now() - SignedDuration::from_mins(5);
    let ours = order(FLUX);
    let hook = |job: JobId| format!("https://abc.example/?job={job}");
    let other = || listed("other", Some(&hook(JobId(Uuid::new_v4()))), since);
    let server = MockServer::start().await;
    // The second page is to be had from us only, whatever host the first one names: the token goes nowhere else.
    let next = "https://elsewhere.example/v1/predictions?cursor=c1";
    let first = json!({ "next": next, "previous": null, "results": [other(), other()] });
    let after = (since - SignedDuration::from_secs(10)).to_string();
    Mock::given(path("/v1/predictions"))
        .and(query_param("created_after", after))
        .and(query_param_is_missing("cursor"))
        .respond_with(answer(200, first))
        .mount(&server)
        .await;
    let mine = listed("mine", Some(&hook(ours.job_id)), since);
    let older = listed("older", Some(&hook(ours.job_id)), since);
    Mock::given(query_param("cursor", "c1"))
        .respond_with(answer(200, json!({ "next": null, "results": [other(), mine, older] })))
        .mount(&server)
        .await;
    let replicate = replicate(&server.uri());
    assert_eq!(replicate.find(&ours, since).await.unwrap().as_deref(), Some("mine"), "the newest");
    assert_eq!(replicate.find(&order(FLUX), since).await.unwrap(), None, "another job's");
    for request in server.received_requests().await.unwrap() {
        assert_eq!(header(&request, "authorization"), format!("Bearer {TOKEN}"));
    }
}

#[tokio::test]
async fn where_lists_show_no_webhook_words_and_seed_tell_whose_it_is() {
    let since = Timestamp::now() - SignedDuration::from_mins(5);
    let page = json!({ "next": null, "results": [listed("p1", None, since)] });
    let server = answering(answer(200, page)).await;
    let find = async |order: Order<'_>| replicate(&server.uri()).find(&order, since).await.unwrap();
    assert_eq!(find(order(FLUX)).await.as_deref(), Some("p1"));
    assert_eq!(find(Order { seed: Some(8), ..order(FLUX) }).await, None);
    assert_eq!(find(Order { prompt: "Carla", ..order(FLUX) }).await, None);
    assert_eq!(find(Order { seed: None, ..order(FLUX) }).await, None);
}

#[tokio::test]
async fn what_was_made_before_the_job_is_not_looked_at() {
    let since = Timestamp::now() - SignedDuration::from_mins(5);
    let ours = order(FLUX);
    let hook = format!("https://abc.example/?job={}", ours.job_id);
    let old = listed("old", Some(&hook), since - SignedDuration::from_secs(11));
    // A list that goes on for ever, should the server not know the parameter.
    let server = answering(answer(200, json!({ "next": "https://x.example/?cursor=c", "results": [old] }))).await;
    assert_eq!(replicate(&server.uri()).find(&ours, since).await.unwrap(), None);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);

    let endless = json!({ "next": "https://x.example/?cursor=c", "results": [] });
    let server = answering(answer(200, endless)).await;
    let error = replicate(&server.uri()).find(&ours, since).await.unwrap_err();
    assert!(matches!(error, ModelError::Garbled(_)), "{error:?}");
}

#[tokio::test]
async fn a_request_of_fal_whose_maker_died_is_found_by_its_words_and_seed() {
    let long_ago = Timestamp::now() - SignedDuration::from_secs(181);
    let item = |id: &str, seed: i64| json!({ "request_id": id, "json_input": { "prompt": "Clara", "seed": seed } });
    let server = MockServer::start().await;
    let list = || {
        Mock::given(path("/platform/v1/models/requests/by-endpoint"))
            .and(method("GET"))
            .and(query_param("endpoint_id", "fal-ai/flux/dev"))
            .and(query_param("expand", "payloads"))
            .and(query_param("start", (long_ago - SignedDuration::from_secs(10)).to_string()))
    };
    let first = json!({ "items": [item("r1", 1), { "request_id": "r2" }], "next_cursor": "Mg==", "has_more": true });
    list().and(query_param_is_missing("cursor")).respond_with(answer(200, first)).mount(&server).await;
    let last = json!({ "items": [item("r3", 7)], "next_cursor": null, "has_more": false });
    list().and(query_param("cursor", "Mg==")).respond_with(answer(200, last)).mount(&server).await;
    let fal = fal(&server.uri());
    let find = async |seed| fal.find(&Order { seed, ..order("fal-ai/flux/dev") }, long_ago).await;
    assert_eq!(find(Some(7)).await.unwrap().as_deref(), Some("fal-ai/flux/requests/r3"));
    for seed in [Some(8), None] {
        assert!(matches!(find(seed).await, Err(ModelError::Lost)), "{seed:?}: it may still be running, in no list");
    }
}

#[tokio::test]
async fn nothing_is_said_not_to_be_there_while_it_may_still_come() {
    let nothing = json!({ "results": [], "next": null, "items": [], "has_more": false });
    let server = answering(answer(200, nothing)).await;
    for (provider, seconds) in [(replicate(&server.uri()), 15), (fal(&server.uri()), 180)] {
        let find = async |ago| provider.find(&order("a/b"), Timestamp::now() - SignedDuration::from_secs(ago)).await;
        let error = find(5).await.unwrap_err();
        let ModelError::Unavailable { retry_after: Some(wait), .. } = error else { panic!("{error:?}") };
        let left = Duration::from_secs(seconds - 5);
        assert!(wait <= left && wait > left - Duration::from_secs(4), "{wait:?}");
        match provider.name() {
            "replicate" => assert_eq!(find(seconds as i64).await.unwrap(), None),
            _ => assert!(matches!(find(seconds as i64).await, Err(ModelError::Lost))),
        }
    }
}

// From here on: the sandbox.

/// Those of the stack.
fn providers() -> Providers {
    let url = |name| setting(name).parse().unwrap();
    let replicate = Replicate::new(url("REPLICATE_API_URL"), setting("REPLICATE_API_TOKEN").into()).unwrap();
    let fal = Fal::new(url("FAL_API_URL"), url("FAL_PLATFORM_URL"), setting("FAL_KEY").into()).unwrap();
    Providers(vec![Provider::Replicate(replicate), Provider::Fal(fal)])
}

/// Their names in rows, each with a model.
const ROWS: [(&str, &str); 2] = [("replicate", FLUX), ("fal", "fal-ai/flux/dev")];

async fn sandbox(method: Method, path: &str, body: Option<Value>) -> Value {
    let http = http_client::client(Duration::from_secs(10)).unwrap();
    let request = http.request(method, format!("{}/sandbox/{path}", setting("SANDBOX_URL")));
    let request = body.into_iter().fold(request, |request, body| request.json(&body));
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{path}: {}", response.status());
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Lets something go wrong with what mentions `only`.
async fn next(fault: &str, only: &str) {
    sandbox(Method::PUT, "next", Some(json!({ "fault": fault, "only": only }))).await;
}

/// What was made for a job, as the provider itself knows it.
async fn made_for(provider: &str, job: JobId) -> Vec<Value> {
    let found = sandbox(Method::GET, &format!("{provider}.json?job={job}"), None).await;
    found["predictions"].as_array().or(found["requests"].as_array()).unwrap().clone()
}

/// How a prediction ended.
async fn end(provider: &Provider, id: &str) -> Standing {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        match provider.standing(id).await.unwrap() {
            Standing::Running { .. } => assert!(Instant::now() < give_up, "{id} does not end"),
            standing => return standing,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn the_picture(standing: Standing) -> (String, Option<i64>) {
    let Standing::Succeeded { images, seed } = standing else { panic!("{standing:?}") };
    let [image] = &images[..] else { panic!("one picture: {images:?}") };
    (image.clone(), seed)
}

/// The picture behind a link, fetched as the functions do.
async fn fetch(link: &str) -> Result<Vec<u8>, FetchError> {
    let policy = Policy {
        hosts: Vec::new(),
        local_origin: Some(setting("LOCAL_IMAGE_ORIGIN").parse().unwrap()),
        max_bytes: setting("MAX_IMAGE_BYTES").parse().unwrap(),
        stall: Duration::from_secs(5),
        total: Duration::from_secs(20),
    };
    let mut bytes = Vec::new();
    Guarded::new(policy).unwrap().fetch(link, &mut bytes).await.map(|_| bytes)
}

/// A prompt of this test alone.
fn words(what: &str) -> String {
    format!("{what} {}", Uuid::new_v4())
}

#[tokio::test]
async fn a_picture_is_made_by_whichever_provider_the_row_names() {
    let providers = providers();
    for (name, model) in ROWS {
        let provider = providers.named(name).unwrap();
        let prompt = words("a woman in Lisbon");
        let order = Order { prompt: &prompt, ..order(model) };
        let id = provider.submit(&order).await.unwrap();
        let (link, seed) = the_picture(end(provider, &id).await);
        assert_eq!(seed, Some(7), "{name}");
        let plain = fetch(&link).await.unwrap();
        let picture = image::load_from_memory(&plain).unwrap();
        assert_eq!((picture.width(), picture.height()), (832, 1248), "{name}");
        assert_eq!(made_for(name, order.job_id).await.len(), 1, "{name}");

        // The picture to start from is to be seen in what is made of it.
        let from_it = Order { job_id: JobId(Uuid::new_v4()), image_url: Some(&link), ..order };
        let id = provider.submit(&from_it).await.unwrap();
        let (link, _) = the_picture(end(provider, &id).await);
        assert_ne!(fetch(&link).await.unwrap(), plain, "{name}");

        provider.cancel(&id).await.unwrap();
        assert!(matches!(provider.standing(&id).await.unwrap(), Standing::Succeeded { .. }), "it was over");
    }
    assert!(providers.named("modal").is_none());
}

#[tokio::test]
async fn predictions_that_come_to_nothing_say_how() {
    let providers = providers();
    type Expected = fn(&Standing) -> bool;
    let refused: Expected = |standing| matches!(standing, Standing::Refused { .. });
    let retryable: Expected = |standing| matches!(standing, Standing::Failed { retryable: true, .. });
    let cases = [
        ("replicate", "replicate_fails", refused),
        ("replicate", "replicate_breaks", retryable),
        ("replicate", "replicate_aborted", retryable),
        ("fal", "fal_refuses", refused),
        ("fal", "fal_breaks", retryable),
    ];
    for (name, fault, expected) in cases {
        let (provider, model) = (providers.named(name).unwrap(), ROWS.iter().find(|row| row.0 == name).unwrap().1);
        let prompt = words(fault);
        next(fault, &prompt).await;
        let id = provider.submit(&Order { prompt: &prompt, ..order(model) }).await.unwrap();
        let standing = end(provider, &id).await;
        assert!(expected(&standing), "{fault}: {standing:?}");
    }
    let provider = providers.named("replicate").unwrap();
    let missing = Order { image_url: Some("http://127.0.0.1:9/gone.webp"), ..order(FLUX) };
    let id = provider.submit(&missing).await.unwrap();
    assert!(retryable(&end(provider, &id).await));
}

#[tokio::test]
async fn one_that_never_ends_is_seen_to_run_until_it_is_cancelled() {
    let providers = providers();
    for (name, model) in ROWS {
        let provider = providers.named(name).unwrap();
        let prompt = words("for ever");
        next(&format!("{name}_stalls"), &prompt).await;
        let order = Order { prompt: &prompt, ..order(model) };
        let id = provider.submit(&order).await.unwrap();
        assert_eq!(provider.standing(&id).await.unwrap(), Standing::Running { progress: Some(50) }, "{name}");
        provider.cancel(&id).await.unwrap();
        assert_eq!(provider.standing(&id).await.unwrap(), Standing::Cancelled, "{name}");
        provider.cancel(&id).await.unwrap();
        assert_eq!(made_for(name, order.job_id).await.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_a_prediction_that_is_found_instead_of_paid_for_again() {
    let providers = providers();
    for (name, model) in ROWS {
        let provider = providers.named(name).unwrap();
        let prompt = words("lost");
        // As long ago as fal needs to give up.
        let since = Timestamp::now() - SignedDuration::from_secs(200);
        let order = Order { prompt: &prompt, ..order(model) };
        let find = async || match provider.find(&order, since).await {
            Err(ModelError::Lost) if name == "fal" => None,
            found => found.unwrap(),
        };
        assert_eq!(find().await, None, "{name}");

        next(&format!("{name}_api_500"), &prompt).await;
        let error = provider.submit(&order).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { not_taken: false, .. }), "{name}: {error:?}");
        next(&format!("{name}_api_429"), &prompt).await;
        let error = provider.submit(&order).await.unwrap_err();
        let ModelError::Unavailable { retry_after, not_taken: true, .. } = error else { panic!("{name}: {error:?}") };
        assert_eq!(retry_after, Some(Duration::from_secs(1)), "{name}");
        assert_eq!(find().await, None, "{name}: nothing was made");

        next(&format!("{name}_api_lost"), &prompt).await;
        let error = provider.submit(&order).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { .. }), "{name}: {error:?}");
        let give_up = Instant::now() + Duration::from_secs(20);
        let id = loop {
            match find().await {
                Some(id) => break id,
                None => assert!(Instant::now() < give_up, "{name}: it is not found"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        the_picture(end(provider, &id).await);
        let made = made_for(name, order.job_id).await;
        assert_eq!(made.len(), 1, "{name}: {made:?}");
        assert_eq!(made[0]["idempotency_key"], order.job_id.to_string(), "{name}");
    }
}

#[tokio::test]
async fn links_that_lead_nowhere_or_too_far_are_seen_through() {
    let provider = providers().named("replicate").unwrap().clone();
    let prompt = words("a link");
    let id = provider.submit(&Order { prompt: &prompt, ..order(FLUX) }).await.unwrap();
    let (link, _) = the_picture(end(&provider, &id).await);
    next("image_gone", &prompt).await;
    assert!(matches!(fetch(&link).await.unwrap_err(), FetchError::Gone(_)));
    next("image_server_error", &prompt).await;
    assert!(matches!(fetch(&link).await.unwrap_err(), FetchError::Unavailable(_)));
    next("image_huge", &prompt).await;
    assert!(matches!(fetch(&link).await.unwrap_err(), FetchError::TooLarge(_)));
    next("image_not_an_image", &prompt).await;
    assert!(image::load_from_memory(&fetch(&link).await.unwrap()).is_err());
    assert!(image::load_from_memory(&fetch(&link).await.unwrap()).is_ok());
}

/// What came to a webhook: path and query, headers, body.
type Heard = Arc<Mutex<Vec<(Option<String>, HeaderMap, Vec<u8>)>>>;

/// A receiver of webhooks, which answers the first with 500.
async fn receiver() -> (Url, Heard) {
    let heard = Heard::default();
    let hears = heard.clone();
    let url = listen(move |asked: Asked| {
        let hears = hears.clone();
        async move {
            let mut hears = hears.lock().unwrap();
            let query = asked.uri().query().map(str::to_owned);
            hears.push((query, asked.headers().clone(), asked.body().to_vec()));
            told(if hears.len() == 1 { 500 } else { 200 }, "")
        }
    })
    .await;
    (url, heard)
}

async fn heard(heard: &Heard, times: usize) -> Vec<(Option<String>, HeaderMap, Vec<u8>)> {
    let give_up = Instant::now() + Duration::from_secs(20);
    while heard.lock().unwrap().len() < times {
        assert!(Instant::now() < give_up, "{times} webhooks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    heard.lock().unwrap().clone()
}

#[tokio::test]
async fn a_webhook_is_signed_repeated_and_read_back_to_its_job() {
    let providers = providers();
    let provider = providers.named("replicate").unwrap();
    let key = webhook::Key::new(&setting("REPLICATE_WEBHOOK_SECRET").into()).unwrap();
    for (fault, times) in [(None, 2), (Some("replicate_webhook_twice"), 3)] {
        let (url, hears) = receiver().await;
        let order = Order { webhook: Some(&url), ..order(FLUX) };
        if let Some(fault) = fault {
            next(fault, &order.job_id.to_string()).await;
        }
        let id = provider.submit(&order).await.unwrap();
        let heard = heard(&hears, times).await;
        let mut ids = BTreeSet::new();
        for (query, headers, body) in &heard {
            assert!(webhook::verify(&key, headers, body, Timestamp::now()));
            let notice = webhook::read(query.as_deref(), body).unwrap().unwrap();
            assert_eq!((notice.job_id, notice.prediction_id), (order.job_id, id.clone()));
            ids.insert(headers["webhook-id"].to_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), times - 1, "the one that was answered 500 came again under its id");
    }
}

#[tokio::test]
async fn webhooks_come_too_early_forged_or_not_at_all() {
    let providers = providers();
    let provider = providers.named("replicate").unwrap();
    let key = webhook::Key::new(&setting("REPLICATE_WEBHOOK_SECRET").into()).unwrap();

    let (url, early) = receiver().await;
    let order = Order { webhook: Some(&url), ..order(FLUX) };
    next("replicate_webhook_early", &order.job_id.to_string()).await;
    let id = provider.submit(&order).await.unwrap();
    let (query, headers, body) = early.lock().unwrap().first().unwrap().clone();
    assert!(webhook::verify(&key, &headers, &body, Timestamp::now()));
    assert_eq!(webhook::read(query.as_deref(), &body).unwrap().unwrap().prediction_id, id, "before we knew it");

    let (url, forged) = receiver().await;
    let order = Order { job_id: JobId(Uuid::new_v4()), webhook: Some(&url), ..order };
    next("replicate_webhook_forged", &order.job_id.to_string()).await;
    provider.submit(&order).await.unwrap();
    let (_, headers, body) = heard(&forged, 1).await.remove(0);
    assert!(!webhook::verify(&key, &headers, &body, Timestamp::now()));

    let (url, lost) = receiver().await;
    let order = Order { job_id: JobId(Uuid::new_v4()), webhook: Some(&url), ..order };
    next("replicate_webhook_lost", &order.job_id.to_string()).await;
    let id = provider.submit(&order).await.unwrap();
    the_picture(end(provider, &id).await);
    let made = made_for("replicate", order.job_id).await;
    assert_eq!((made.len(), &made[0]["webhooks"]), (1, &json!([])));
    assert!(lost.lock().unwrap().is_empty());
}
