//! What tests have in common: the settings, users, the functions in this process, and looks into database, bucket and queue.

use std::{
    fs::OpenOptions,
    sync::{Arc, Once},
};

use aws_sdk_s3::error::SdkError;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use lambda_http::{Body, Request, Response, http};
use lambda_kit::{ApiError, Message, Settings};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// A setting of the running parts.
pub fn setting(name: &'static str) -> String {
    log_to_the_stack();
    let hint = "run the tests by `make test`, which starts the parts that they need";
    Settings::from_env().text(name).unwrap_or_else(|error| panic!("{error}; {hint}"))
}

/// What functions log in this process goes, as in the cloud, where the stack looks through it when the tests are over (I9).
fn log_to_the_stack() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        if let Ok(path) = Settings::from_env().text("TESTS_LOG") {
            let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            lambda_http::tracing::init_default_subscriber_with_writer(Arc::new(file));
        }
    });
}

/// A connection to Postgres itself, past PostgREST and its rules.
pub async fn database() -> Client {
    database_at(&setting("DATABASE_URL")).await
}

/// The same, elsewhere.
pub async fn database_at(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Somebody who signed up and is logged in.
pub struct User {
    pub id: Uuid,
    pub email: String,
    pub token: String,
}

impl User {
    /// Signs her up behind auth's back, which is quick; the main job and the browser go through the front door.
    pub async fn new() -> Self {
        let id = Uuid::new_v4();
        let email = format!("{id}@example.com");
        let insert = "insert into auth.users (id, email, email_confirmed_at) values ($1, $2, now())";
        database().await.execute(insert, &[&id, &email]).await.unwrap();
        let token = user_token(&claims(id, &email));
        Self { id, email, token }
    }
}

/// The claims of an access token as Supabase's auth makes them.
pub fn claims(id: Uuid, email: &str) -> Value {
    let now = Timestamp::now().as_second();
    json!({
        "iss": format!("{}/auth/v1", setting("SUPABASE_URL")), "aud": "authenticated", "role": "authenticated", "sub": id,
        "email": email, "session_id": Uuid::new_v4(), "is_anonymous": false, "iat": now, "exp": now + 3600,
    })
}

/// Signs claims with the project's legacy secret.
pub fn user_token(claims: &Value) -> String {
    hs256(claims, &setting("SUPABASE_JWT_SECRET"))
}

/// Signs claims with any secret.
pub fn hs256(claims: &Value, secret: &str) -> String {
    // The provider of cryptography is chosen where the first verifier is built.
    let _ = auth::callback_token::verify(&"".into(), "");
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// A request as the HTTP API or a function URL hands it over.
pub fn request(method: &str, path: &str, token: Option<&str>, body: impl Into<Body>) -> Request {
    let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    request.body(body.into()).unwrap()
}

/// An answer or an error, as status, `code` and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub code: String,
    pub body: Value,
}

impl From<Result<Response<Body>, ApiError>> for Answer {
    fn from(result: Result<Response<Body>, ApiError>) -> Self {
        match result {
            Ok(response) => Self {
                status: response.status().as_u16(),
                code: String::new(),
                body: serde_json::from_slice(response.body()).unwrap(),
            },
            Err(error) => {
                // As serve_http does it, so that causes are looked through as well.
                lambda_http::tracing::info!(causes = error.causes(), "request refused");
                let (status, code) = (error.status().as_u16(), error.code().to_owned());
                Self { status, code, body: json!(error.errors()) }
            }
        }
    }
}

/// create-influencer with its real settings, changed by `change`.
pub fn create_influencer(change: impl FnOnce(&mut create_influencer::Config)) -> Arc<create_influencer::Deps> {
    let mut config = create_influencer::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(create_influencer::Deps::new(config).unwrap())
}

/// n8n-callback, likewise.
pub fn n8n_callback(change: impl FnOnce(&mut n8n_callback::Config)) -> Arc<n8n_callback::Deps> {
    let mut config = n8n_callback::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(n8n_callback::Deps::new(config).unwrap())
}

/// fetch-image, likewise.
pub fn fetch_image(change: impl FnOnce(&mut fetch_image::Config)) -> Arc<fetch_image::Deps> {
    let mut config = fetch_image::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(fetch_image::Deps::new(config).unwrap())
}

/// get-dashboard, likewise.
pub fn get_dashboard(change: impl FnOnce(&mut get_dashboard::Config)) -> Arc<get_dashboard::Deps> {
    let mut config = get_dashboard::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(get_dashboard::Deps::new(config).unwrap())
}

/// create-checkout-session, likewise.
pub fn create_checkout_session(
    change: impl FnOnce(&mut create_checkout_session::Config),
) -> Arc<create_checkout_session::Deps> {
    let mut config = create_checkout_session::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(create_checkout_session::Deps::new(config).unwrap())
}

/// create-portal-session, likewise.
pub fn create_portal_session(
    change: impl FnOnce(&mut create_portal_session::Config),
) -> Arc<create_portal_session::Deps> {
    let mut config = create_portal_session::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(create_portal_session::Deps::new(config).unwrap())
}

/// get-credit-history, likewise.
pub fn get_credit_history(change: impl FnOnce(&mut get_credit_history::Config)) -> Arc<get_credit_history::Deps> {
    let mut config = get_credit_history::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(get_credit_history::Deps::new(config).unwrap())
}

/// create-upload, likewise.
pub fn create_upload(change: impl FnOnce(&mut create_upload::Config)) -> Arc<create_upload::Deps> {
    let mut config = create_upload::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(create_upload::Deps::new(config).unwrap())
}

/// register-upload, likewise.
pub fn register_upload(change: impl FnOnce(&mut register_upload::Config)) -> Arc<register_upload::Deps> {
    let mut config = register_upload::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(register_upload::Deps::new(config).unwrap())
}

/// stripe-webhook, likewise.
pub fn stripe_webhook(change: impl FnOnce(&mut stripe_webhook::Config)) -> Arc<stripe_webhook::Deps> {
    let mut config = stripe_webhook::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(stripe_webhook::Deps::new(config).unwrap())
}

/// create-generation-job, likewise.
pub fn create_generation_job(
    change: impl FnOnce(&mut create_generation_job::Config),
) -> Arc<create_generation_job::Deps> {
    let mut config = create_generation_job::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(create_generation_job::Deps::new(config).unwrap())
}

/// retry-generation-job, likewise.
pub fn retry_generation_job(change: impl FnOnce(&mut retry_generation_job::Config)) -> Arc<retry_generation_job::Deps> {
    let mut config = retry_generation_job::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(retry_generation_job::Deps::new(config).unwrap())
}

/// cancel-generation-job, likewise.
pub fn cancel_generation_job(
    change: impl FnOnce(&mut cancel_generation_job::Config),
) -> Arc<cancel_generation_job::Deps> {
    let mut config = cancel_generation_job::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(cancel_generation_job::Deps::new(config).unwrap())
}

/// get-generation-job, likewise.
pub fn get_generation_job(change: impl FnOnce(&mut get_generation_job::Config)) -> Arc<get_generation_job::Deps> {
    let mut config = get_generation_job::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(get_generation_job::Deps::new(config).unwrap())
}

/// list-generation-jobs, likewise.
pub fn list_generation_jobs(change: impl FnOnce(&mut list_generation_jobs::Config)) -> Arc<list_generation_jobs::Deps> {
    let mut config = list_generation_jobs::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(list_generation_jobs::Deps::new(config).unwrap())
}

/// get-generation-options, likewise.
pub fn get_generation_options(
    change: impl FnOnce(&mut get_generation_options::Config),
) -> Arc<get_generation_options::Deps> {
    let mut config = get_generation_options::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(get_generation_options::Deps::new(config).unwrap())
}

/// process-generation-job, likewise.
pub fn process_generation_job(
    change: impl FnOnce(&mut process_generation_job::Config),
) -> Arc<process_generation_job::Deps> {
    let mut config = process_generation_job::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(process_generation_job::Deps::new(config).unwrap())
}

/// replicate-webhook, likewise.
pub fn replicate_webhook(change: impl FnOnce(&mut replicate_webhook::Config)) -> Arc<replicate_webhook::Deps> {
    let mut config = replicate_webhook::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(replicate_webhook::Deps::new(config).unwrap())
}

/// sweep-generation-jobs, likewise.
pub fn sweep_generation_jobs(
    change: impl FnOnce(&mut sweep_generation_jobs::Config),
) -> Arc<sweep_generation_jobs::Deps> {
    let mut config = sweep_generation_jobs::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(sweep_generation_jobs::Deps::new(config).unwrap())
}

/// check-invariants, likewise.
pub fn check_invariants(change: impl FnOnce(&mut check_invariants::Config)) -> Arc<check_invariants::Deps> {
    let mut config = check_invariants::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(check_invariants::Deps::new(config).unwrap())
}

/// clean-up, likewise.
pub fn clean_up(change: impl FnOnce(&mut clean_up::Config)) -> Arc<clean_up::Deps> {
    let mut config = clean_up::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(clean_up::Deps::new(config).unwrap())
}

/// list-images, likewise.
pub fn list_images(change: impl FnOnce(&mut list_images::Config)) -> Arc<list_images::Deps> {
    let mut config = list_images::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(list_images::Deps::new(config).unwrap())
}

/// publish-image, likewise.
pub fn publish_image(change: impl FnOnce(&mut publish_image::Config)) -> Arc<publish_image::Deps> {
    let mut config = publish_image::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(publish_image::Deps::new(config).unwrap())
}

/// like-image, likewise.
pub fn like_image(change: impl FnOnce(&mut like_image::Config)) -> Arc<like_image::Deps> {
    let mut config = like_image::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(like_image::Deps::new(config).unwrap())
}

/// report-image, likewise.
pub fn report_image(change: impl FnOnce(&mut report_image::Config)) -> Arc<report_image::Deps> {
    let mut config = report_image::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(report_image::Deps::new(config).unwrap())
}

/// hide-image, likewise.
pub fn hide_image(change: impl FnOnce(&mut hide_image::Config)) -> Arc<hide_image::Deps> {
    let mut config = hide_image::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(hide_image::Deps::new(config).unwrap())
}

/// export-account, likewise.
pub fn export_account(change: impl FnOnce(&mut export_account::Config)) -> Arc<export_account::Deps> {
    let mut config = export_account::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(export_account::Deps::new(config).unwrap())
}

/// delete-account, likewise.
pub fn delete_account(change: impl FnOnce(&mut delete_account::Config)) -> Arc<delete_account::Deps> {
    let mut config = delete_account::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(delete_account::Deps::new(config).unwrap())
}

/// erase-account, likewise.
pub fn erase_account(change: impl FnOnce(&mut erase_account::Config)) -> Arc<erase_account::Deps> {
    let mut config = erase_account::Config::read(&Settings::from_env()).unwrap();
    change(&mut config);
    Arc::new(erase_account::Deps::new(config).unwrap())
}

/// A body that create-influencer takes.
pub fn wish() -> String {
    json!({ "name": "Clara", "bio": "A 29 year old architect from Lisbon.", "vibe": "calm, curious" }).to_string()
}

/// Asks for a character as `user`.
pub async fn create(deps: &Arc<create_influencer::Deps>, user: &User) -> Answer {
    create_influencer::handle(deps.clone(), request("POST", "/influencers", Some(&user.token), wish())).await.into()
}

/// What the user sees.
pub async fn dashboard(user: &User) -> Value {
    let request = request("GET", "/dashboard", Some(&user.token), ());
    let answer = Answer::from(get_dashboard::handle(get_dashboard(|_| {}), request).await);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// The whole row of a user's influencer; null when there is none.
pub async fn row(user: &User) -> Value {
    let select = "select coalesce((select to_jsonb(i) from public.influencers i where user_id = $1), 'null')";
    database().await.query_one(select, &[&user.id]).await.unwrap().get(0)
}

/// A callback token as create-influencer would have issued it.
pub fn callback_token(influencer_id: Uuid, attempt: i32) -> String {
    let scope =
        auth::callback_token::Scope { influencer_id: domain::id::InfluencerId(influencer_id), attempt, trace: None };
    let secret = setting("CALLBACK_TOKEN_SECRET").into();
    auth::callback_token::issue(&secret, scope, Timestamp::now(), jiff::SignedDuration::from_secs(60)).unwrap()
}

/// A user whose set-up stands at `requested`, and her influencer's id; no workflow was started.
pub async fn requested() -> (User, Uuid) {
    let user = User::new().await;
    let insert = "insert into public.influencers (user_id, name, bio, vibe, deadline_at)
                  values ($1, 'Clara', 'An architect.', 'calm', now() + interval '10 minutes') returning id";
    let id = database().await.query_one(insert, &[&user.id]).await.unwrap().get(0);
    (user, id)
}

/// The same at `image_pending`.
pub async fn image_pending() -> (User, Uuid) {
    let (user, id) = requested().await;
    let update =
        "update public.influencers set state = 'image_pending', base_prompt = 'p', seed = 1, callback_digest = 'd'
                  where id = $1";
    database().await.execute(update, &[&id]).await.unwrap();
    (user, id)
}

/// The bytes and content type of an object in the media bucket; `None` when it is not there.
pub async fn object(key: &str) -> Option<(Vec<u8>, String)> {
    let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
    match s3.get_object().bucket(setting("MEDIA_BUCKET")).key(key).send().await {
        Ok(object) => {
            let content_type = object.content_type().unwrap_or_default().to_owned();
            Some((object.body.collect().await.unwrap().to_vec(), content_type))
        }
        Err(SdkError::ServiceError(error)) if error.err().is_no_such_key() => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// Where the image of an influencer would lie.
pub fn image_key(user: &User, influencer: Uuid, extension: &str) -> String {
    format!("users/{}/influencers/{influencer}/initial.{extension}", user.id)
}

/// A queue of a test's own, so that nobody else takes its messages; answers its URL.
pub async fn own_queue() -> String {
    let sqs = aws_sdk_sqs::Client::new(&aws_setup::sdk_config().await);
    sqs.create_queue().queue_name(format!("test-{}", Uuid::new_v4())).send().await.unwrap().queue_url.unwrap()
}

/// Everything that lies in a queue, taken out.
pub async fn drain(queue: &str) -> Vec<Value> {
    let sqs = aws_sdk_sqs::Client::new(&aws_setup::sdk_config().await);
    let mut bodies = Vec::new();
    loop {
        let received = sqs.receive_message().queue_url(queue).max_number_of_messages(10).send().await.unwrap();
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return bodies;
        }
        bodies.extend(messages.iter().map(|message| serde_json::from_str(message.body().unwrap()).unwrap()));
    }
}

/// A picture that decodes.
pub fn picture(format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let pixels = image::RgbImage::from_fn(64, 96, |x, y| image::Rgb([x as u8 * 4, y as u8 * 2, 90]));
    pixels.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// What the queue hands fetch-image the first time.
pub fn fetch_message(user: &User, id: Uuid, url: &str) -> Message<job_queue::FetchImage> {
    let body = job_queue::FetchImage {
        influencer_id: domain::id::InfluencerId(id),
        user_id: domain::id::UserId(user.id),
        attempt: 1,
        image_url: url.to_owned(),
    };
    Message { body, receive_count: 1 }
}
