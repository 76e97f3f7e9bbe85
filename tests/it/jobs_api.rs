//! Generation jobs over HTTP: asking, looking, cancelling, trying again, what there is to choose; that credits are reserved and
//! given back once, that the hourly limit holds, and that nobody sees another's.

use std::{collections::HashMap, sync::Arc};

use domain::generation::Status;
use futures_util::future::{join, join_all};
use jiff::Timestamp;
use lambda_http::{Request, RequestExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use uuid::Uuid;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    checkout::user_of,
    credits::{balance, rpc},
    doubles::{Mode, Proxy},
    stack::{
        Answer, User, cancel_generation_job, create_generation_job, dashboard, database, drain, get_generation_job,
        get_generation_options, image_pending, list_generation_jobs, own_queue, request, retry_generation_job, setting,
    },
};

/// A wish that is granted: one credit.
pub fn wish() -> Value {
    json!({ "prompt": "A red dress at a garden party", "model_preset": "fashion_model_v1", "pose_preset": "standing",
            "scene_preset": "studio", "generation_type": "standard" })
}

/// The same with other fields.
fn wish_with(change: Value) -> Value {
    let mut wish = wish();
    wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    wish
}

/// The functions that ask for jobs, with a queue that nobody works on.
pub struct Desk {
    pub create: Arc<create_generation_job::Deps>,
    pub retry: Arc<retry_generation_job::Deps>,
    pub queue: String,
}

impl Desk {
    pub async fn new() -> Self {
        let queue = own_queue().await;
        let create = create_generation_job(|config| config.generation_queue_url = queue.parse().unwrap());
        let retry = retry_generation_job(|config| config.generation_queue_url = queue.parse().unwrap());
        Self { create, retry, queue }
    }

    pub async fn ask(&self, user: &User, wish: Value, key: Option<&str>) -> Answer {
        create_generation_job::handle(self.create.clone(), order(user, wish, key)).await.into()
    }

    /// Asks for what is granted; answers the job's id.
    pub async fn job(&self, user: &User) -> Uuid {
        let answer = self.ask(user, wish(), None).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        id(&answer.body["job_id"])
    }

    async fn retry(&self, user: &User, job: impl ToString) -> Answer {
        retry_generation_job::handle(self.retry.clone(), about("POST", user, job)).await.into()
    }

    /// The jobs of the messages in the queue, taken out.
    async fn queued(&self) -> Vec<Uuid> {
        drain(&self.queue).await.iter().map(|message| id(&message["job_id"])).collect()
    }
}

fn order(user: &User, wish: Value, key: Option<&str>) -> Request {
    let mut request = request("POST", "/generation-jobs", Some(&user.token), wish.to_string());
    if let Some(key) = key {
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    }
    request
}

/// A request about one job.
pub fn about(method: &str, user: &User, job: impl ToString) -> Request {
    let parameters = HashMap::from([("id".to_owned(), job.to_string())]);
    request(method, "/generation-jobs/x", Some(&user.token), ()).with_path_parameters(parameters)
}

async fn get(user: &User, job: impl ToString) -> Answer {
    get_generation_job::handle(get_generation_job(|_| {}), about("GET", user, job)).await.into()
}

/// The job as its user sees it.
async fn seen(user: &User, job: Uuid) -> Value {
    let answer = get(user, job).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn cancel(user: &User, job: impl ToString) -> Answer {
    cancel_generation_job::handle(cancel_generation_job(|_| {}), about("DELETE", user, job)).await.into()
}

async fn list(user: &User, before: Option<&str>) -> Answer {
    let request = request("GET", "/generation-jobs", Some(&user.token), ());
    let query: HashMap<String, String> = before.map(|id| ("before".to_owned(), id.to_owned())).into_iter().collect();
    let request = request.with_query_string_parameters(query);
    list_generation_jobs::handle(list_generation_jobs(|_| {}), request).await.into()
}

async fn options(user: &User) -> Value {
    let request = request("GET", "/generation-options", Some(&user.token), ());
    let answer = Answer::from(get_generation_options::handle(get_generation_options(|_| {}), request).await);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn id(value: &Value) -> Uuid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no id"))
}

/// A refusal's status and code, and that nothing came of the request.
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code.as_str()), (status, code), "{answer:?}");
}

/// The bad fields of an answer, as pointer and code.
fn fields(answer: &Answer) -> Vec<(String, String)> {
    refused(answer, 422, "invalid_fields");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer.body.as_array().unwrap().iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect()
}

/// A user with so many credits more than a new one's four.
async fn user_with(credits: i32) -> User {
    let user = User::new().await;
    let present = json!({ "p_user_id": user.id, "p_amount": credits, "p_business_key": format!("present:{}", user.id),
                          "p_description": "A present" });
    assert_eq!(rpc("grant_credits", present).await["outcome"], "done");
    user
}

/// Puts a user on a plan of her own, with so many jobs in an hour.
async fn limit(user: &User, jobs_per_hour: i32) {
    let plan = "insert into public.plans (id, name, credits, jobs_per_hour) values ($1::uuid::text, 'Own', 0, $2)";
    let db = database().await;
    db.execute(plan, &[&user.id, &jobs_per_hour]).await.unwrap();
    db.execute("update public.users set plan = id::text where id = $1", &[&user.id]).await.unwrap();
}

async fn count(select: &str, of: Uuid) -> i64 {
    database().await.query_one(select, &[&of]).await.unwrap().get(0)
}

