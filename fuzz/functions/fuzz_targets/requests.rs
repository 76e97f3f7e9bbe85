//! Requests, from AWS's event to AWS's answer: every function that answers HTTP, with any path, query, headers and body.
//!
//! - It answers, and an error is a problem that our API knows (RFC 9457). Nothing is our own fault (500).
//! - Who shows no credentials is refused, and nobody is asked anything for her.
//! - What is refused has asked nobody. What is not asks for what this function asks first, as her, in texts that the database can
//!   keep. (The answer is "later", so that nothing else is done.)
//!
//! The input looks like HTTP: a line of method and target, lines of headers, an empty line, the body. `{credentials}` in a header
//! stands for what a genuine caller would send there; nothing could guess it. `{user}`, `{influencer}` stand for her ids.

#![no_main]

use std::{future::Future, pin::Pin, sync::LazyLock};

use auth::{callback_token, signature};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::id::InfluencerId;
use fuzz::{
    Asked, CALLBACK_HMAC_SECRET, CALLBACK_TOKEN_SECRET, JWT_SECRET, REPLICATE_WEBHOOK_SECRET, RUNTIME,
    STRIPE_WEBHOOK_SECRET, Upstream, encoded, hs256, settings,
};
use image_models::webhook;
use jiff::{SignedDuration, Timestamp};
use lambda_http::{
    Context, LambdaEvent, Service,
    http::{HeaderName, HeaderValue, Method},
    request::LambdaRequest,
};
use lambda_kit::http_service;
use libfuzzer_sys::{Corpus, fuzz_target};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use uuid::Uuid;

const USER: Uuid = Uuid::from_u128(0x5eed);
const INFLUENCER: InfluencerId = InfluencerId(Uuid::from_u128(0xface));
const MOST_CHARACTERS: usize = 8000;

static UPSTREAM: LazyLock<Upstream> =
    LazyLock::new(|| Upstream::start(|_| ("503 Service Unavailable", "{}".to_owned())));

/// How one shows who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callers {
    /// By a user's token.
    Users,
    /// Likewise, or not at all.
    Anybody,
    /// By a callback token, or a signature.
    N8n,
    /// By a signature.
    Stripe,
    /// By a signature.
    Replicate,
}
use Callers::{Anybody, N8n, Replicate, Stripe, Users};

type Answering = Pin<Box<dyn Future<Output = Value>>>;

/// A function behind a route.
struct Route {
    method: &'static str,
    path: &'static str,
    callers: Callers,
    /// What it may ask, by path.
    asks: &'static [&'static str],
    answer: Box<dyn Fn(LambdaEvent<LambdaRequest>) -> Answering + Send + Sync>,
}

macro_rules! route {
    ($method:literal $path:literal $function:ident $callers:ident $asks:expr) => {{
        let config = $function::Config::read(&settings(&UPSTREAM.url)).expect("its settings");
        let service = http_service($function::Deps::new(config).expect("its clients"), $function::handle);
        Route {
            method: $method,
            path: $path,
            callers: $callers,
            asks: &$asks,
            answer: Box::new(move |event| {
                let mut service = service.clone();
                Box::pin(async move {
                    let answer = service.call(event).await.expect("an answer");
                    serde_json::to_value(answer).expect("an answer in JSON")
                })
            }),
        }
    }};
}

/// As in template.yaml; function URLs have a path of their own here.
static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    vec![
        route!("POST" "/influencers" create_influencer Users ["/rest/v1/rpc/request_influencer"]),
        route!("GET" "/dashboard" get_dashboard Users ["/rest/v1/rpc/dashboard"]),
        route!("POST" "/checkout-sessions" create_checkout_session Users ["/rest/v1/rpc/checkout_context"]),
        route!("POST" "/billing-portal-sessions" create_portal_session Users ["/rest/v1/stripe_customers"]),
        route!("GET" "/credit-history" get_credit_history Users ["/rest/v1/credits_ledger"]),
        route!("DELETE" "/me" delete_account Users ["/rest/v1/rpc/begin_account_deletion"]),
        route!("GET" "/me/export" export_account Users ["/rest/v1/rpc/export_account"]),
        route!("POST" "/uploads" create_upload Users ["/rest/v1/rpc/announce_upload"]),
        route!("GET" "/generation-options" get_generation_options Users ["/rest/v1/rpc/generation_options"]),
        route!("POST" "/generation-jobs" create_generation_job Users ["/rest/v1/rpc/create_generation_job"]),
        route!("GET" "/generation-jobs" list_generation_jobs Users ["/rest/v1/rpc/generation_jobs_of"]),
        route!("GET" "/generation-jobs/{id}" get_generation_job Users ["/rest/v1/rpc/generation_jobs_of"]),
        route!("DELETE" "/generation-jobs/{id}" cancel_generation_job Users ["/rest/v1/rpc/cancel_generation_job"]),
        route!("POST" "/generation-jobs/{id}/retry" retry_generation_job Users ["/rest/v1/rpc/retry_generation_job"]),
        route!("GET" "/images" list_images Anybody ["/rest/v1/rpc/grid"]),
        route!("PUT" "/images/{id}/published" publish_image Users ["/rest/v1/rpc/publish_image"]),
        route!("DELETE" "/images/{id}/published" publish_image Users ["/rest/v1/rpc/publish_image"]),
        route!("PUT" "/images/{id}/like" like_image Users ["/rest/v1/rpc/like_image"]),
        route!("DELETE" "/images/{id}/like" like_image Users ["/rest/v1/rpc/like_image"]),
        route!("POST" "/images/{id}/reports" report_image Users ["/rest/v1/rpc/report_image"]),
        route!("PUT" "/images/{id}/hidden" hide_image Users ["/rest/v1/rpc/hide_image"]),
        route!("DELETE" "/images/{id}/hidden" hide_image Users ["/rest/v1/rpc/hide_image"]),
        route!("POST" "/n8n" n8n_callback N8n ["/rest/v1/rpc/record_callback", "/rest/v1/rpc/fail_influencer"]),
        // Of an invoice with many lines the lines are asked for, by the invoice's id.
        route!("POST" "/stripe" stripe_webhook Stripe
            ["/rest/v1/rpc/begin_stripe_event", "/rest/v1/rpc/apply_stripe_event", "/v1/invoices/"]),
        route!("POST" "/replicate" replicate_webhook Replicate []),
    ]
});

