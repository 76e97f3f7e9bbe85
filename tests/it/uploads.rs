//! Uploads: the form, what it lets through, and what becomes of the bytes that come.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use aws_sdk_s3::{error::SdkError, primitives::ByteStream};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use image::{GenericImageView, ImageFormat};
use jiff::Timestamp;
use lambda_kit::Message;
use media_store::{FORM_LIFETIME, MediaStore, Source};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};
use uuid::Uuid;

use crate::{
    doubles::{Mode, Proxy},
    events::event,
    stack::{Answer, User, create_upload, database, picture, register_upload, request, setting},
    worker::{Worker, queued},
};

const MAX_BYTES: usize = 10 << 20;

fn dress() -> Value {
    json!({ "filename": "dress.png", "content_type": "image/png", "size": 184_320 })
}

/// Asks for a form as `user`.
async fn announce(user: &User, body: &Value) -> Answer {
    let request = request("POST", "/uploads", Some(&user.token), body.to_string());
    create_upload::handle(create_upload(|_| {}), request).await.into()
}

/// A bucket of a test's own: nobody else hears of what gets into it.
pub struct Bucket {
    name: String,
    client: aws_sdk_s3::Client,
}

impl Bucket {
    async fn new() -> Self {
        let name = format!("test-{}", Uuid::new_v4());
        let client = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
        client.create_bucket().bucket(&name).send().await.unwrap();
        Self { name, client }
    }

    async fn put(&self, key: &str, bytes: &[u8]) {
        let body = ByteStream::from(bytes.to_vec());
        self.client.put_object().bucket(&self.name).key(key).body(body).send().await.unwrap();
    }

    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(object) => Some(object.body.collect().await.unwrap().to_vec()),
            Err(SdkError::ServiceError(error)) if error.err().is_no_such_key() => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn keys(&self) -> Vec<String> {
        let list = self.client.list_objects_v2().bucket(&self.name).send().await.unwrap();
        list.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    /// register-upload, for this bucket.
    pub fn deps(&self) -> Arc<register_upload::Deps> {
        register_upload(|config| config.media_bucket = self.name.clone())
    }

    /// A picture of it, decoded.
    async fn picture(&self, key: &str) -> image::DynamicImage {
        let bytes = self.get(key).await.unwrap_or_else(|| panic!("no {key}"));
        image::load_from_memory_with_format(&bytes, ImageFormat::WebP).unwrap()
    }
}

/// An upload that was announced, in a bucket of its own.
pub struct Upload {
    pub bucket: Bucket,
    user: User,
    id: Uuid,
    pub key: String,
}

impl Upload {
    async fn announced(content_type: &str) -> Self {
        let user = User::new().await;
        let insert = "insert into public.assets (user_id, content_type) values ($1, $2) returning id, object_key";
        let row = database().await.query_one(insert, &[&user.id, &content_type]).await.unwrap();
        Self { bucket: Bucket::new().await, user, id: row.get(0), key: row.get(1) }
    }

    /// The same, with these bytes in the bucket.
    pub async fn with(content_type: &str, bytes: &[u8]) -> Self {
        let upload = Self::announced(content_type).await;
        upload.bucket.put(&upload.key, bytes).await;
        upload
    }

    /// What S3 says of it.
    fn event(&self) -> Value {
        made(&self.key)
    }

    async fn register(&self) -> Result<(), String> {
        register_upload::handle(self.bucket.deps(), told(&self.event())).await.map_err(|error| format!("{error:#}"))
    }

    /// Its row; null when it is gone.
    async fn row(&self) -> Value {
        let select = "select coalesce((select to_jsonb(a) from public.assets a where id = $1), 'null')";
        database().await.query_one(select, &[&self.id]).await.unwrap().get(0)
    }

    fn copy_key(&self) -> String {
        format!("assets/{}/{}/image.webp", self.user.id, self.id)
    }

    fn thumb_key(&self) -> String {
        format!("assets/{}/{}/thumb.webp", self.user.id, self.id)
    }

    /// A process of register-upload that is told of it.
    async fn worker(&self, environment: &[(&str, &str)]) -> Worker {
        let bucket = [("MEDIA_BUCKET", self.bucket.name.as_str())];
        Worker::run("register-upload", &queued(&self.event()), &[&bucket, environment].concat()).await
    }

    async fn is_verified(&self) {
        let row = self.row().await;
        assert!(row["verified_at"].is_string() && row["rejected_code"].is_null(), "{row}");
        let expected = BTreeSet::from([self.copy_key(), self.thumb_key(), self.key.clone()]);
        assert_eq!(BTreeSet::from_iter(self.bucket.keys().await), expected);
    }