async fn jobs_of(user: &User) -> i64 {
    count("select count(*) from public.generation_jobs where user_id = $1", user.id).await
}

/// What a worker does.
async fn claim(job: Uuid) -> Value {
    rpc("claim_generation_job", json!({ "p_job_id": job, "p_token": Uuid::new_v4(), "p_lease_seconds": 60 })).await
}

/// What a worker does in the end.
pub async fn fail(job: Uuid) {
    let failure =
        json!({ "p_job_id": job, "p_token": Uuid::new_v4(), "p_code": "refused", "p_message": "The model declined." });
    assert_eq!(rpc("fail_generation_job", failure).await["outcome"], "failed");
}

/// Answers where the original lies.
async fn complete(user: &User, job: Uuid) -> String {
    let key = format!("outputs/{}/{job}/original.png", user.id);
    let output = json!({ "object_key": key, "content_type": "image/png", "bytes": 5, "width": 832, "height": 1216,
                         "blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj", "seed": 7 });
    let done = rpc("complete_generation_job", json!({ "p_job_id": job, "p_output": output.to_string() })).await;
    assert_eq!(done["outcome"], "completed");
    key
}

/// An upload of the user's, as register-upload leaves it: checked, or not yet.
async fn upload(user: &User, checked: bool) -> Uuid {
    let insert = "insert into public.assets (user_id, content_type, filename, bytes, width, height, blurhash, verified_at)
                  values ($1, 'image/png', 'dress.png', 5, 64, 96, 'LEHV6nWB2yk8', case when $2 then now() end) returning id";
    database().await.query_one(insert, &[&user.id, &checked]).await.unwrap().get(0)
}

/// A user whose character is complete, and the character's id.
async fn with_character() -> (User, Uuid) {
    let (user, her) = image_pending().await;
    let lock =
        "update public.influencers set state = 'ready', is_locked = true, created_at = now(), initial_image_url = 'u'
                 where id = $1";
    database().await.execute(lock, &[&her]).await.unwrap();
    (user, her)
}

// --- Asking ---

#[tokio::test]
async fn asking_reserves_the_credits_at_once_and_queues_the_job() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let wish = wish_with(json!({ "prompt": "  A red\u{a0}dress, Zoe\u{308}  ", "generation_type": "high_quality" }));
    let answer = desk.ask(&user, wish, None).await;

    let job = id(&answer.body["job_id"]);
    let expected = json!({ "job_id": job, "status": "queued", "cost_credits": 2, "remaining_credits": 2 });
    assert_eq!((answer.status, &answer.body), (202, &expected));
    assert_eq!((balance(user.id).await, &dashboard(&user).await["credits"]), (2, &json!(2)));
    assert_eq!(drain(&desk.queue).await, [json!({ "job_id": job })]);

    let seen = seen(&user, job).await;
    let created_at = &seen["created_at"];
    assert!(created_at.as_str().unwrap().parse::<Timestamp>().is_ok(), "{seen}");
    let expected = json!({
        "id": job, "status": "queued", "prompt": "A red\u{a0}dress, Zoë", "input_asset_id": null, "influencer_id": null,
        "model_preset": "fashion_model_v1", "pose_preset": "standing", "scene_preset": "studio",
        "generation_type": "high_quality", "cost_credits": 2, "progress": null, "failure": null, "output": null,
        "image": null,
        "created_at": created_at, "started_at": null, "finished_at": null,
    });
    assert_eq!(seen, expected);
    assert_eq!(events(job).await, ["-> queued"]);
}

#[tokio::test]
async fn the_same_key_again_is_the_same_job() {
    let (desk, user, other) = (Desk::new().await, User::new().await, User::new().await);
    let first = desk.ask(&user, wish(), Some("click-1")).await;
    let job = id(&first.body["job_id"]);
    assert_eq!(first.status, 202);
    assert_eq!(desk.queued().await, [job]);

    let again = desk.ask(&user, wish_with(json!({ "generation_type": "high_quality" })), Some("click-1")).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(desk.queued().await, [job], "its message may be lost while it waits");

    assert_eq!(claim(job).await["outcome"], "claimed");
    let again = desk.ask(&user, wish(), Some("click-1")).await;
    assert_eq!((again.status, &again.body["status"]), (200, &json!("processing")));
    assert!(desk.queued().await.is_empty(), "somebody is at it");
    assert_eq!((balance(user.id).await, jobs_of(&user).await), (3, 1));

    let others = desk.ask(&other, wish(), Some("click-1")).await;
    assert_eq!(others.status, 202, "a key is its user's");
    assert_ne!(others.body["job_id"], first.body["job_id"]);
    assert_ne!(desk.job(&user).await, desk.job(&user).await, "without a key every request is one of its own");
}

#[tokio::test]
async fn fifty_requests_at_once_with_one_key_are_one_job_and_one_charge() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let answers = join_all((0..50).map(|_| desk.ask(&user, wish(), Some("click-1")))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 49);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!((balance(user.id).await, jobs_of(&user).await), (3, 1));
}