/// A request, read from the input.
struct Sent {
    route: &'static Route,
    /// Whether it has the credentials that its route wants.
    genuine: bool,
    event: Value,
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(Sent { route, genuine, event }) = read(data) else { return Corpus::Reject };
    let payload: LambdaRequest = serde_json::from_value(event).expect("an event as AWS sends it");
    let answer = RUNTIME.block_on((route.answer)(LambdaEvent::new(payload, Context::default())));
    let asked = UPSTREAM.take();

    let status = answer["statusCode"].as_u64().expect("a status");
    assert!(genuine || route.callers == Anybody || (status == 401 && asked.is_empty()), "{status}, {asked:?}");
    if status == 200 {
        // What means nothing to us; everything else would have had to ask.
        assert!(matches!(route.callers, Stripe | Replicate) && asked.is_empty());
        return Corpus::Keep;
    }
    let code = problem(&answer, status);
    match (status, code.as_str()) {
        (400 | 401 | 404 | 422, _) => assert!(asked.is_empty(), "{status} {code}, and it asked: {asked:?}"),
        (503, "database_unavailable" | "stripe_unavailable") => assert!(!asked.is_empty()),
        // An event of which we cannot read the object; it is kept first, or Stripe sends it again.
        _ => panic!("{answer}"),
    }
    for asked in &asked {
        checked(route, asked);
    }
    Corpus::Keep
});

/// The code of a problem that is one.
fn problem(answer: &Value, status: u64) -> String {
    let headers = &answer["headers"];
    assert_eq!(
        (&headers["content-type"], &headers["cache-control"]),
        (&json!("application/problem+json"), &json!("no-store"))
    );
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).expect("a problem in JSON");
    assert_eq!(body["status"], json!(status));
    for error in body["errors"].as_array().into_iter().flatten() {
        assert!(
            ["pointer", "code", "detail"].iter().all(|name| error[name].as_str().is_some_and(|text| !text.is_empty()))
        );
    }
    body["code"].as_str().expect("its code").to_owned()
}

/// What is asked: where, as whom, in which words.
fn checked(route: &Route, asked: &Asked) {
    let path = asked.url.path();
    let known = route.asks.iter().any(|known| path == *known || known.ends_with('/') && path.starts_with(known));
    assert!(known, "{} {} asks {path}", route.method, route.path);
    for (name, value) in asked.url.query_pairs() {
        let ours = ["select", "order", "limit", "id", "user_id"].contains(&&*name) || route.callers == Stripe;
        assert!(ours, "{name}={value} in a query of ours");
        assert!(name != "user_id" || value == format!("eq.{USER}"), "it asks as {value}");
    }
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    assert!(body["p_user_id"].is_null() || body["p_user_id"] == json!(USER), "it asks as {}", body["p_user_id"]);
    // Events of Stripe's are kept as they are.
    if route.callers != Stripe {
        for text in body.as_object().into_iter().flat_map(Map::values).filter_map(Value::as_str) {
            assert!(!text.contains('\0') && text.chars().count() <= MOST_CHARACTERS, "{text:?}");
        }
    }
}