    async fn is_rejected(&self, code: &str, case: &str) {
        let row = self.row().await;
        assert_eq!((&row["rejected_code"], &row["verified_at"]), (&json!(code), &Value::Null), "{case}: {row}");
        assert!(self.bucket.keys().await.is_empty(), "{case}: {:?}", self.bucket.keys().await);
    }
}

/// What S3 says of a new object.
fn made(key: &str) -> Value {
    json!({ "Records": [{ "eventName": "ObjectCreated:Post", "s3": { "object": { "key": key, "size": 1, "eTag": "e" } } }] })
}

/// The same as a message of the queue.
fn told(body: &Value) -> Message<register_upload::Notification> {
    Message { body: serde_json::from_value(body.clone()).unwrap(), receive_count: 1 }
}

/// A GIF of one pixel.
fn gif() -> Vec<u8> {
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x20\x40\x60\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
        .to_vec()
}

/// One of each kind, with what it is.
fn pictures() -> [(&'static str, Vec<u8>); 4] {
    [
        ("image/jpeg", picture(ImageFormat::Jpeg)),
        ("image/png", picture(ImageFormat::Png)),
        ("image/webp", picture(ImageFormat::WebP)),
        ("image/gif", gif()),
    ]
}

/// A picture of one colour.
fn plain(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(width, height, image::Rgb(colour)).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A form as a browser sends it: the fields in any order, the file last.
fn multipart(fields: &BTreeMap<String, String>, file: &[u8]) -> (String, Vec<u8>) {
    let boundary = format!("----{}", Uuid::new_v4().simple());
    let part = |name: &str| format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"");
    let mut body: Vec<u8> =
        fields.iter().flat_map(|(name, value)| format!("{}\r\n\r\n{value}\r\n", part(name)).into_bytes()).collect();
    let head = format!("{}; filename=\"x\"\r\nContent-Type: application/octet-stream\r\n\r\n", part("file"));
    body.extend([head.as_bytes(), file, format!("\r\n--{boundary}--\r\n").as_bytes()].concat());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

fn fields(form: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(form["fields"].clone()).unwrap()
}

fn policy(fields: &BTreeMap<String, String>) -> Value {
    serde_json::from_slice(&BASE64_STANDARD.decode(&fields["policy"]).unwrap()).unwrap()
}

#[tokio::test]
async fn a_picture_that_is_posted_by_the_form_becomes_usable() {
    let http = http_client::client(Duration::from_secs(30)).unwrap();
    let user = User::new().await;
    for (content_type, bytes) in pictures() {
        let body = json!({ "filename": "C:\\fakepath\\dress", "content_type": content_type, "size": bytes.len() });
        let request = http.post(format!("{}/uploads", setting("FUNCTIONS_URL"))).bearer_auth(&user.token);
        let response = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(response.status(), 201);
        let form: Value = response.json().await.unwrap();
        let (multipart_type, body) = multipart(&fields(&form), &bytes);
        let request = http.post(form["url"].as_str().unwrap()).header("content-type", multipart_type).body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 204, "{}", response.text().await.unwrap());

        // The bucket tells the queue, the queue has a function process look at it.
        let id: Uuid = form["asset_id"].as_str().unwrap().parse().unwrap();
        let looking = async {
            loop {
                let select = "select to_jsonb(a) from public.assets a where id = $1";
                let row: Value = database().await.query_one(select, &[&id]).await.unwrap().get(0);
                assert_eq!(row["rejected_code"], Value::Null, "{row}");
                if !row["verified_at"].is_null() {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let row = tokio::time::timeout(Duration::from_secs(60), looking).await.expect("nobody looked at it");
        let (width, height) = if content_type == "image/gif" { (1, 1) } else { (64, 96) };
        assert_eq!(
            (&row["content_type"], &row["bytes"], &row["width"], &row["height"], &row["filename"]),
            (&json!(content_type), &json!(bytes.len()), &json!(width), &json!(height), &json!("dress"))
        );
        assert!(row["blurhash"].as_str().unwrap().len() >= 6, "{row}");
        for name in ["image", "thumb"] {
            let key = format!("assets/{}/{id}/{name}.webp", user.id);
            let (bytes, stored_type) = crate::stack::object(&key).await.unwrap();
            assert_eq!(stored_type, "image/webp");
            let copy = image::load_from_memory_with_format(&bytes, ImageFormat::WebP).unwrap();
            assert_eq!(copy.dimensions(), (width, height), "small ones are not enlarged");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_of_every_field_at_once() {
    let user = User::new().await;
    for (body, expected) in [
        (json!({}), vec!["filename missing", "content_type missing", "size missing"]),
        (
            json!({ "filename": null, "content_type": null, "size": null }),
            vec!["filename missing", "content_type missing", "size missing"],
        ),
        (
            json!({ "filename": 1, "content_type": [], "size": "1" }),
            vec!["filename not_a_string", "content_type not_a_string", "size not_a_size"],
        ),
        (
            json!({ "filename": " ", "content_type": "image/svg+xml", "size": 0 }),
            vec!["filename too_short", "content_type unsupported", "size too_small"],
        ),
        (
            json!({ "filename": "x".repeat(201), "content_type": "text/html", "size": MAX_BYTES + 1 }),
            vec!["filename too_long", "content_type unsupported", "size too_large"],
        ),
        (
            json!({ "filename": "a/b/\u{7}", "content_type": "image/png; x", "size": -1 }),
            vec!["filename too_short", "content_type unsupported", "size not_a_size"],
        ),
    ] {
        let answer = announce(&user, &body).await;
        assert_eq!((answer.status, answer.code.as_str()), (422, "invalid_fields"), "{body}");
        let errors = answer.body.as_array().unwrap().iter();
        let said: Vec<_> = errors
            .map(|error| format!("{} {}", &error["pointer"].as_str().unwrap()[2..], error["code"].as_str().unwrap()))
            .collect();
        assert_eq!(said, expected, "{body}");
    }
    for garbage in [json!([]), json!("x"), json!(null)] {
        assert_eq!(announce(&user, &garbage).await.code, "malformed_json");
    }
    let count = "select count(*) from public.assets where user_id = $1";
    assert_eq!(database().await.query_one(count, &[&user.id]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn of_a_files_name_only_the_name_is_kept_for_showing() {
    let user = User::new().await;
    for (given, kept) in [
        ("dress.png", "dress.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\my dress.png", "my dress.png"),
        (" a\u{0}b\r\nc\u{1b}[31m.png ", "abc[31m.png"),
        ("dress\u{202e}gnp.exe", "dressgnp.exe"),
        ("été 😀.png", "été 😀.png"),
        (&"é".repeat(200), &"é".repeat(200)),
    ] {
        let answer =
            announce(&user, &json!({ "filename": given, "content_type": "IMAGE/PNG", "size": MAX_BYTES })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let id: Uuid = answer.body["asset_id"].as_str().unwrap().parse().unwrap();
        let select = "select filename, content_type, object_key from public.assets where id = $1";
        let row = database().await.query_one(select, &[&id]).await.unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), (kept, "image/png"));
        assert_eq!(
            row.get::<_, String>(2),
            format!("uploads/{}/{id}.png", user.id),
            "nothing of the name is in the key"
        );
    }
}

/// Why S3 would not take a file with this form, by the rules of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>. moto looks at no policy.
fn refusal(fields: &BTreeMap<String, String>, bucket: &str, bytes: usize, now: Timestamp) -> Option<String> {
    let policy = policy(fields);
    if policy["expiration"].as_str().unwrap().parse::<Timestamp>().unwrap() <= now {
        return Some("expired".to_owned());
    }
    let mut allowed = BTreeSet::from(["policy", "x-amz-signature", "bucket"]);
    for condition in policy["conditions"].as_array().unwrap() {
        if let Some(range) = condition.as_array() {
            assert_eq!(range[0], "content-length-range", "the only condition of its kind here");
            if !(range[1].as_u64().unwrap()..=range[2].as_u64().unwrap()).contains(&(bytes as u64)) {
                return Some("content-length-range".to_owned());
            }
            continue;
        }
        let (name, value) = condition.as_object().unwrap().iter().next().unwrap();
        let given = if name == "bucket" { Some(bucket) } else { fields.get(name).map(String::as_str) };
        if given != value.as_str() {
            return Some(name.clone());
        }
        allowed.insert(name);
    }
    fields.keys().find(|name| !allowed.contains(name.as_str())).map(|name| format!("extra {name}"))
}

#[tokio::test]
async fn the_form_takes_this_key_this_type_and_this_much_and_nothing_else() {
    let (user, other) = (User::new().await, User::new().await);
    let before = Timestamp::now();
    let answer = announce(&user, &dress()).await;
    assert_eq!((answer.status, &answer.body["max_bytes"]), (201, &json!(MAX_BYTES)), "{answer:?}");
    let id = answer.body["asset_id"].as_str().unwrap();
    let expires_at: Timestamp = answer.body["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(expires_at >= before + FORM_LIFETIME && expires_at <= Timestamp::now() + FORM_LIFETIME);
    assert_eq!(answer.body["url"], format!("{}/{}/", setting("AWS_ENDPOINT_URL"), setting("MEDIA_BUCKET")));

    let good = fields(&answer.body);
    let bucket = setting("MEDIA_BUCKET");
    let key = format!("uploads/{}/{id}.png", user.id);
    assert_eq!((&good["key"], &good["Content-Type"]), (&key, &"image/png".to_owned()));
    let now = Timestamp::now();
    for bytes in [1, 184_320, MAX_BYTES] {
        assert_eq!(refusal(&good, &bucket, bytes, now), None);
    }
    for bytes in [0, MAX_BYTES + 1, usize::MAX] {
        assert_eq!(refusal(&good, &bucket, bytes, now).as_deref(), Some("content-length-range"));
    }
    assert_eq!(refusal(&good, "another", 1, now).as_deref(), Some("bucket"));
    assert_eq!(refusal(&good, &bucket, 1, now + FORM_LIFETIME).as_deref(), Some("expired"));
    for (name, value, why) in [
        ("key", key.replace(&user.id.to_string(), &other.id.to_string()), "key"),
        ("key", format!("uploads/{}/${{filename}}", user.id), "key"),
        ("key", format!("{key}/x"), "key"),
        ("key", format!("assets/{}/{id}/image.webp", user.id), "key"),
        ("Content-Type", "text/html".to_owned(), "Content-Type"),
        ("x-amz-date", "20300101T000000Z".to_owned(), "x-amz-date"),
        ("acl", "public-read".to_owned(), "extra acl"),
        ("success_action_redirect", "https://evil.example".to_owned(), "extra success_action_redirect"),
        ("x-amz-meta-source", "{}".to_owned(), "extra x-amz-meta-source"),
        ("x-amz-website-redirect-location", "/".to_owned(), "extra x-amz-website-redirect-location"),
    ] {
        let mut bad = good.clone();
        bad.insert(name.to_owned(), value);
        assert_eq!(refusal(&bad, &bucket, 1, now).as_deref(), Some(why));
    }
}

#[tokio::test]
async fn the_form_is_signed_as_awss_own_library_signs_it() {
    let user = User::new().await;
    let event = event("create-upload/announced.json", &[("access_token", user.token.clone())]);
    let event = serde_json::from_str(&event).unwrap();
    let cloud = [("AWS_ENDPOINT_URL", ""), ("AWS_REGION", "eu-central-1"), ("MEDIA_BUCKET", "media")];
    let session = [
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjEBk//+=="),
    ];
    for environment in [[&cloud[..], &session[..2]].concat(), [&cloud[..], &session[..]].concat()] {
        let worker = Worker::run("create-upload", &event, &environment).await;
        let answer = worker.answer().await;
        assert_eq!(answer["statusCode"], 201, "{answer}");
        let form: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(form["url"], "https://media.s3.eu-central-1.amazonaws.com/");

        let ours = fields(&form);
        let token = environment.iter().find(|(name, _)| *name == "AWS_SESSION_TOKEN").map(|(_, value)| *value);
        let wish = json!({
            "access_key": session[0].1, "secret_key": session[1].1, "session_token": token, "region": "eu-central-1",
            "bucket": "media", "key": ours["key"], "content_type": "image/png", "max_bytes": MAX_BYTES,
            "seconds": FORM_LIFETIME.as_secs(), "now": ours["x-amz-date"], "policy": ours["policy"],
        });
        let oracle = presigned_by_boto3(&wish).await;
        assert_eq!(oracle["policy_signature"], ours["x-amz-signature"], "the same signature of our policy");

        let theirs: BTreeMap<String, String> = serde_json::from_value(oracle["fields"].clone()).unwrap();
        let plain = |fields: &BTreeMap<String, String>| {
            let mut fields = fields.clone();
            fields.retain(|name, _| !["policy", "x-amz-signature"].contains(&name.as_str()));
            fields
        };
        assert_eq!(plain(&ours), plain(&theirs), "the same fields");
        let conditions = |fields| -> BTreeSet<String> {
            policy(fields)["conditions"].as_array().unwrap().iter().map(Value::to_string).collect()
        };
        assert_eq!(conditions(&ours), conditions(&theirs), "the same conditions");
        let (ours, theirs) = (policy(&ours), policy(&theirs));
        assert_eq!(ours["expiration"].as_str().unwrap()[..16], theirs["expiration"].as_str().unwrap()[..16]);
    }
}

async fn presigned_by_boto3(wish: &Value) -> Value {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut python = Command::new(format!("{root}/local/.venv/bin/python"))
        .arg(format!("{root}/tests/aws/presigned_post.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(wish.to_string().as_bytes()).await.unwrap();
    let output = python.wait_with_output().await.unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn twenty_unfinished_uploads_are_the_most_that_a_user_has_at_a_time() {
    let (user, other) = (User::new().await, User::new().await);
    let file = dress();
    let answers = join_all((0..50).map(|_| announce(&user, &file))).await;
    let announced = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| (answer.status, answer.code.as_str()) == (429, "too_many_uploads"));
    assert_eq!((announced, refused.count()), (20, 30), "however many ask at once");
    assert_eq!(announce(&other, &dress()).await.status, 201, "others are not held up");

    let http = http_client::client(Duration::from_secs(30)).unwrap();
    let request = http.post(format!("{}/uploads", setting("FUNCTIONS_URL"))).bearer_auth(&user.token);
    let response = request.body(dress().to_string()).send().await.unwrap();
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=FORM_LIFETIME.as_secs()).contains(&retry_after), "{retry_after}");

    // One that is finished, well or not, makes room for one; and so does one whose form is out of time.
    for finish in [
        "verified_at = now(), bytes = 1, width = 1, height = 1",
        "rejected_code = 'image_invalid'",
        "created_at = now() - interval '10 minutes'",
    ] {
        let one = "(select id from public.assets where user_id = $1 and verified_at is null and rejected_code is null
                    and created_at > now() - interval '10 minutes' limit 1)";
        let update = format!("update public.assets set {finish} where id = {one}");
        assert_eq!(database().await.execute(&update, &[&user.id]).await.unwrap(), 1);
        assert_eq!(announce(&user, &dress()).await.status, 201, "{finish}");
        assert_eq!(announce(&user, &dress()).await.status, 429, "{finish}");
    }
}

#[tokio::test]
async fn a_token_whose_user_is_gone_and_a_database_that_is_down_get_no_form() {
    let user = User::new().await;
    database().await.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    let answer = announce(&user, &dress()).await;
    assert_eq!((answer.status, answer.code.as_str()), (401, "unauthenticated"));

    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    proxy.set(Mode::ServerError);
    let user = crate::unreliable::user_of(&proxy.origin).await;
    let deps = create_upload(|config| config.auth.supabase_url = proxy.origin.clone());
    let request = request("POST", "/uploads", Some(&user.token), dress().to_string());
    let answer = Answer::from(create_upload::handle(deps, request).await);
    assert_eq!((answer.status, answer.code.as_str()), (503, "database_unavailable"));
}

#[tokio::test]
async fn a_clean_copy_is_upright_no_larger_than_2048_and_carries_nothing_of_the_original() {
    // A JPEG that is to be turned to the right, and says where it was taken.
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(3000, 1000, |x, _| image::Rgb(if x < 1500 { [250, 10, 10] } else { [10, 10, 250] }))
        .write_to(&mut jpeg, ImageFormat::Jpeg)
        .unwrap();
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    exif.extend(b"GPS 52.5163 N 13.3777 E");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    let jpeg = [&jpeg.get_ref()[..2], &[0xff, 0xe1], &length, &exif, &jpeg.get_ref()[2..]].concat();

    let upload = Upload::with("image/jpeg", &jpeg).await;
    upload.register().await.unwrap();
    upload.is_verified().await;
    let row = upload.row().await;
    assert_eq!(
        (&row["width"], &row["height"], &row["bytes"]),
        (&json!(1000), &json!(3000), &json!(jpeg.len())),
        "{row}"
    );
    assert_eq!(upload.bucket.get(&upload.key).await.unwrap(), jpeg, "as it came");
    for (key, longest) in [(upload.copy_key(), 2048), (upload.thumb_key(), 480)] {
        let copy = upload.bucket.picture(&key).await;
        let (width, height) = copy.dimensions();
        assert!(height == longest && width.abs_diff(longest / 3) <= 1, "{width} x {height}");
        let (top, bottom) = (copy.get_pixel(width / 2, 10).0, copy.get_pixel(width / 2, height - 10).0);
        assert!(top[0] > 200 && top[2] < 60 && bottom[2] > 200 && bottom[0] < 60, "{top:?} {bottom:?}");
        let bytes = upload.bucket.get(&key).await.unwrap();
        for trace in ["GPS", "EXIF", "Exif", "XMP", "ICCP"] {
            assert!(!bytes.windows(trace.len()).any(|window| window == trace.as_bytes()), "{key} holds {trace}");
        }
    }
}

#[tokio::test]
async fn what_lies_about_itself_is_rejected_and_removed() {
    let mut cases = Vec::new();
    for (claimed, _) in pictures() {
        for (content_type, bytes) in pictures() {
            if claimed != content_type {
                cases.push((claimed, format!("{content_type} as {claimed}"), bytes, "not_what_it_claims"));
            }
        }
        for (name, bytes) in [
            ("html", b"<html><script>alert(1)</script></html>".to_vec()),
            ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
            ("nothing", Vec::new()),
            ("zeroes", vec![0; 1000]),
        ] {
            cases.push((claimed, format!("{name} as {claimed}"), bytes, "image_invalid"));
        }
    }
    for (claimed, bytes) in pictures() {
        let half = bytes[..bytes.len() / 2].to_vec();
        cases.push((claimed, format!("half a {claimed}"), half, "image_invalid"));
        let padded = [bytes, vec![0; MAX_BYTES]].concat();
        cases.push((claimed, format!("a {claimed} of more than 10 MiB"), padded, "image_too_large"));
    }
    let check = async |(claimed, case, bytes, code): (&'static str, String, Vec<u8>, &'static str)| {
        let upload = Upload::with(claimed, &bytes).await;
        upload.register().await.unwrap_or_else(|error| panic!("{case}: {error}"));
        upload.is_rejected(code, &case).await;
    };
    join_all(cases.into_iter().map(check)).await;
}

#[tokio::test]
async fn rejected_stays_rejected_whatever_comes_by_the_same_form() {
    let upload = Upload::with("image/png", b"garbage").await;
    for bytes in [&b"garbage"[..], &picture(ImageFormat::Png), &picture(ImageFormat::Jpeg)] {
        upload.bucket.put(&upload.key, bytes).await;
        upload.register().await.unwrap();
        upload.is_rejected("image_invalid", "again").await;
    }
}

#[tokio::test]
async fn what_nobody_announced_is_removed() {
    let upload = Upload::with("image/png", &picture(ImageFormat::Png)).await;
    upload.register().await.unwrap();
    let (user, nobody) = (upload.user.id, Uuid::new_v4());
    for key in [
        format!("uploads/{user}/{nobody}.png"),
        format!("uploads/{nobody}/{}.png", upload.id),
        upload.key.replace(".png", ".gif"),
        upload.key.replace('-', ""),
        upload.key.to_uppercase().replace("UPLOADS", "uploads"),
        "uploads/a b+c%25.png".to_owned(),
        "uploads/x".to_owned(),
    ] {
        upload.bucket.put(&key, b"whatever").await;
        let encoded = key.replace('%', "%25").replace('+', "%2B").replace(' ', "+");
        register_upload::handle(upload.bucket.deps(), told(&made(&encoded))).await.unwrap();
        assert_eq!(upload.bucket.get(&key).await, None, "{key}");
        upload.is_verified().await;
    }
}

#[tokio::test]
async fn the_test_event_of_s3_is_done_without_effect_and_a_message_of_somebody_else_is_not() {
    let bucket = Bucket::new().await;
    let test =
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-21T10:00:00.000Z", "Bucket": "b" });
    register_upload::handle(bucket.deps(), told(&test)).await.unwrap();
    register_upload::handle(bucket.deps(), told(&json!({ "Records": [] }))).await.unwrap();
    for strange in
        [json!({}), json!({ "Event": "s3:Other" }), json!({ "Records": [{}] }), json!({ "job_id": "x" }), json!([])]
    {
        let parsed: Result<register_upload::Notification, _> = serde_json::from_value(strange.clone());
        assert!(parsed.is_err(), "{strange}");
    }
}

#[tokio::test]
async fn the_same_event_twenty_times_verifies_an_upload_once() {
    let upload = Upload::with("image/png", &picture(ImageFormat::Png)).await;
    let deps = upload.bucket.deps();
    let all = join_all((0..20).map(|_| register_upload::handle(deps.clone(), told(&upload.event())))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    upload.is_verified().await;
    let row = upload.row().await;
    upload.register().await.unwrap();
    assert_eq!(upload.row().await, row);
}

#[tokio::test]
async fn an_upload_that_is_overwritten_is_one_file_or_the_other() {
    let (red, blue) = (plain(40, 80, [220, 20, 20]), plain(80, 40, [20, 20, 220]));
    let is = async |upload: &Upload, width: u32, height: u32, channel: usize| {
        upload.is_verified().await;
        let row = upload.row().await;
        assert_eq!((&row["width"], &row["height"]), (&json!(width), &json!(height)), "{row}");
        for key in [upload.copy_key(), upload.thumb_key()] {
            let copy = upload.bucket.picture(&key).await;
            assert_eq!(copy.dimensions(), (width, height), "{key}");
            assert!(copy.get_pixel(20, 20).0[channel] > 190, "{key}");
        }
    };

    // Before anybody looked: both events find the second one.
    let upload = Upload::with("image/png", &red).await;
    upload.bucket.put(&upload.key, &blue).await;
    for _ in 0..2 {
        upload.register().await.unwrap();
        is(&upload, 80, 40, 2).await;
    }

    // Afterwards: what was found usable stays what it is.
    let upload = Upload::with("image/png", &red).await;
    upload.register().await.unwrap();
    let row = upload.row().await;
    for bytes in [blue.clone(), b"garbage".to_vec()] {
        upload.bucket.put(&upload.key, &bytes).await;
        upload.register().await.unwrap();
        assert_eq!(upload.row().await, row);
        is(&upload, 40, 80, 0).await;
    }

    // Between the clean copy and the rest, whose worker was killed: what was begun is finished.
    for then in [Some(blue), Some(b"garbage".to_vec()), None] {
        let upload = Upload::with("image/png", &red).await;
        let s3 = Proxy::before(&setting("AWS_ENDPOINT_URL")).await;
        s3.set(Mode::HangAt("thumb.webp?x-id=PutObject"));
        let mut worker = upload.worker(&[("AWS_ENDPOINT_URL", s3.origin.as_str())]).await;
        tokio::time::timeout(Duration::from_secs(30), s3.swallowed()).await.expect("the worker never came so far");
        worker.process.kill().await.unwrap();
        match then {
            Some(bytes) => upload.bucket.put(&upload.key, &bytes).await,
            None => upload.bucket.put(&upload.key, &red).await,
        }
        upload.register().await.unwrap();
        is(&upload, 40, 80, 0).await;
    }
}

#[tokio::test]
async fn an_upload_that_is_gone_before_anybody_looks_has_no_effect() {
    let upload = Upload::announced("image/png").await;
    let before = upload.row().await;
    upload.register().await.unwrap();
    assert_eq!(upload.row().await, before, "her form may still bring it");
    upload.bucket.put(&upload.key, &picture(ImageFormat::Png)).await;
    upload.register().await.unwrap();
    upload.is_verified().await;
}

#[tokio::test]
async fn an_upload_that_its_user_deletes_at_any_moment_leaves_nothing_behind() {
    let delete = "delete from public.assets where id = $1";
    for point in [".png?x-id=GetObject", "image.webp?x-id=PutObject", "thumb.webp?x-id=PutObject", "rpc/settle_upload"]
    {
        let upload = Upload::with("image/png", &picture(ImageFormat::Png)).await;
        let mut worker = killed_at(&upload, point).await;
        database().await.execute(delete, &[&upload.id]).await.unwrap();
        worker.process.kill().await.unwrap();
        upload.register().await.unwrap();
        assert_eq!((upload.row().await, upload.bucket.keys().await), (Value::Null, Vec::new()), "{point}");
    }
    let upload = Upload::with("image/png", &picture(ImageFormat::Png)).await;
    upload.register().await.unwrap();
    database().await.execute(delete, &[&upload.id]).await.unwrap();
    // Her form still works, and S3 tells of what it brings.
    upload.bucket.put(&upload.key, &picture(ImageFormat::Png)).await;
    upload.register().await.unwrap();
    assert!(upload.bucket.keys().await.is_empty());
}

/// A worker that waits for the answer to the request with these bytes, which nobody will give.
async fn killed_at(upload: &Upload, point: &'static str) -> Worker {
    let supabase = Proxy::before(&setting("SUPABASE_URL")).await;
    let s3 = Proxy::before(&setting("AWS_ENDPOINT_URL")).await;
    supabase.set(Mode::HangAt(point));
    s3.set(Mode::HangAt(point));
    let environment = [("SUPABASE_URL", supabase.origin.as_str()), ("AWS_ENDPOINT_URL", s3.origin.as_str())];
    let worker = upload.worker(&environment).await;
    let there = async {
        tokio::select! {
            () = supabase.swallowed() => {}
            () = s3.swallowed() => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(30), there).await.unwrap_or_else(|_| panic!("it never came to {point}"));
    worker
}

#[tokio::test]
async fn a_worker_killed_at_any_request_is_finished_by_the_next() {
    for point in [
        "rest/v1/assets",
        "image.webp?x-id=GetObject",
        ".png?x-id=GetObject",
        "image.webp?x-id=PutObject",
        "thumb.webp?x-id=PutObject",
        "rpc/settle_upload",
    ] {
        let upload = Upload::with("image/png", &picture(ImageFormat::Png)).await;
        killed_at(&upload, point).await.process.kill().await.unwrap();
        assert_eq!(upload.row().await["verified_at"], Value::Null, "{point}");
        let next = upload.worker(&[]).await;
        assert_eq!(next.answer().await, json!({ "batchItemFailures": [] }), "{point}");
        upload.is_verified().await;
    }
    for point in ["rpc/settle_upload", "thumb.webp?x-id=DeleteObject", ".png?x-id=DeleteObject"] {
        let upload = Upload::with("image/png", b"garbage").await;
        killed_at(&upload, point).await.process.kill().await.unwrap();
        assert!(upload.bucket.get(&upload.key).await.is_some(), "{point}: not removed yet");
        upload.register().await.unwrap();
        upload.is_rejected("image_invalid", point).await;
    }
}

#[tokio::test]
async fn answers_that_get_lost_do_no_harm() {
    for (bytes, point) in [
        (picture(ImageFormat::Png), "rpc/settle_upload"),
        (b"garbage".to_vec(), "rpc/settle_upload"),
        (b"garbage".to_vec(), "png?x-id=DeleteObject"),
    ] {
        let upload = Upload::with("image/png", &bytes).await;
        let supabase = Proxy::before(&setting("SUPABASE_URL")).await;
        let s3 = Proxy::before(&setting("AWS_ENDPOINT_URL")).await;
        supabase.set(Mode::LoseAnswerTo(point));
        s3.set(Mode::LoseAnswerTo(point));
        let environment = [("SUPABASE_URL", supabase.origin.as_str()), ("AWS_ENDPOINT_URL", s3.origin.as_str())];
        upload.worker(&environment).await.answer().await;
        let verdict = |row: Value| (row["verified_at"].is_string(), row["rejected_code"].is_string());
        let first = verdict(upload.row().await);
        assert_ne!(first, (false, false), "the verdict came through");
        upload.register().await.unwrap();
        assert_eq!(verdict(upload.row().await), first);
        assert_eq!(upload.bucket.keys().await.is_empty(), first.1);
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_now_goes_back_to_the_queue() {
    let upload = Upload::with("image/png", &picture(ImageFormat::Png)).await;
    let (supabase, s3) =
        (Proxy::before(&setting("SUPABASE_URL")).await, Proxy::before(&setting("AWS_ENDPOINT_URL")).await);
    let environment = [("SUPABASE_URL", supabase.origin.as_str()), ("AWS_ENDPOINT_URL", s3.origin.as_str())];
    for mode in [Mode::Refuse, Mode::ServerError] {
        for part in [&supabase, &s3] {
            part.set(mode);
            let answer = upload.worker(&environment).await.answer().await;
            assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "m" }] }), "{mode:?}");
            assert_eq!(upload.row().await["verified_at"], Value::Null);
            part.set(Mode::Pass);
        }
    }
    assert_eq!(upload.worker(&environment).await.answer().await, json!({ "batchItemFailures": [] }));
    upload.is_verified().await;
}

#[tokio::test]
async fn the_first_verdict_stays() {
    let settle = async |id: Uuid, code: Option<&str>, bytes: i64| -> Value {
        let size: Option<i32> = code.is_none().then_some(5);
        let bytes = code.is_none().then_some(bytes);
        let call = "select public.settle_upload($1, $2, $3, $4, $4, 'h')";
        database().await.query_one(call, &[&id, &code, &bytes, &size]).await.unwrap().get(0)
    };
    let upload = Upload::announced("image/png").await;
    assert_eq!(settle(upload.id, None, 7).await, json!({ "outcome": "verified" }));
    let row = upload.row().await;
    assert_eq!(settle(upload.id, Some("image_invalid"), 0).await, json!({ "outcome": "verified" }));
    assert_eq!(settle(upload.id, None, 8).await, json!({ "outcome": "verified" }));
    assert_eq!(upload.row().await, row);

    let upload = Upload::announced("image/png").await;
    assert_eq!(settle(upload.id, Some("image_invalid"), 0).await, json!({ "outcome": "rejected" }));
    assert_eq!(settle(upload.id, None, 7).await, json!({ "outcome": "rejected" }));
    assert_eq!(upload.row().await["rejected_code"], "image_invalid");
    assert_eq!(settle(Uuid::new_v4(), None, 7).await, json!({ "outcome": "not_found" }));
}

#[tokio::test]
async fn a_clean_copy_that_is_there_decides_what_the_upload_is() {
    // Another worker was quicker, with what lay here before, and is no more.
    let upload = Upload::with("image/png", &plain(80, 40, [20, 20, 220])).await;
    let media = MediaStore::new(upload.bucket.name.clone(), &setting("MEDIA_BASE_URL"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), picture(ImageFormat::WebP)).unwrap();
    let source = Source { bytes: 12_345, width: 640, height: 960 };
    for expected in [media_store::Stored::New, media_store::Stored::AlreadyThere] {
        assert_eq!(media.put_clean_copy(&upload.copy_key(), file.path(), &source).await.unwrap(), expected);
    }
    upload.register().await.unwrap();
    upload.is_verified().await;
    let row = upload.row().await;
    assert_eq!((&row["bytes"], &row["width"], &row["height"]), (&json!(12_345), &json!(640), &json!(960)));
    assert_eq!(upload.bucket.picture(&upload.thumb_key()).await.dimensions(), (64, 96));
}