#[tokio::test]
async fn of_fifty_requests_at_once_the_hourly_limit_lets_ten_through() {
    let (desk, user) = (Desk::new().await, user_with(96).await);
    let answers = join_all((0..50).map(|_| desk.ask(&user, wish(), None))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 10);
    assert_eq!(answers.iter().filter(|answer| answer.code == "rate_limited").count(), 40);
    assert_eq!((balance(user.id).await, jobs_of(&user).await), (90, 10));
    assert_eq!(desk.queued().await.len(), 10);

    let oldest = "update public.generation_jobs set created_at = created_at - interval '1 hour' where id = (
                    select id from public.generation_jobs where user_id = $1 order by created_at limit 1)";
    database().await.execute(oldest, &[&user.id]).await.unwrap();
    let answers = join_all((0..10).map(|_| desk.ask(&user, wish(), None))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1, "one is an hour old");
}

#[tokio::test]
async fn of_fifty_requests_at_once_as_many_succeed_as_the_credits_pay() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let answers = join_all((0..50).map(|_| desk.ask(&user, wish(), None))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 4);
    assert_eq!(answers.iter().filter(|answer| answer.code == "insufficient_credits").count(), 46);
    assert_eq!((balance(user.id).await, jobs_of(&user).await), (0, 4));
}

#[tokio::test]
async fn the_hourly_limit_is_the_plans() {
    let (desk, user) = (Desk::new().await, User::new().await);
    limit(&user, 1).await;
    let job = desk.job(&user).await;
    refused(&desk.ask(&user, wish(), None).await, 429, "rate_limited");
    assert_eq!(cancel(&user, job).await.status, 200);
    refused(&desk.ask(&user, wish(), None).await, 429, "rate_limited");

    let none = User::new().await;
    limit(&none, 0).await;
    refused(&desk.ask(&none, wish(), None).await, 429, "rate_limited");
    assert_eq!(jobs_of(&none).await, 0);
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let bad = json!({ "prompt": "A 15 year old girl", "input_asset_id": "no id", "influencer_id": 7, "model_preset": null,
                      "pose_preset": "", "scene_preset": ["studio"] });
    let answer = desk.ask(&user, bad, Some("with blanks")).await;
    let expected = [
        ("Idempotency-Key", "invalid"),
        ("#/prompt", "describes_minor"),
        ("#/input_asset_id", "invalid"),
        ("#/influencer_id", "not_a_string"),
        ("#/influencer_id", "not_allowed"),
        ("#/model_preset", "missing"),
        ("#/pose_preset", "invalid"),
        ("#/scene_preset", "not_a_string"),
        ("#/generation_type", "missing"),
    ];
    assert_eq!(fields(&answer), expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));

    for (prompt, code) in [
        (json!(" "), "too_short"),
        (json!("x".repeat(1001)), "too_long"),
        (json!("two\nlines"), "control_characters"),
        (json!("a teenager in a red dress"), "describes_minor"),
        (json!(7), "not_a_string"),
    ] {
        let answer = desk.ask(&user, wish_with(json!({ "prompt": prompt })), None).await;
        assert_eq!(fields(&answer), [("#/prompt".to_owned(), code.to_owned())]);
    }
    for body in ["", "[]", "{", "7"] {
        let request = request("POST", "/generation-jobs", Some(&user.token), body);
        refused(&create_generation_job::handle(desk.create.clone(), request).await.into(), 400, "malformed_json");
    }
    assert_eq!((balance(user.id).await, jobs_of(&user).await), (4, 0));
    assert!(desk.queued().await.is_empty());
}

#[tokio::test]
async fn a_key_has_one_to_255_visible_characters() {
    let (desk, user) = (Desk::new().await, User::new().await);
    assert_eq!(desk.ask(&user, wish(), Some(&"k".repeat(255))).await.status, 202);
    for key in ["", "a b", "a\tb", &"k".repeat(256)] {
        let expected = [("Idempotency-Key".to_owned(), "invalid".to_owned())];
        assert_eq!(fields(&desk.ask(&user, wish(), Some(key)).await), expected, "{key:?}");
    }
    let mut latin = order(&user, wish(), None);
    latin.headers_mut().insert("idempotency-key", lambda_http::http::HeaderValue::from_bytes(b"caf\xe9").unwrap());
    assert_eq!(fields(&create_generation_job::handle(desk.create.clone(), latin).await.into()).len(), 1);
}

#[tokio::test]
async fn what_names_nothing_of_hers_is_unknown() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let (other, others_character) = with_character().await;
    let (unfinished, own_character) = image_pending().await;
    let withdrawn = format!("withdrawn-{}", user.id);
    database()
        .await
        .execute(
            "insert into public.model_presets (id, name, provider, model, offered) values ($1, 'Old', 'fal', 'm', false)",
            &[&withdrawn],
        )
        .await
        .unwrap();

    let none = json!({ "model_preset": withdrawn, "pose_preset": "no", "scene_preset": "no", "generation_type": "no",
                "input_asset_id": upload(&other, true).await });
    let all = ["input_asset_id", "model_preset", "pose_preset", "scene_preset", "generation_type"];
    let expected = all.map(|field| (format!("#/{field}"), "unknown".to_owned()));
    assert_eq!(fields(&desk.ask(&user, wish_with(none), None).await), expected);

    for (field, value, owner) in [
        ("input_asset_id", Uuid::new_v4(), &user),
        ("input_asset_id", upload(&user, false).await, &user),
        ("influencer_id", Uuid::new_v4(), &user),
        ("influencer_id", others_character, &user),
        ("influencer_id", own_character, &unfinished),
    ] {
        let answer = desk.ask(owner, wish_with(json!({ field: value })), None).await;
        assert_eq!(fields(&answer), [(format!("#/{field}"), "unknown".to_owned())], "{value}");
    }
    assert_eq!((balance(user.id).await, jobs_of(&user).await), (4, 0));
}