/// The event that AWS would make of the input; `None` for what would not get as far as that.
fn read(data: &[u8]) -> Option<Sent> {
    let end = data.windows(2).position(|window| window == b"\n\n")?;
    let (head, body) = (str::from_utf8(&data[..end]).ok()?, &data[end + 2..]);
    let ids = |text: &str| text.replace("{user}", &USER.to_string()).replace("{influencer}", &INFLUENCER.to_string());
    let body = match str::from_utf8(body) {
        Ok(text) => ids(text).into_bytes(),
        Err(_) => body.to_vec(),
    };
    let head = ids(head);
    let mut lines = head.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    method.parse::<Method>().ok()?;
    let (route, id) = ROUTES.iter().find_map(|route| Some((route, named(route, method, path)?)))?;

    let (mut headers, mut genuine) = (Map::new(), false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: HeaderName = name.parse().ok()?;
        let value = value.trim();
        let credentials =
            value.contains("{credentials}").then(|| credentials(route.callers, name.as_str(), &body)).flatten();
        genuine |= credentials.is_some();
        let value = value.replace("{credentials}", &credentials.unwrap_or_default());
        HeaderValue::from_str(&value).ok()?;
        headers.insert(name.as_str().to_owned(), json!(value));
    }
    if route.callers == Replicate {
        genuine = replicate_signs(&mut headers, &body);
        // It would go to the queue, which is not here; what is asked of it is no more than which job it names.
        if let (true, Ok(Some(notice))) = (genuine, webhook::read(Some(query), &body)) {
            assert!(query.contains("job="), "{notice:?}");
            return None;
        }
    }
    // AWS says these itself.
    for (name, value) in
        [("host", "api.example.com"), ("x-forwarded-proto", "https"), ("x-amzn-trace-id", "Root=1-2-3")]
    {
        headers.insert(name.to_owned(), json!(value));
    }
    let (base64, body) = match String::from_utf8(body) {
        Ok(text) => (false, text),
        Err(bytes) => (true, STANDARD.encode(bytes.as_bytes())),
    };
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let event = json!({
        "version": "2.0", "routeKey": format!("{method} {}", route.path), "rawPath": decoded, "rawQueryString": query,
        "headers": headers, "pathParameters": id.map(|id| json!({ "id": id })), "isBase64Encoded": base64, "body": body,
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "api.example.com", "domainPrefix": "api", "requestId": "r-1",
            "http": { "method": method, "path": decoded, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "" },
            "routeKey": "", "stage": "$default", "time": "21/Nov/2026:10:00:00 +0000", "timeEpoch": 1795255200000_i64,
        },
    });
    Some(Sent { route, genuine, event })
}

/// What stands for `{id}` in a path, if it is one of this route.
fn named(route: &Route, method: &str, path: &str) -> Option<Option<String>> {
    let (mut id, mut parts) = (None, path.split('/'));
    for wanted in route.path.split('/') {
        let part = parts.next()?;
        match wanted {
            "{id}" if !part.is_empty() => id = Some(percent_decode_str(part).decode_utf8_lossy().into_owned()),
            wanted if wanted == part => {}
            _ => return None,
        }
    }
    (parts.next().is_none() && route.method == method).then_some(id)
}

/// What a genuine caller sends in this header, if anything.
fn credentials(callers: Callers, header: &str, body: &[u8]) -> Option<String> {
    let now = Timestamp::now();
    match (callers, header) {
        (Users | Anybody, "authorization") => {
            let claims =
                json!({ "sub": USER, "aud": "authenticated", "role": "authenticated", "exp": now.as_second() + 60 });
            let token = encoded(br#"{"alg":"HS256"}"#, claims.to_string().as_bytes(), |message| {
                hs256(JWT_SECRET.as_bytes(), message)
            });
            Some(format!("Bearer {token}"))
        }
        (N8n, "authorization") => {
            let scope = callback_token::Scope { influencer_id: INFLUENCER, attempt: 1, trace: None };
            let token = callback_token::issue(&CALLBACK_TOKEN_SECRET.into(), scope, now, SignedDuration::from_mins(1));
            Some(format!("Bearer {}", token.expect("a token")))
        }
        (N8n, "x-signature") => Some(signature::sign(&CALLBACK_HMAC_SECRET.into(), now, body)),
        (Stripe, "stripe-signature") => Some(signature::sign(&STRIPE_WEBHOOK_SECRET.into(), now, body)),
        (Replicate, "webhook-signature") => Some("replaced once all headers are known".to_owned()),
        _ => None,
    }
}

/// Signs as Replicate does, if that is wanted.
fn replicate_signs(headers: &mut Map<String, Value>, body: &[u8]) -> bool {
    if headers.get("webhook-signature").and_then(Value::as_str) != Some("replaced once all headers are known") {
        return false;
    }
    let now = Timestamp::now().as_second().to_string();
    let key = STANDARD.decode(&REPLICATE_WEBHOOK_SECRET["whsec_".len()..]).expect("base64");
    let tag = hs256(&key, &[b"msg_1.", now.as_bytes(), b".", body].concat());
    headers.insert("webhook-id".to_owned(), json!("msg_1"));
    headers.insert("webhook-timestamp".to_owned(), json!(now));
    headers.insert("webhook-signature".to_owned(), json!(format!("v1,{}", STANDARD.encode(tag))));
    true
}
