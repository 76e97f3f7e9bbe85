//! What each function is called with, and what the systems answer that it asks: the way on which all goes well.

use std::{collections::BTreeMap, io::Cursor, path::Path};

use anyhow::{Context, ensure};
use hyper::body::Bytes;
use image::{ImageFormat, RgbImage};
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::{
    function::{Call, Environment},
    keys::{Issuer, callback_token, stripe_signature, webhook_signature},
    upstream::{Answer, Pace, Route, Upstream},
};

/// The callback token's, the webhooks' and Supabase's: made up.
const SECRET: &str = "bWFkZSB1cCBmb3IgbWVhc3VyaW5nIG9ubHk=";

const USER: Uuid = Uuid::from_u128(0x5e1f_8c1e_6f0d_4c6e_9d53_0f2b_7c3f_6a11);
const OTHER: Uuid = Uuid::from_u128(0x059f_36b4_87a3_44ab_83d2_6619_7511_0000);
const BEFORE: &str = "2026-11-21T10:00:00Z";
const MUCH_LATER: &str = "2099-11-21T10:00:00Z";

/// One way on which a function is called.
pub struct Case {
    /// The function.
    pub function: &'static str,
    /// A file below `events/`.
    pub event: &'static str,
    /// What sets it apart from the function's other cases.
    pub what: &'static str,
    /// Whether it reads or makes pictures: then it is their pixels that take the time.
    pub draws: bool,
    /// Answers of its own, which come before everybody's.
    answers: fn() -> Vec<Route>,
}

/// All of them, at least one of each function; of several the first stands for the function.
pub const CASES: [Case; 31] = [
    case("cancel-generation-job", "cancelled"),
    case("check-invariants", "tick"),
    case("clean-up", "uploads"),
    case("create-checkout-session", "plan"),
    case("create-generation-job", "accepted"),
    case("create-influencer", "accepted"),
    case("create-portal-session", "never-bought"),
    case("create-upload", "announced"),
    case("delete-account", "leaving"),
    case("erase-account", "one"),
    case("export-account", "seen"),
    Case { draws: true, ..case("fetch-image", "one") },
    case("get-credit-history", "seen"),
    case("get-dashboard", "seen"),
    case("get-generation-job", "seen"),
    case("get-generation-options", "seen"),
    case("hide-image", "not-an-admin"),
    case("like-image", "liked"),
    case("list-generation-jobs", "seen"),
    case("list-images", "seen"),
    case("n8n-callback", "made"),
    Case { what: "begins", ..case("process-generation-job", "one") },
    Case { what: "brings the picture", draws: true, answers: made, ..case("process-generation-job", "one") },
    case("publish-image", "published"),
    Case { what: "makes copies", draws: true, ..case("register-upload", "one") },
    Case { what: "was done before", answers: verified, ..case("register-upload", "one") },
    case("replicate-webhook", "done"),
    case("report-image", "reported"),
    case("retry-generation-job", "asked-again"),
    case("stripe-webhook", "pack-paid"),
    case("sweep-generation-jobs", "tick"),
];

const fn case(function: &'static str, event: &'static str) -> Case {
    Case { function, event, what: "", draws: false, answers: Vec::new }
}

impl Case {
    /// As it is called in tables.
    pub fn name(&self) -> String {
        if self.what.is_empty() { self.function.to_owned() } else { format!("{}, {}", self.function, self.what) }
    }

    /// The systems around the function, its settings and its event.
    pub async fn stage(&self, pace: Pace) -> anyhow::Result<Stage> {
        self.stage_with((self.answers)(), pace).await
    }

    /// The same, where some answers are others.
    pub async fn stage_with(&self, mut routes: Vec<Route>, pace: Pace) -> anyhow::Result<Stage> {
        let issuer = Issuer::new()?;
        let routes = |origin: &Url| {
            routes.extend(everybodys_answers(&issuer, origin)?);
            Ok(routes)
        };
        let upstream = Upstream::start(routes, pace).await?;
        let environment = environment(&upstream.origin);
        let event = self.read_event(&issuer, &upstream.origin)?;
        Ok(Stage { upstream, environment, event })
    }