#[tokio::test]
async fn a_picture_starts_from_an_upload_or_shows_her_character() {
    let desk = Desk::new().await;
    let (user, her) = with_character().await;
    let dress = upload(&user, true).await;
    for (field, value) in [("input_asset_id", dress), ("influencer_id", her)] {
        let answer = desk.ask(&user, wish_with(json!({ field: value })), None).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(seen(&user, id(&answer.body["job_id"])).await[field], json!(value));
    }
    let both = wish_with(json!({ "input_asset_id": dress, "influencer_id": her }));
    let expected = [("#/influencer_id".to_owned(), "not_allowed".to_owned())];
    assert_eq!(fields(&desk.ask(&user, both, None).await), expected);
}

#[tokio::test]
async fn a_job_whose_message_could_not_be_sent_is_there_and_its_repetition_sends_it() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let gone = format!("{}-gone", desk.queue);
    let down = create_generation_job(|config| config.generation_queue_url = gone.parse().unwrap());
    let first = Answer::from(create_generation_job::handle(down, order(&user, wish(), Some("click-1"))).await);
    assert_eq!((first.status, &first.body["status"]), (202, &json!("queued")), "{first:?}");

    let job = id(&first.body["job_id"]);
    let swept = "select look_at <= now() + interval '2 minutes' from public.generation_jobs where id = $1";
    let swept: bool = database().await.query_one(swept, &[&job]).await.unwrap().get(0);
    assert!(swept, "the sweeper comes to it soon");
    assert_eq!(desk.ask(&user, wish(), Some("click-1")).await.status, 200);
    assert_eq!(desk.queued().await, [job]);
}

#[tokio::test]
async fn a_job_whose_answer_from_the_database_was_lost_is_charged_once() {
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let user = user_of(&proxy.origin).await;
    let queue = own_queue().await;
    let deps = create_generation_job(|config| {
        config.auth.supabase_url = proxy.origin.clone();
        config.generation_queue_url = queue.parse().unwrap();
    });
    proxy.set(Mode::LoseAnswerTo("create_generation_job"));
    let answer = Answer::from(create_generation_job::handle(deps.clone(), order(&user, wish(), None)).await);
    assert_eq!((answer.status, &answer.body["remaining_credits"]), (200, &json!(3)), "{answer:?}");
    assert_eq!((balance(user.id).await, jobs_of(&user).await), (3, 1));
    assert_eq!(drain(&queue).await.len(), 1);

    for mode in [Mode::Refuse, Mode::ServerError] {
        proxy.set(mode);
        let answer = Answer::from(create_generation_job::handle(deps.clone(), order(&user, wish(), None)).await);
        refused(&answer, 503, "database_unavailable");
    }
    assert_eq!(jobs_of(&user).await, 1);
}

#[tokio::test]
async fn nothing_is_made_for_an_account_that_is_gone() {
    let (desk, user) = (Desk::new().await, User::new().await);
    database().await.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    refused(&desk.ask(&user, wish(), None).await, 401, "unauthenticated");
    let request = request("GET", "/generation-options", Some(&user.token), ());
    let answer = get_generation_options::handle(get_generation_options(|_| {}), request).await;
    refused(&answer.into(), 401, "unauthenticated");
}

// --- Looking ---

#[tokio::test]
async fn a_job_is_seen_as_it_goes_and_its_picture_comes_as_links_that_work_for_an_hour() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let job = desk.job(&user).await;
    let token = Uuid::new_v4();
    rpc("claim_generation_job", json!({ "p_job_id": job, "p_token": token, "p_lease_seconds": 60 })).await;
    let release =
        json!({ "p_job_id": job, "p_token": token, "p_look_seconds": 60, "p_progress": 45, "p_again": false });
    assert_eq!(rpc("release_generation_job", release).await["outcome"], "released");
    let working = seen(&user, job).await;
    assert_eq!((&working["status"], &working["progress"]), (&json!("processing"), &json!(45)));
    assert!(working["started_at"].is_string() && working["finished_at"].is_null(), "{working}");

    let key = complete(&user, job).await;
    let folder = key.strip_suffix("original.png").unwrap();
    let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
    for name in ["screen.webp", "thumb.webp", "original.png"] {
        let put = s3.put_object().bucket(setting("MEDIA_BUCKET")).key(format!("{folder}{name}"));
        put.body(name.as_bytes().to_vec().into()).send().await.unwrap();
    }
    let done = seen(&user, job).await;
    assert_eq!((&done["status"], &done["progress"]), (&json!("completed"), &json!(100)));
    let output = &done["output"];
    assert_eq!((&output["width"], &output["height"]), (&json!(832), &json!(1216)));
    assert_eq!(output["blurhash"], "LEHV6nWB2yk8pyo0adR*.7kCMdnj");
    let expires: Timestamp = output["expires_at"].as_str().unwrap().parse().unwrap();
    let lifetime = expires.as_second() - Timestamp::now().as_second();
    assert!((3590..=3600).contains(&lifetime), "{lifetime}");

    let http = http_client::client(std::time::Duration::from_secs(5)).unwrap();
    for (link, name) in [("screen_url", "screen.webp"), ("thumb_url", "thumb.webp"), ("original_url", "original.png")] {
        let link = output[link].as_str().unwrap();
        assert!(link.contains("X-Amz-Expires=3600") && link.contains("X-Amz-Signature="), "{link}");
        let response = http.get(link).send().await.unwrap();
        let disposition = response.headers().get("content-disposition").map(|value| value.to_str().unwrap().to_owned());
        let saved_as = format!("attachment; filename=\"sweetheart-{}.png\"", id(&output["asset_id"]));
        assert_eq!(disposition, (name == "original.png").then_some(saved_as), "{name}");
        assert_eq!(response.bytes().await.unwrap(), name.as_bytes());
    }
    assert_eq!(list(&user, None).await.body["jobs"][0]["output"]["asset_id"], output["asset_id"]);
}

#[tokio::test]
async fn a_failed_job_says_why_and_its_credits_are_back() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let job = desk.job(&user).await;
    assert_eq!(balance(user.id).await, 3);
    fail(job).await;
    let failed = seen(&user, job).await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["failure"], json!({ "code": "refused", "message": "The model declined." }));
    assert_eq!(balance(user.id).await, 4);
}

#[tokio::test]
async fn the_list_has_no_gaps_and_no_repeats_while_new_ones_come() {
    let (desk, user) = (Desk::new().await, user_with(100).await);
    limit(&user, 1000).await;
    // Three at each moment.
    let insert = "insert into public.generation_jobs (user_id, prompt, model_preset, pose_preset, scene_preset,
                    generation_type, created_at)
                  values ($1, 'p', 'fashion_model_v1', 'standing', 'studio', 'standard',
                    now() - interval '1 day' * ($2::integer / 3)) returning id";
    let db = database().await;
    for n in 0..45 {
        db.query_one(insert, &[&user.id, &n]).await.unwrap();
    }
    let before_all: Vec<Uuid> = ids(&list_all(&user, async || {}).await);
    assert_eq!(before_all.len(), 45);

    let walked = ids(&list_all(&user, async || {
        join_all((0..3).map(|_| desk.job(&user))).await;
    })
    .await);
    assert_eq!(walked, before_all);
    let now = ids(&list_all(&user, async || {}).await);
    assert_eq!(now.len(), 54);
    assert!(now.ends_with(&before_all));
    assert_eq!(list(&user, Some(&now[53].to_string())).await.body, json!({ "jobs": [], "next": null }));
}

fn ids(jobs: &[Value]) -> Vec<Uuid> {
    jobs.iter().map(|job| id(&job["id"])).collect()
}

/// Walks through all pages; `meanwhile` comes after each.
async fn list_all(user: &User, meanwhile: impl AsyncFn()) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), None::<String>);
    loop {
        let page = list(user, next.as_deref()).await;
        assert_eq!(page.status, 200, "{page:?}");
        let jobs = page.body["jobs"].as_array().unwrap();
        assert!(jobs.len() == 20 || page.body["next"].is_null());
        all.extend(jobs.iter().cloned());
        meanwhile().await;
        match page.body["next"].as_str() {
            Some(id) => next = Some(id.to_owned()),
            None => return all,
        }
    }
}

#[tokio::test]
async fn a_cursor_is_an_id() {
    let user = User::new().await;
    assert_eq!(list(&user, None).await.body, json!({ "jobs": [], "next": null }));
    assert_eq!(fields(&list(&user, Some("yesterday")).await), [("?before".to_owned(), "invalid".to_owned())]);
}

#[tokio::test]
async fn nobody_finds_anothers_jobs() {
    let (desk, owner, other) = (Desk::new().await, User::new().await, User::new().await);
    let (job, failed) = (desk.job(&owner).await, desk.job(&owner).await);
    fail(failed).await;
    desk.queued().await;
    for job in [job.to_string(), failed.to_string(), Uuid::new_v4().to_string(), "1 or 1=1".to_owned(), String::new()] {
        refused(&get(&other, &job).await, 404, "no_such_job");
        refused(&cancel(&other, &job).await, 404, "no_such_job");
        refused(&desk.retry(&other, &job).await, 404, "no_such_job");
    }
    assert_eq!(list(&other, None).await.body, json!({ "jobs": [], "next": null }));
    let mine = desk.job(&other).await;
    assert_eq!(list(&other, Some(&job.to_string())).await.body, json!({ "jobs": [], "next": null }));
    assert_eq!(desk.queued().await, [mine]);
    assert_eq!(seen(&owner, job).await["status"], "queued");
    assert_eq!((balance(owner.id).await, balance(other.id).await), (3, 3));
}