    fn read_event(&self, issuer: &Issuer, origin: &Url) -> anyhow::Result<Bytes> {
        let path = format!("{}/../events/{}/{}.json", env!("CARGO_MANIFEST_DIR"), self.function, self.event);
        let mut text = std::fs::read_to_string(Path::new(&path)).with_context(|| format!("failed to read {path}"))?;
        let now = Timestamp::now().as_second().to_string();
        for (name, value) in [
            ("access_token", issuer.access_token(origin, USER)?),
            ("callback_token", callback_token(SECRET, OTHER)?),
            ("image_id", OTHER.to_string()),
            ("image_url", format!("{origin}picture.png")),
            ("influencer_id", OTHER.to_string()),
            ("job_id", OTHER.to_string()),
            ("object_key", upload_key()),
            ("user_id", USER.to_string()),
            ("webhook_timestamp", now.clone()),
        ] {
            text = text.replace(&format!("{{{{{name}}}}}"), &value);
        }
        // What is signed must be whole by now.
        let event: Value = serde_json::from_str(&text)?;
        let body = event["body"].as_str().unwrap_or_default();
        let id = event["headers"]["webhook-id"].as_str().unwrap_or_default();
        let text = text.replace("{{stripe_signature}}", &stripe_signature(&whsec(), body));
        Ok(text.replace("{{webhook_signature}}", &webhook_signature(SECRET, id, &now, body)?).into())
    }

    /// Whether it went as it should.
    pub fn went_well(&self, call: &Call) -> anyhow::Result<()> {
        let answer: Value = serde_json::from_slice(&call.body)?;
        let well = match (&answer["statusCode"], &answer["batchItemFailures"]) {
            (Value::Number(status), _) => status.as_u64().is_some_and(|status| status < 300),
            (_, Value::Array(failed)) => failed.is_empty(),
            _ => answer.is_null(),
        };
        ensure!(well, "{} answered {answer}", self.name());
        Ok(())
    }
}

/// A case, ready to be played.
pub struct Stage {
    /// The systems that it asks.
    pub upstream: Upstream,
    /// Its settings.
    pub environment: Environment,
    /// What it is called with.
    pub event: Bytes,
}

fn whsec() -> String {
    format!("whsec_{SECRET}")
}

/// The settings of all functions, each system of which is at `origin`.
fn environment(origin: &Url) -> Environment {
    let base = origin.as_str().trim_end_matches('/').to_owned();
    let at = |path: &str| format!("{base}/{path}");
    BTreeMap::from([
        ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
        ("AWS_ENDPOINT_URL", base.clone()),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
        ("CALLBACK_HMAC_SECRET", SECRET.to_owned()),
        ("CALLBACK_TOKEN_SECRET", SECRET.to_owned()),
        ("CALLBACK_URL", at("callback")),
        ("ERASURE_QUEUE_URL", at("queue")),
        ("GENERATION_MAX_RECEIVE_COUNT", "4".to_owned()),
        ("GENERATION_QUEUE_URL", at("queue")),
        ("IMAGE_HOSTS", "replicate.delivery".to_owned()),
        ("IMAGE_MAX_RECEIVE_COUNT", "4".to_owned()),
        ("IMAGE_QUEUE_URL", at("queue")),
        ("LOCAL_IMAGE_ORIGIN", base.clone()),
        ("MAX_IMAGE_BYTES", "52428800".to_owned()),
        ("MEDIA_BASE_URL", at("media")),
        ("MEDIA_BUCKET", "media".to_owned()),
        ("N8N_WEBHOOK_SECRET", SECRET.to_owned()),
        ("N8N_WEBHOOK_URL", at("webhook")),
        ("REPLICATE_API_TOKEN", "bench".to_owned()),
        ("REPLICATE_API_URL", base.clone()),
        ("REPLICATE_WEBHOOK_SECRET", whsec()),
        ("REPLICATE_WEBHOOK_URL", at("replicate")),
        ("SETUP_DEADLINE_SECONDS", "600".to_owned()),
        ("SITE_ORIGINS", "https://gptsweetheart.com".to_owned()),
        ("STRIPE_API_URL", base.clone()),
        ("STRIPE_LIVEMODE", "false".to_owned()),
        ("STRIPE_SECRET_KEY", "bench".to_owned()),
        ("STRIPE_WEBHOOK_SECRET", whsec()),
        ("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_bench".to_owned()),
        ("SUPABASE_SECRET_KEY", "sb_secret_bench".to_owned()),
        ("SUPABASE_URL", base),
    ])
}

fn upload_key() -> String {
    format!("uploads/{USER}/{OTHER}.png")
}

/// A picture as small as one can be that is worth the name.
pub fn picture(format: ImageFormat) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_fn(64, 96, |x, y| image::Rgb([x as u8 * 4, y as u8 * 2, 90])).write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

fn rpc(name: &str, answer: Value) -> Route {
    (format!("POST /rest/v1/rpc/{name}"), vec![Answer::json(answer)])
}

fn get(path: &str, answer: Value) -> Route {
    (format!("GET /{path}"), vec![Answer::json(answer)])
}