#[tokio::test]
async fn reading_takes_one_round_trip_as_the_caller() {
    let empty = ResponseTemplate::new(200).set_body_json(json!([]));
    let options = json!({ "models": [], "poses": [], "scenes": [], "types": [], "uploads": [], "influencer": null, "credits": 4 });
    let options = ResponseTemplate::new(200).set_body_json(options);
    for (path, answer, status) in [
        ("/generation-jobs/{id}", &empty, 404),
        ("/generation-jobs", &empty, 200),
        ("/generation-options", &options, 200),
    ] {
        let postgrest = MockServer::start().await;
        Mock::given(any()).respond_with(answer.clone()).mount(&postgrest).await;
        let user = user_of(&postgrest.uri().parse().unwrap()).await;
        let url = || postgrest.uri().parse().unwrap();
        let asked = about("GET", &user, Uuid::new_v4());
        let answer = Answer::from(match path {
            "/generation-jobs/{id}" => {
                get_generation_job::handle(get_generation_job(|config| config.auth.supabase_url = url()), asked).await
            }
            "/generation-jobs" => {
                list_generation_jobs::handle(list_generation_jobs(|config| config.auth.supabase_url = url()), asked)
                    .await
            }
            _ => {
                get_generation_options::handle(get_generation_options(|config| config.auth.supabase_url = url()), asked)
                    .await
            }
        });
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let calls = postgrest.received_requests().await.unwrap();
        assert_eq!(calls.len(), 1, "{path}");
        assert_eq!(calls[0].headers["apikey"].to_str().unwrap(), setting("SUPABASE_PUBLISHABLE_KEY"));
        assert_eq!(calls[0].headers["authorization"].to_str().unwrap(), format!("Bearer {}", user.token));
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_a_503_for_all() {
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let user = user_of(&proxy.origin).await;
    let url = || proxy.origin.clone();
    proxy.set(Mode::ServerError);
    let asked = || about("GET", &user, Uuid::new_v4());
    for answer in [
        Answer::from(get_generation_job::handle(get_generation_job(|c| c.auth.supabase_url = url()), asked()).await),
        Answer::from(
            list_generation_jobs::handle(list_generation_jobs(|c| c.auth.supabase_url = url()), asked()).await,
        ),
        Answer::from(
            get_generation_options::handle(get_generation_options(|c| c.auth.supabase_url = url()), asked()).await,
        ),
        Answer::from(
            cancel_generation_job::handle(cancel_generation_job(|c| c.auth.supabase_url = url()), asked()).await,
        ),
        Answer::from(
            retry_generation_job::handle(retry_generation_job(|c| c.auth.supabase_url = url()), asked()).await,
        ),
    ] {
        refused(&answer, 503, "database_unavailable");
    }
}

// --- Choosing ---

#[tokio::test]
async fn there_is_to_choose_what_is_offered_and_what_is_hers() {
    let (user, her) = with_character().await;
    let (other, _) = with_character().await;
    upload(&other, true).await;
    let (dress, waiting, refused) = (upload(&user, true).await, upload(&user, false).await, upload(&user, false).await);
    let db = database().await;
    let reject = "update public.assets set rejected_code = 'not_what_it_claims' where id = $1";
    db.execute(reject, &[&refused]).await.unwrap();

    let seen = options(&user).await;
    let named = |list: &str| -> Vec<&Value> { seen[list].as_array().unwrap().iter().map(|one| &one["id"]).collect() };
    assert_eq!(named("models"), ["fashion_model_v1", "fashion_model_fal"]);
    assert_eq!(named("poses"), ["standing", "sitting", "walking"]);
    assert_eq!(named("scenes"), ["studio", "street", "beach"]);
    let types = json!([{ "id": "standard", "name": "Standard", "cost_credits": 1 },
                       { "id": "high_quality", "name": "High quality", "cost_credits": 2 }]);
    assert_eq!(seen["types"], types);
    assert_eq!((&seen["credits"], &seen["influencer"]), (&json!(4), &json!({ "id": her, "name": "Clara" })));

    let uploads = seen["uploads"].as_array().unwrap();
    let of = |id: Uuid| uploads.iter().find(|upload| upload["id"] == json!(id)).unwrap();
    assert_eq!(uploads.len(), 3);
    assert_eq!((&of(waiting)["verified"], &of(waiting)["thumb_url"]), (&json!(false), &Value::Null));
    assert_eq!(
        (&of(refused)["rejected_code"], &of(refused)["thumb_url"]),
        (&json!("not_what_it_claims"), &Value::Null)
    );
    let dress_seen = of(dress);
    assert_eq!((&dress_seen["verified"], &dress_seen["filename"]), (&json!(true), &json!("dress.png")));
    assert_eq!((&dress_seen["width"], &dress_seen["height"]), (&json!(64), &json!(96)));
    let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
    let thumb = format!("assets/{}/{dress}/thumb.webp", user.id);
    s3.put_object().bucket(setting("MEDIA_BUCKET")).key(thumb).body(b"thumb".to_vec().into()).send().await.unwrap();
    let http = http_client::client(std::time::Duration::from_secs(5)).unwrap();
    let link = dress_seen["thumb_url"].as_str().unwrap();
    assert_eq!(http.get(link).send().await.unwrap().bytes().await.unwrap(), "thumb");
    assert!(dress_seen["thumb_url_expires_at"].as_str().unwrap().parse::<Timestamp>().unwrap() > Timestamp::now());

    let (unfinished, _) = image_pending().await;
    assert_eq!(options(&unfinished).await["influencer"], Value::Null, "she is not ready");
}

// --- Cancelling ---

#[tokio::test]
async fn what_has_not_started_is_cancelled_and_its_credits_are_back_once() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let job = desk.job(&user).await;
    for _ in 0..2 {
        let answer = cancel(&user, job).await;
        let expected = json!({ "status": "cancelled", "remaining_credits": 4, "refunded": true });
        assert_eq!((answer.status, &answer.body), (200, &expected));
    }
    join_all((0..20).map(|_| cancel(&user, job))).await;
    assert_eq!((balance(user.id).await, &seen(&user, job).await["status"]), (4, &json!("cancelled")));
    assert_eq!(claim(job).await["outcome"], "finished", "its message finds it over");
    assert_eq!(events(job).await, ["-> queued", "queued -> cancelled"]);

    let by_itself =
        "insert into public.generation_jobs (user_id, prompt, model_preset, pose_preset, scene_preset, generation_type)
                     values ($1, 'p', 'fashion_model_v1', 'standing', 'studio', 'standard') returning id";
    let pending: Uuid = database().await.query_one(by_itself, &[&user.id]).await.unwrap().get(0);
    assert_eq!((balance(user.id).await, cancel(&user, pending).await.status), (3, 200));
    assert_eq!(balance(user.id).await, 4);
}

#[tokio::test]
async fn what_has_started_or_ended_is_not_cancelled() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let (job, failed) = (desk.job(&user).await, desk.job(&user).await);
    claim(job).await;
    refused(&cancel(&user, job).await, 409, "already_started");
    complete(&user, job).await;
    refused(&cancel(&user, job).await, 409, "already_finished");
    fail(failed).await;
    refused(&cancel(&user, failed).await, 409, "already_finished");
    assert_eq!(balance(user.id).await, 3, "what was made is paid, what failed is not");
}

#[tokio::test]
async fn cancelling_and_claiming_at_once_leaves_one_winner() {
    let (desk, user) = (Desk::new().await, user_with(96).await);
    limit(&user, 1000).await;
    let mut kept = 0;
    for _ in 0..20 {
        let job = desk.job(&user).await;
        let (cancelled, claimed) = join(cancel(&user, job), claim(job)).await;
        match cancelled.status {
            200 => assert_eq!(claimed["outcome"], "finished"),
            _ => {
                refused(&cancelled, 409, "already_started");
                assert_eq!(claimed["outcome"], "claimed");
                kept += 1;
            }
        }
    }
    assert_eq!(balance(user.id).await, 100 - kept);
}

// --- Trying again ---

#[tokio::test]
async fn what_failed_is_tried_again_as_one_new_job() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let dress = upload(&user, true).await;
    let wish =
        wish_with(json!({ "input_asset_id": dress, "generation_type": "high_quality", "scene_preset": "beach" }));
    let job = id(&desk.ask(&user, wish, None).await.body["job_id"]);
    fail(job).await;
    desk.queued().await;

    let answers = join_all((0..20).map(|_| desk.retry(&user, job))).await;
    let again = id(&answers[0].body["job_id"]);
    let expected = json!({ "job_id": again, "status": "queued", "cost_credits": 2, "remaining_credits": 2 });
    assert!(answers.iter().all(|answer| answer.body == expected), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    assert_eq!((balance(user.id).await, jobs_of(&user).await), (2, 2));
    assert!(desk.queued().await.iter().all(|queued| *queued == again));

    let (old, new) = (seen(&user, job).await, seen(&user, again).await);
    for field in
        ["prompt", "input_asset_id", "influencer_id", "model_preset", "pose_preset", "scene_preset", "generation_type"]
    {
        assert_eq!(old[field], new[field], "{field}");
    }
    assert_eq!(old["status"], "failed");

    fail(again).await;
    let same = desk.retry(&user, job).await;
    assert_eq!((same.status, &same.body["status"]), (200, &json!("failed")), "it has one retry");
    let third = desk.retry(&user, again).await;
    assert_eq!(third.status, 202, "which may be retried itself");
    assert_ne!(id(&third.body["job_id"]), again);
}

#[tokio::test]
async fn only_what_failed_is_tried_again_and_only_as_the_rules_are_now() {
    let (desk, user) = (Desk::new().await, user_with(1).await);
    let (done, cancelled, failed) = (desk.job(&user).await, desk.job(&user).await, desk.job(&user).await);
    refused(&desk.retry(&user, done).await, 409, "not_failed");
    claim(done).await;
    refused(&desk.retry(&user, done).await, 409, "not_failed");
    complete(&user, done).await;
    refused(&desk.retry(&user, done).await, 409, "not_failed");
    assert_eq!(cancel(&user, cancelled).await.status, 200);
    refused(&desk.retry(&user, cancelled).await, 409, "not_failed");

    fail(failed).await;
    let key = format!("retry:{failed}");
    assert_eq!(desk.ask(&user, wish(), Some(&key)).await.status, 202, "a client's key is not a retry's");
    let spend = json!({ "p_user_id": user.id, "p_amount": 3, "p_business_key": format!("spent:{}", user.id),
                        "p_description": "Spent" });
    assert_eq!(rpc("spend_credits", spend).await["outcome"], "done");
    refused(&desk.retry(&user, failed).await, 402, "insufficient_credits");
    limit(&user, 1).await;
    refused(&desk.retry(&user, failed).await, 429, "rate_limited");
    limit_off(&user).await;

    let scene = format!("withdrawn-{}", user.id);
    let db = database().await;
    let insert = "insert into public.scene_presets (id, name, prompt, offered) values ($1, 'Old', 'p', false)";
    db.execute(insert, &[&scene]).await.unwrap();
    db.execute("update public.generation_jobs set scene_preset = $2 where id = $1", &[&failed, &scene]).await.unwrap();
    assert_eq!(fields(&desk.retry(&user, failed).await), [("#/scene_preset".to_owned(), "unknown".to_owned())]);
}

async fn limit_off(user: &User) {
    database().await.execute("update public.users set plan = 'free' where id = $1", &[&user.id]).await.unwrap();
}

// --- Moves ---