fn post(path: &str, answer: Value) -> Route {
    (format!("POST /{path}"), vec![Answer::json(answer)])
}

/// The prediction was made before, and the picture is there.
fn made() -> Vec<Route> {
    vec![rpc("claim_generation_job", json!({ "outcome": "claimed", "job": claimed(Some("p1")) }))]
}

/// The upload was registered before.
fn verified() -> Vec<Route> {
    vec![get("rest/v1/assets", json!([upload(Some(BEFORE))]))]
}

fn upload(verified_at: Option<&str>) -> Value {
    json!({ "object_key": upload_key(), "content_type": "image/png", "verified_at": verified_at, "rejected_code": null })
}

fn claimed(prediction_id: Option<&str>) -> Value {
    json!({
        "id": OTHER, "user_id": USER, "provider": "replicate", "model": "black-forest-labs/flux-1.1-pro",
        "prompt": "A red dress at a garden party", "preset_prompts": ["standing", "in a studio"], "base_prompt": null,
        "base_seed": 7, "base_image_url": null, "input_asset_id": null, "prediction_id": prediction_id, "predictions": 0,
        "submitted_before": null, "past_deadline": false,
    })
}

fn everybodys_answers(issuer: &Issuer, origin: &Url) -> anyhow::Result<Vec<Route>> {
    let her = json!({
        "id": OTHER, "user_id": USER, "name": "Clara", "bio": "A 29 year old architect from Lisbon.", "vibe": "calm, curious",
        "state": "requested", "attempt": 1, "requested_at": BEFORE, "deadline_at": MUCH_LATER,
    });
    let last_hour = json!({
        "bought": 0, "given": 4, "spent": 1, "refunded": 0, "clawed_back": 0, "adjusted": 0, "timed_out": 0,
    });
    let summary = json!({ "id": OTHER, "user_id": USER, "status": "queued", "cost_credits": 1 });
    let asked = json!({ "outcome": "created", "job": summary, "remaining_credits": 3 });
    let job = json!({
        "id": OTHER, "status": "completed", "prompt": "A red dress at a garden party", "input_asset_id": null,
        "influencer_id": null, "model_preset": "fashion_model_v1", "pose_preset": "standing", "scene_preset": "studio",
        "generation_type": "standard", "cost_credits": 1, "progress": 100, "failure_code": null, "failure_message": null,
        "created_at": BEFORE, "started_at": BEFORE, "finished_at": BEFORE, "image": null, "output": {
            "asset_id": OTHER, "object_key": format!("outputs/{USER}/{OTHER}/original.png"), "width": 1024, "height": 1536,
            "blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
        },
    });
    let in_grid = json!({
        "id": OTHER, "object_key": format!("outputs/{USER}/{OTHER}/original.png"), "prompt": "A red dress at a garden party",
        "likes_count": 3, "character_name": "Clara", "width": 1024, "height": 1536, "published_at": BEFORE,
        "blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj", "liked": false, "mine": false,
    });
    let line = json!({
        "id": 7, "tx_type": "grant", "amount": 4, "balance_after": 4, "description": "Free credits", "created_at": BEFORE,
    });
    let of_hers = json!({
        "id": OTHER, "name": "Clara", "bio": "A 29 year old architect from Lisbon.", "vibe": "calm, curious", "state": "ready",
        "requested_at": BEFORE, "deadline_at": BEFORE, "failure_code": null, "failure_message": null, "created_at": BEFORE,
        "initial_image_url": format!("{origin}media/users/{USER}/influencers/{OTHER}/initial.png"),
    });
    let dashboard = json!({
        "id": USER, "plan": "free", "plan_name": "Free", "credits": 4, "subscription": null, "can_manage_billing": false,
        "offers": { "plans": [], "packs": [] }, "influencer": of_hers,
    });
    let options = json!({ "uploads": [{
        "id": OTHER, "filename": "dress.png", "width": 64, "height": 96, "blurhash": null, "verified": true,
        "rejected_code": null, "created_at": BEFORE,
    }], "credits": 4, "models": [], "poses": [], "scenes": [] });
    let no_more = json!({ "object": "list", "data": [], "has_more": false });
    let session = json!({
        "id": "cs_1", "mode": "subscription", "status": "open", "payment_status": "unpaid", "metadata": {},
        "url": "https://checkout.stripe.com/c/1", "expires_at": 4_000_000_000u32, "created": 1_795_255_200,
    });
    let listed = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                  <Name>media</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>";
    let missing = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code></Error>";
    let source = json!({ "bytes": 184_320, "width": 64, "height": 96 }).to_string();
    let copy = Answer { header: ("x-amz-meta-source", source), ..Answer::bytes(picture(ImageFormat::WebP)?) };
    let png = || anyhow::Ok(vec![Answer::bytes(picture(ImageFormat::Png)?)]);
    Ok(vec![
        get("auth/v1/.well-known/jwks.json", issuer.key_set()),
        get("rest/v1/assets", json!([upload(None)])),
        get("rest/v1/credits_ledger", Value::from(vec![line; 26])),
        get("rest/v1/influencers", json!([{ "state": "image_pending", "attempt": 1, "failure_code": null }])),
        get("rest/v1/stripe_customers", json!([{ "customer_id": "cus_1" }])),
        rpc("account_deletion", json!({ "outcome": "leaving", "customer_ids": ["cus_1"] })),
        rpc("announce_upload", json!({ "outcome": "announced", "asset_id": OTHER, "object_key": upload_key() })),
        rpc("apply_stripe_event", json!({ "outcome": "granted" })),
        rpc("begin_account_deletion", json!({ "outcome": "leaving" })),
        rpc("cancel_generation_job", json!({ "outcome": "cancelled", "remaining_credits": 4 })),
        rpc(
            "checkout_context",
            json!({ "outcome": "ok", "customer_id": "cus_1", "price_id": "price_1", "credits": 20 }),
        ),
        rpc("claim_generation_job", json!({ "outcome": "claimed", "job": claimed(None) })),
        rpc("complete_generation_job", json!({ "outcome": "completed" })),
        rpc("create_generation_job", asked.clone()),
        rpc("dashboard", dashboard),
        rpc("delete_old_uploads", json!(0)),
        rpc("export_account", json!({ "user": { "id": USER }, "credits_ledger": vec![7; 25] })),
        rpc("finish_account_deletion", json!({ "outcome": "finished" })),
        rpc("forget_orphaned_objects", json!(1)),
        rpc("generation_jobs_of", Value::from(vec![job; 21])),
        rpc("generation_options", options),
        rpc("grid", Value::from(vec![in_grid; 25])),
        rpc(
            "hide_image",
            json!({ "outcome": "done", "hidden_at": BEFORE, "hidden_reason": "It shows a real person." }),
        ),
        rpc("like_image", json!({ "outcome": "done", "likes_count": 4 })),
        rpc("lock_influencer", json!({ "outcome": "locked" })),
        rpc("note_prediction", json!({ "outcome": "noted" })),
        rpc("orphaned_object_keys", json!([format!("uploads/{USER}/{OTHER}.png")])),
        rpc("publish_image", json!({ "outcome": "done", "published_at": BEFORE })),
        rpc("record_callback", json!({ "outcome": "recorded", "influencer": her })),
        rpc("report_image", json!({ "outcome": "reported" })),
        rpc("request_influencer", json!({ "outcome": "started", "influencer": her })),
        rpc("retry_generation_job", asked),
        rpc("settle_upload", json!({ "outcome": "verified" })),
        rpc("broken_invariants", json!([])),
        rpc("last_hour", last_hour),
        rpc("sweep_account_deletions", json!([])),
        rpc("sweep_generation_jobs", json!({ "due": [OTHER], "failed": 0 })),
        // Stripe, Replicate, n8n, SQS.
        get("v1/checkout/sessions", no_more.clone()),
        get("v1/subscriptions", no_more),
        post("v1/checkout/sessions", session),
        post("v1/billing_portal/sessions", json!({ "url": "https://billing.stripe.com/p/1" })),
        post("v1/models/*", json!({ "id": "p1", "status": "starting" })),
        get(
            "v1/predictions/p1",
            json!({ "id": "p1", "status": "succeeded", "output": format!("{origin}picture.png") }),
        ),
        post("webhook", json!({})),
        post("", json!({ "MessageId": "059f36b4-87a3-44ab-83d2-661975110000", "MD5OfMessageBody": "0" })),
        // Replicate's pictures, and S3.
        ("GET /picture.png".to_owned(), png()?),
        ("GET /media".to_owned(), vec![Answer::bytes(listed)]),
        ("GET /media/".to_owned(), vec![Answer::bytes(listed)]),
        (format!("GET /media/{}", upload_key()), png()?),
        // Not there before it was made.
        (
            format!("GET /media/assets/{USER}/{OTHER}/image.webp"),
            vec![Answer { status: 404, ..Answer::bytes(missing) }, copy],
        ),
        ("PUT /media/*".to_owned(), vec![Answer::bytes("")]),
        ("DELETE /media/*".to_owned(), vec![Answer { status: 204, ..Answer::bytes("") }]),
    ])
}