/// A job's moves, as written by the database.
async fn events(job: Uuid) -> Vec<String> {
    let select = "select coalesce(from_status || ' ', '') || '-> ' || to_status from public.job_events where job_id = $1 order by id";
    database().await.query(select, &[&job]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// As in JSON.
fn name(status: Status) -> String {
    json!(status).as_str().unwrap().to_owned()
}

#[tokio::test]
async fn code_and_database_agree_on_every_move_and_nobody_makes_another() {
    let user = user_with(100).await;
    limit(&user, 1000).await;
    let db = database().await;
    for from in Status::ALL {
        for to in Status::ALL {
            let (from_name, to_name) = (name(from), name(to));
            let legal = db.query_one("select public.is_legal_move($1, $2)", &[&from_name, &to_name]).await.unwrap();
            assert_eq!(legal.get::<_, bool>(0), from.may_become(to), "{from_name} -> {to_name}");

            let insert = "insert into public.generation_jobs (user_id, prompt, model_preset, pose_preset, scene_preset,
                            generation_type, status, finished_at, failure_code)
                          values ($1, 'p', 'fashion_model_v1', 'standing', 'studio', 'standard', $2,
                            case when $3 then now() end, case when $2 = 'failed' then 'timed_out' end) returning id";
            let job: Uuid = db.query_one(insert, &[&user.id, &from_name, &from.is_final()]).await.unwrap().get(0);
            let update = "update public.generation_jobs set status = $2, finished_at = case when $3 then now() end,
                            failure_code = case when $2 = 'failed' then 'timed_out' end where id = $1";
            let moved = db.execute(update, &[&job, &to_name, &to.is_final()]).await;
            let first = format!("-> {from_name}");
            if from == to {
                assert_eq!((moved.unwrap(), events(job).await), (1, vec![first]), "no move, no event");
            } else if from.may_become(to) {
                assert_eq!((moved.unwrap(), events(job).await), (1, vec![first, format!("{from_name} -> {to_name}")]));
            } else {
                assert_eq!(moved.unwrap_err().code(), Some(&SqlState::CHECK_VIOLATION), "{from_name} -> {to_name}");
                assert_eq!(events(job).await, [first]);
            }
        }
    }
}

#[tokio::test]
async fn every_move_of_a_job_is_written_down_once() {
    let (desk, user) = (Desk::new().await, User::new().await);
    let (done, failed) = (desk.job(&user).await, desk.job(&user).await);
    for _ in 0..2 {
        claim(done).await;
    }
    complete(&user, done).await;
    fail(failed).await;
    assert_eq!(events(done).await, ["-> queued", "queued -> processing", "processing -> completed"]);
    assert_eq!(events(failed).await, ["-> queued", "queued -> failed"]);
}

// --- On the wire ---

#[tokio::test]
async fn refusals_say_on_the_wire_what_is_missing_and_how_long_to_wait() {
    let http = http_client::client(std::time::Duration::from_secs(30)).unwrap();
    let (desk, user) = (Desk::new().await, User::new().await);
    let call = async |method: Method, path: &str, body: Option<Value>| {
        let request = http.request(method, format!("{}{path}", setting("FUNCTIONS_URL"))).bearer_auth(&user.token);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let response = request.send().await.unwrap();
        let wait = response.headers().get("retry-after").map(|value| value.to_str().unwrap().parse::<u32>().unwrap());
        (response.status(), wait, response.json::<Value>().await.unwrap())
    };
    let (first, second, third) = (desk.job(&user).await, desk.job(&user).await, desk.job(&user).await);

    let expensive = wish_with(json!({ "generation_type": "high_quality" }));
    let (status, _, problem) = call(Method::POST, "/generation-jobs", Some(expensive.clone())).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYMENT_REQUIRED, &json!("insufficient_credits")));
    assert_eq!((&problem["credits"], &problem["cost"]), (&json!(1), &json!(2)));
    assert_eq!(problem["detail"], "You need 1 more credit for this picture.");

    limit(&user, 3).await;
    let age = "update public.generation_jobs set created_at = created_at - interval '20 minutes' where id = $1";
    database().await.execute(age, &[&first]).await.unwrap();
    let (status, wait, problem) = call(Method::POST, "/generation-jobs", Some(wish())).await;
    assert_eq!((status, &problem["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limited")));
    assert!((2390..=2400).contains(&wait.unwrap()), "{wait:?}");
    assert_eq!(problem["detail"], "That is all for this hour. Please try again in 40 minutes.");

    let (status, _, options) = call(Method::GET, "/generation-options", None).await;
    assert_eq!((status, &options["credits"]), (StatusCode::OK, &json!(1)));
    let (status, _, jobs) = call(Method::GET, &format!("/generation-jobs?before={third}"), None).await;
    assert_eq!((status, ids(jobs["jobs"].as_array().unwrap())), (StatusCode::OK, vec![second, first]));
    let (status, _, job) = call(Method::GET, &format!("/generation-jobs/{first}"), None).await;
    assert_eq!((status, &job["id"]), (StatusCode::OK, &json!(first)));
    let (status, _, problem) = call(Method::POST, &format!("/generation-jobs/{first}/retry"), None).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("not_failed")));
    let (status, _, cancelled) = call(Method::DELETE, &format!("/generation-jobs/{first}"), None).await;
    assert_eq!((status, &cancelled["remaining_credits"]), (StatusCode::OK, &json!(2)));
    let (status, _, problem) = call(Method::GET, "/generation-jobs/not-an-id", None).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("no_such_job")));
}
