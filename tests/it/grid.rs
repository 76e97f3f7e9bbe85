//! The public grid: how a picture gets into it and out of it, who may see and do what, its two orders by pages, and what caches
//! are told. `likes.rs` counts.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use lambda_http::{Body, Request, RequestExt, Response};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    checkout::user_of,
    credits::rpc,
    doubles::{Mode, Proxy},
    generation::{Bench, job_of},
    operate::operate,
    stack::{
        Answer, User, database, hide_image, image_pending, like_image, list_images, publish_image, report_image,
        request, setting,
    },
};

/// One of the functions that move pictures of the grid.
pub async fn call(function: &str, request: Request) -> Answer {
    match function {
        "publish-image" => publish_image::handle(publish_image(|_| {}), request).await.into(),
        "like-image" => like_image::handle(like_image(|_| {}), request).await.into(),
        "report-image" => report_image::handle(report_image(|_| {}), request).await.into(),
        "hide-image" => hide_image::handle(hide_image(|_| {}), request).await.into(),
        other => panic!("{other} does not"),
    }
}

/// A request about one picture.
fn about(method: &str, image: impl ToString, token: Option<&str>, body: impl Into<Body>) -> Request {
    let parameters = HashMap::from([("id".to_owned(), image.to_string())]);
    request(method, "/images/x", token, body).with_path_parameters(parameters)
}

pub async fn publish(method: &str, user: &User, image: impl ToString) -> Answer {
    call("publish-image", about(method, image, Some(&user.token), ())).await
}

pub async fn like(method: &str, user: &User, image: impl ToString) -> Answer {
    call("like-image", about(method, image, Some(&user.token), ())).await
}

async fn report(user: &User, image: impl ToString, reason: Value) -> Answer {
    let body = json!({ "reason": reason }).to_string();
    call("report-image", about("POST", image, Some(&user.token), body)).await
}

async fn hide(admin: &User, image: impl ToString, reason: &str) -> Answer {
    call("hide-image", about("PUT", image, Some(&admin.token), json!({ "reason": reason }).to_string())).await
}

async fn let_in(admin: &User, image: impl ToString) -> Answer {
    call("hide-image", about("DELETE", image, Some(&admin.token), ())).await
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code.as_str()), (status, code), "{answer:?}");
}

/// What the database keeps of a picture.
pub async fn row(image: Uuid) -> Value {
    let select = "select to_jsonb(i) from public.images i where id = $1";
    database().await.query_one(select, &[&image]).await.unwrap().get(0)
}

/// So many pictures of the user's, as complete_generation_job leaves them, in the order of their ids.
async fn pictures(user: &User, count: i32) -> Vec<Uuid> {
    let insert = "
        with files as (
          insert into public.assets (user_id, kind, object_key, content_type, bytes, width, height, blurhash, verified_at)
          select $1::uuid, 'output', 'outputs/' || $1::uuid || '/' || gen_random_uuid() || '/original.png', 'image/png', 5, 832, 1216, 'LEHV6nWB2yk8', now()
            from generate_series(1, $2) returning *
        ), made as (
          insert into public.images (user_id, asset_id, object_key, prompt, width, height, blurhash)
          select user_id, id, object_key, 'A red dress', width, height, blurhash from files returning id
        ) select id from made order by id";
    let rows = database().await.query(insert, &[&user.id, &count]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// A picture of the user's that nobody else sees.
async fn picture(user: &User) -> Uuid {
    pictures(user, 1).await[0]
}

/// A picture of the user's in the grid.
pub async fn published(user: &User) -> Uuid {
    let image = picture(user).await;
    assert_eq!(publish("PUT", user, image).await.status, 200);
    image
}

/// A time long ago that no other test publishes anything in: nothing of others' comes between pictures of these two minutes.
pub fn era() -> Timestamp {
    let minutes = (Uuid::new_v4().as_u128() % 10_000_000) as i64;
    Timestamp::from_second(100_000_000 + 120 * minutes).unwrap()
}

/// So many pictures in the grid, one published each second from `era` on; in that order.
pub async fn published_in(era: Timestamp, user: &User, count: i32) -> Vec<Uuid> {
    let images = pictures(user, count).await;
    let publish = "update public.images set published_at = to_timestamp($2::bigint::double precision + place - 1)
                     from unnest($1::uuid[]) with ordinality as given (image, place) where id = image";
    database().await.execute(publish, &[&images, &era.as_second()]).await.unwrap();
    images
}

/// The place before the newest picture of an era.
pub fn end_of(era: Timestamp) -> String {
    format!("new.{}.{}", era.as_microsecond() + 60_000_000, Uuid::max())
}

async fn look_at(query: &[(&str, &str)], token: Option<&str>, known: Option<&str>, now: Timestamp) -> Response<Body> {
    let mut request = request("GET", "/images", token, ());
    if let Some(etag) = known {
        request.headers_mut().insert("if-none-match", etag.parse().unwrap());
    }
    let query: HashMap<String, String> =
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = request.with_query_string_parameters(query);
    list_images::handle_at(list_images(|_| {}), request, now).await.unwrap()
}

fn body(response: &Response<Body>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

/// A page of the grid.
pub async fn page(query: &[(&str, &str)], user: Option<&User>) -> Value {
    let token = user.map(|user| user.token.as_str());
    body(&look_at(query, token, None, Timestamp::now()).await)
}

/// The pictures of these two minutes, as somebody sees them; at most a page.
pub async fn seen_in(era: Timestamp, user: Option<&User>) -> Vec<Value> {
    let page = page(&[("cursor", &end_of(era))], user).await;
    let images = page["images"].as_array().unwrap().iter();
    let of_then = |image: &&Value| image["published_at"].as_str().unwrap().parse::<Timestamp>().unwrap() >= era;
    images.filter(of_then).cloned().collect()
}

fn ids(images: &[Value]) -> Vec<Uuid> {
    images.iter().map(|image| image["id"].as_str().unwrap().parse().unwrap()).collect()
}

/// All of the grid, page by page; `between` happens after each of the first ones.
async fn walk(order: &str, between: impl AsyncFn()) -> Vec<Uuid> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("order", order)];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = page(&query, None).await;
        let images = page["images"].as_array().unwrap();
        found.extend(ids(images));
        match page["next_cursor"].as_str() {
            Some(next) => {
                assert_eq!(images.len(), 24);
                cursor = Some(next.to_owned());
            }
            None => return found,
        }
        if found.len() <= 72 {
            between().await;
        }
    }
}

async fn admin() -> User {
    let user = User::new().await;
    let insert = "insert into public.user_roles (user_id, role) values ($1, 'admin')";
    database().await.execute(insert, &[&user.id]).await.unwrap();
    user
}

/// How the job of a picture shows its standing to its owner.
async fn standing(user: &User, job: Uuid) -> Value {
    let http = http_client::client(std::time::Duration::from_secs(30)).unwrap();
    let url = format!("{}/generation-jobs/{job}", setting("FUNCTIONS_URL"));
    let job: Value = http.get(url).bearer_auth(&user.token).send().await.unwrap().json().await.unwrap();
    job["image"].clone()
}

// --- From the worker to everybody ---

#[tokio::test]
async fn a_finished_picture_is_its_owners_until_she_shows_it_to_everybody() {
    let (user, her) = image_pending().await;
    let lock =
        "update public.influencers set state = 'ready', is_locked = true, created_at = now(), initial_image_url = 'u'
                 where id = $1";
    database().await.execute(lock, &[&her]).await.unwrap();
    let job = job_of(&user, json!({ "prompt": "By the sea", "influencer_id": her })).await;
    let done = Bench::new().await.finish(job).await;
    assert_eq!(done["status"], "completed", "{done}");

    let image = standing(&user, job).await;
    assert_eq!(
        image,
        json!({ "id": image["id"], "published": false, "likes_count": 0, "hidden_reason": null }),
        "the job tells of it"
    );
    let id: Uuid = image["id"].as_str().unwrap().parse().unwrap();
    let kept = row(id).await;
    assert_eq!((&kept["prompt"], &kept["influencer_id"]), (&json!("By the sea"), &json!(her)), "her own words");
    let key = kept["object_key"].as_str().unwrap();
    assert!(key.starts_with(&format!("outputs/{}/{job}/original.", user.id)), "{kept}");
    assert_eq!(kept["image_url"], format!("{}/{key}", setting("MEDIA_BASE_URL")));
    refused(&like("PUT", &user, id).await, 404, "image_not_found");

    let answer = publish("PUT", &user, id).await;
    assert_eq!((answer.status, &answer.body["id"]), (200, &json!(id)));
    let published_at = &answer.body["published_at"];
    assert_eq!(standing(&user, job).await["published"], true);

    // As a stranger, over HTTP: others publish at the same time, so it may be on a later page.
    let http = http_client::client(std::time::Duration::from_secs(30)).unwrap();
    let place = published_at.as_str().unwrap().parse::<Timestamp>().unwrap();
    let cursor = format!("new.{}.{}", place.as_microsecond(), Uuid::max());
    let url = format!("{}/images?cursor={cursor}", setting("FUNCTIONS_URL"));
    let response = http.get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let page: Value = response.json().await.unwrap();
    let shown = &page["images"][0];
    assert_eq!(
        shown,
        &json!({
            "id": id, "prompt": "By the sea", "likes_count": 0, "liked": false, "mine": false, "creator": "Clara",
            "width": kept["width"], "height": kept["height"], "blurhash": kept["blurhash"],
            "screen_url": shown["screen_url"], "thumb_url": shown["thumb_url"], "published_at": published_at,
        })
    );
    for (name, width, height) in [("screen_url", 2, 3), ("thumb_url", 320, 480)] {
        let file = http.get(shown[name].as_str().unwrap()).send().await.unwrap();
        assert_eq!(file.headers()["content-type"], "image/webp");
        let file = image::load_from_memory(&file.bytes().await.unwrap()).unwrap();
        assert_eq!(file.width() * height, file.height() * width, "{name}");
    }
}

#[tokio::test]
async fn a_job_that_completes_twice_has_one_picture() {
    let user = User::new().await;
    let job = job_of(&user, json!({})).await;
    rpc("claim_generation_job", json!({ "p_job_id": job, "p_token": Uuid::new_v4(), "p_lease_seconds": 60 })).await;
    let output = json!({ "object_key": format!("outputs/{}/{job}/original.png", user.id), "content_type": "image/png",
                         "image_url": "https://example.com/original.png", "bytes": 5, "width": 2, "height": 3 });
    let arguments = json!({ "p_job_id": job, "p_output": output.to_string() });
    let outcomes = join_all((0..10).map(|_| rpc("complete_generation_job", arguments.clone()))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome["outcome"] == "completed").count(), 1);
    let select = "select count(*) from public.images where user_id = $1";
    assert_eq!(database().await.query_one(select, &[&user.id]).await.unwrap().get::<_, i64>(0), 1);
}

// --- Publishing ---

#[tokio::test]
async fn publishing_twice_is_once_and_taking_out_is_too() {
    let (user, era) = (User::new().await, era());
    let image = picture(&user).await;
    let first = publish("PUT", &user, image).await;
    assert_eq!(publish("PUT", &user, image).await.body, first.body, "it stays in its place");
    for _ in 0..2 {
        let answer = publish("DELETE", &user, image).await;
        assert_eq!((answer.status, answer.body), (200, json!({ "id": image, "published_at": null })));
    }
    let again = publish("PUT", &user, image).await;
    assert!(again.body["published_at"].as_str() > first.body["published_at"].as_str(), "shown again, it is new");

    let [shown, other] = published_in(era, &user, 2).await[..] else { panic!("two") };
    assert_eq!(ids(&seen_in(era, None).await), [other, shown]);
    assert_eq!(publish("DELETE", &user, shown).await.status, 200);
    assert_eq!(ids(&seen_in(era, None).await), [other]);
}

#[tokio::test]
async fn nobody_publishes_what_is_not_hers_or_has_no_file() {
    let (user, other) = (User::new().await, User::new().await);
    let (image, foreign) = (picture(&user).await, published(&other).await);
    let without_file =
        "insert into public.images (user_id, image_url) values ($1, 'https://example.com/old.png') returning id";
    let without_file: Uuid = database().await.query_one(without_file, &[&user.id]).await.unwrap().get(0);
    for method in ["PUT", "DELETE"] {
        for id in [foreign.to_string(), without_file.to_string(), Uuid::new_v4().to_string(), "x".to_owned()] {
            refused(&publish(method, &user, id).await, 404, "image_not_found");
        }
    }
    refused(&publish("PUT", &other, image).await, 404, "image_not_found");
    assert!(row(image).await["published_at"].is_null());
    assert!(!row(foreign).await["published_at"].is_null());
    refused(&call("publish-image", about("PUT", image, None, ())).await, 401, "unauthenticated");
}

// --- Liking (likes.rs has the crowd) ---

#[tokio::test]
async fn liking_twice_is_once_and_taking_back_is_too() {
    let (owner, fan, era) = (User::new().await, User::new().await, era());
    let image = published_in(era, &owner, 1).await[0];
    let liked = |count: i32, liked: bool| json!({ "id": image, "likes_count": count, "liked": liked });
    for _ in 0..2 {
        let answer = like("PUT", &fan, image).await;
        assert_eq!((answer.status, answer.body), (200, liked(1, true)));
    }
    assert_eq!(like("PUT", &owner, image).await.body, liked(2, true), "her own, too");
    let seen = |image: &Value| [&image["likes_count"], &image["liked"], &image["mine"]].map(Clone::clone);
    assert_eq!(seen(&seen_in(era, Some(&fan)).await[0]), [json!(2), json!(true), json!(false)]);
    assert_eq!(seen(&seen_in(era, Some(&owner)).await[0]), [json!(2), json!(true), json!(true)]);
    assert_eq!(seen(&seen_in(era, None).await[0]), [json!(2), json!(false), json!(false)]);
    for _ in 0..2 {
        assert_eq!(like("DELETE", &fan, image).await.body, liked(1, false));
    }
    assert_eq!(seen(&seen_in(era, Some(&fan)).await[0]), [json!(1), json!(false), json!(false)]);
}

#[tokio::test]
async fn what_is_not_in_the_grid_is_not_liked_but_a_like_can_be_taken_back() {
    let (owner, fan) = (User::new().await, User::new().await);
    let image = published(&owner).await;
    assert_eq!(like("PUT", &fan, image).await.status, 200);
    assert_eq!(publish("DELETE", &owner, image).await.status, 200);

    refused(&like("PUT", &fan, image).await, 404, "image_not_found");
    assert_eq!(like("DELETE", &fan, image).await.body, json!({ "id": image, "likes_count": 0, "liked": false }));
    for id in [Uuid::new_v4().to_string(), "x".to_owned()] {
        for method in ["PUT", "DELETE"] {
            refused(&like(method, &fan, &id).await, 404, "image_not_found");
        }
    }
    refused(&call("like-image", about("PUT", image, None, ())).await, 401, "unauthenticated");

    let gone = User::new().await;
    database().await.execute("delete from auth.users where id = $1", &[&gone.id]).await.unwrap();
    let image = published(&owner).await;
    refused(&like("PUT", &gone, image).await, 401, "unauthenticated");
    refused(&report(&gone, image, json!("other")).await, 401, "unauthenticated");
}

// --- Reporting and hiding ---

#[tokio::test]
async fn a_report_is_kept_once_and_admins_see_it() {
    let (owner, one, two, admin) = (User::new().await, User::new().await, User::new().await, admin().await);
    let image = published(&owner).await;
    for (user, reason) in [(&one, "minor"), (&one, "other"), (&two, "minor")] {
        let answer = report(user, image, json!(reason)).await;
        assert_eq!((answer.status, answer.body), (201, json!({ "id": image, "reported": true })));
    }
    let http = http_client::client(std::time::Duration::from_secs(10)).unwrap();
    let view = format!(
        "{}/rest/v1/admin_reported_images?id=eq.{image}&select=user_id,reports,reasons,prompt",
        setting("SUPABASE_URL")
    );
    for (user, expected) in [
        (&admin, json!([{ "user_id": owner.id, "reports": 2, "reasons": { "minor": 2 }, "prompt": "A red dress" }])),
        (&one, json!([])),
    ] {
        let request = http.get(&view).header("apikey", setting("SUPABASE_PUBLISHABLE_KEY")).bearer_auth(&user.token);
        assert_eq!(request.send().await.unwrap().json::<Value>().await.unwrap(), expected);
    }
    assert!(row(image).await["hidden_at"].is_null(), "a report hides nothing by itself");

    for reason in [json!("ugly"), json!(""), json!("MINOR"), json!(7), Value::Null] {
        refused(&report(&one, image, reason).await, 422, "invalid_fields");
    }
    let garbage = call("report-image", about("POST", image, Some(&one.token), "minor")).await;
    refused(&garbage, 400, "malformed_json");
    refused(&report(&one, picture(&owner).await, json!("other")).await, 404, "image_not_found");
    refused(&report(&one, Uuid::new_v4(), json!("other")).await, 404, "image_not_found");

    assert_eq!(hide(&admin, image, "It looks like a child.").await.status, 200);
    assert_eq!(report(&two, image, json!("minor")).await.status, 201, "hers is kept, whatever came of it");
    refused(&report(&owner, image, json!("other")).await, 404, "image_not_found");
}

#[tokio::test]
async fn the_operators_tool_lists_what_was_reported_and_is_not_hidden() {
    let (owner, admin) = (User::new().await, admin().await);
    let image = published(&owner).await;
    assert_eq!(report(&admin, image, json!("person")).await.status, 201);
    let said = operate(&["reports"], &[]).await;
    assert_eq!(said.code, 1, "it is in the grid: {said:?}");
    let (id, hers) = (image.to_string(), owner.id.to_string());
    assert!(said.line(&[&id, &hers, "in the grid: 1 reports (1 person)"]), "{said:?}");
    assert!(!said.text.contains("red dress"), "prompts stay out: {said:?}");

    assert_eq!(hide(&admin, image, "It shows a real person.").await.status, 200);
    assert!(!operate(&["reports"], &[]).await.line(&[&id]));
}

#[tokio::test]
async fn what_an_admin_hides_is_gone_at_once_and_its_owner_sees_why() {
    let (owner, fan, admin, era) = (User::new().await, User::new().await, admin().await, era());
    let image = published_in(era, &owner, 1).await[0];
    assert_eq!(like("PUT", &fan, image).await.status, 200);

    let first = hide(&admin, image, "  It shows a real person. ").await;
    assert_eq!((first.status, &first.body["hidden_reason"]), (200, &json!("It shows a real person.")), "{first:?}");
    assert!(first.body["hidden_at"].is_string());
    for reader in [None, Some(&owner), Some(&fan), Some(&admin)] {
        assert_eq!(seen_in(era, reader).await, [] as [Value; 0]);
    }
    refused(&like("PUT", &fan, image).await, 404, "image_not_found");
    refused(&publish("PUT", &owner, image).await, 409, "image_hidden");

    let again = hide(&admin, image, "It shows a real person, who objects.").await;
    assert_eq!(again.body["hidden_at"], first.body["hidden_at"]);
    assert_eq!(again.body["hidden_reason"], "It shows a real person, who objects.");
    assert_eq!(row(image).await["hidden_by"], json!(admin.id));

    for _ in 0..2 {
        let answer = let_in(&admin, image).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, json!({ "id": image, "hidden_at": null, "hidden_reason": null }))
        );
    }
    assert_eq!(ids(&seen_in(era, None).await), [image], "where it was");
    assert_eq!(seen_in(era, Some(&fan)).await[0]["liked"], true, "and as it was");

    // She takes it out while it is hidden: then it stays out, and she may show it again.
    assert_eq!(hide(&admin, image, "It shows a real person.").await.status, 200);
    assert_eq!(publish("DELETE", &owner, image).await.status, 200);
    assert_eq!(let_in(&admin, image).await.status, 200);
    assert_eq!(seen_in(era, None).await, [] as [Value; 0]);
    assert_eq!(publish("PUT", &owner, image).await.status, 200);
}

#[tokio::test]
async fn a_job_says_why_its_picture_is_hidden() {
    let (user, admin) = (User::new().await, admin().await);
    let job = job_of(&user, json!({})).await;
    assert_eq!(standing(&user, job).await, Value::Null, "not made yet");
    assert_eq!(Bench::new().await.finish(job).await["status"], "completed");
    let id = standing(&user, job).await["id"].as_str().unwrap().to_owned();
    assert_eq!(publish("PUT", &user, &id).await.status, 200);
    assert_eq!(like("PUT", &admin, &id).await.status, 200);
    assert_eq!(hide(&admin, &id, "It shows a real person.").await.status, 200);
    let expected = json!({ "id": id, "published": true, "likes_count": 1, "hidden_reason": "It shows a real person." });
    assert_eq!(standing(&user, job).await, expected);
}

#[tokio::test]
async fn only_an_admin_hides_and_she_gives_a_reason() {
    let (owner, admin) = (User::new().await, admin().await);
    let image = published(&owner).await;
    for user in [&owner, &User::new().await] {
        refused(&hide(user, image, "I do not like it.").await, 403, "not_an_admin");
        refused(&let_in(user, image).await, 403, "not_an_admin");
        refused(&hide(user, Uuid::new_v4(), "Is it there?").await, 403, "not_an_admin");
    }
    for reason in ["", " ", "two\nlines", &"x".repeat(201)] {
        refused(&hide(&admin, image, reason).await, 422, "invalid_fields");
    }
    for body in ["{}", r#"{"reason":null}"#, r#"{"reason":7}"#] {
        refused(&call("hide-image", about("PUT", image, Some(&admin.token), body)).await, 422, "invalid_fields");
    }
    refused(&call("hide-image", about("PUT", image, Some(&admin.token), "[]")).await, 400, "malformed_json");
    for id in [Uuid::new_v4().to_string(), "x".to_owned()] {
        refused(&hide(&admin, &id, "It is gone.").await, 404, "image_not_found");
        refused(&let_in(&admin, &id).await, 404, "image_not_found");
    }
    assert!(row(image).await["hidden_at"].is_null());
    assert_eq!(hide(&admin, image, "It looks like a child.").await.status, 200, "she may say so");

    database().await.execute("delete from public.user_roles where user_id = $1", &[&admin.id]).await.unwrap();
    refused(&let_in(&admin, image).await, 403, "not_an_admin");
}

#[tokio::test]
async fn an_admin_who_leaves_leaves_what_she_hid_hidden() {
    let (owner, admin) = (User::new().await, admin().await);
    let image = published(&owner).await;
    assert_eq!(hide(&admin, image, "It shows a real person.").await.status, 200);
    database().await.execute("delete from auth.users where id = $1", &[&admin.id]).await.unwrap();
    let kept = row(image).await;
    assert_eq!((&kept["hidden_reason"], &kept["hidden_by"]), (&json!("It shows a real person."), &Value::Null));
}

// --- Reading ---

#[tokio::test]
async fn pages_have_no_gaps_and_no_repeats_while_new_pictures_are_published() {
    let (user, other) = (User::new().await, User::new().await);
    let fresh = pictures(&other, 90).await;
    let images = pictures(&user, 60).await;
    for image in &images {
        assert_eq!(publish("PUT", &user, image).await.status, 200);
    }
    let next = std::sync::Mutex::new(fresh.chunks(30));
    let found = walk("new", async || {
        let chunk = next.lock().unwrap().next().unwrap_or_default();
        for answer in join_all(chunk.iter().map(|image| publish("PUT", &other, image))).await {
            assert_eq!(answer.status, 200);
        }
    })
    .await;
    assert_eq!(found.len(), found.iter().collect::<BTreeSet<_>>().len(), "no repeats");
    let hers: Vec<&Uuid> = found.iter().filter(|id| images.contains(id)).collect();
    assert_eq!(hers, images.iter().rev().collect::<Vec<_>>(), "no gaps, the newest first");
}

#[tokio::test]
async fn pictures_of_the_same_moment_are_on_one_page_each() {
    let (user, era) = (User::new().await, era());
    let images = published_in(era, &user, 60).await;
    let same = "update public.images set published_at = to_timestamp($2::bigint) where id = any ($1)";
    database().await.execute(same, &[&images, &era.as_second()]).await.unwrap();
    let (mut found, mut cursor) = (Vec::new(), end_of(era));
    for count in [24, 24, 12] {
        let page = page(&[("cursor", &cursor)], None).await;
        found.extend(ids(page["images"].as_array().unwrap()).into_iter().take(count));
        cursor = page["next_cursor"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(found, images.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn the_most_liked_come_first_and_among_equals_the_newest() {
    let (owner, fans) = (User::new().await, [User::new().await, User::new().await]);
    let images = published_in(era(), &owner, 30).await;
    // Two likes, one, none, two, one, none, …
    for (place, image) in images.iter().enumerate() {
        for fan in fans.iter().skip(place % 3) {
            assert_eq!(like("PUT", fan, image).await.status, 200);
        }
    }
    let found: Vec<Uuid> = walk("top", async || ()).await.into_iter().filter(|id| images.contains(id)).collect();
    let newest_with = |rest: usize| images.iter().enumerate().rev().filter(move |(place, _)| place % 3 == rest);
    let expected: Vec<Uuid> = [0, 1, 2].into_iter().flat_map(newest_with).map(|(_, id)| *id).collect();
    assert_eq!(found, expected);

    let first = page(&[("order", "top")], None).await;
    let counts: Vec<i64> =
        first["images"].as_array().unwrap().iter().map(|image| image["likes_count"].as_i64().unwrap()).collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    let cursor = first["next_cursor"].as_str().unwrap();
    refused(&listed(&[("order", "new"), ("cursor", cursor)], None).await, 422, "invalid_fields");
}

/// The answer of list-images as status and code.
async fn listed(query: &[(&str, &str)], token: Option<&str>) -> Answer {
    let query: HashMap<String, String> =
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = request("GET", "/images", token, ()).with_query_string_parameters(query);
    list_images::handle(list_images(|_| {}), request).await.into()
}

#[tokio::test]
async fn orders_and_cursors_that_are_none_are_refused() {
    let id = Uuid::new_v4();
    for (name, value) in [("order", "old"), ("order", ""), ("order", "NEW"), ("order", "new;drop table images")] {
        let answer = listed(&[(name, value)], None).await;
        refused(&answer, 422, "invalid_fields");
        assert_eq!(answer.body[0]["pointer"], "?order");
    }
    for order in ["new", "top"] {
        for cursor in [
            "",
            "yesterday",
            "new",
            "top",
            &id.to_string(),
            &format!("new.{id}"),
            &format!("new.-1.{id}"),
            &format!("new.1e3.{id}"),
            &format!("new.9223372036854775807.{id}"),
            &format!("new.99999999999999999999.{id}"),
            "new.1.1",
            &format!("new.1.{id}x"),
            &format!("top.1.{id}"),
            &format!("top.-1.1.{id}"),
            &format!("top.2147483648.1.{id}"),
            "new.1.\0",
        ] {
            let answer = listed(&[("order", order), ("cursor", cursor)], None).await;
            refused(&answer, 422, "invalid_fields");
            assert_eq!(answer.body[0]["pointer"], "?cursor", "{order} {cursor}");
        }
    }
    // The ends of what a cursor can say.
    for query in [
        [("order", "new"), ("cursor", "new.0.00000000-0000-0000-0000-000000000000")],
        [("order", "top"), ("cursor", "top.2147483647.253402207199999999.ffffffff-ffff-ffff-ffff-ffffffffffff")],
    ] {
        assert_eq!(listed(&query, None).await.status, 200, "{query:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_no_good_is_refused_also_where_none_is_needed() {
    for token in ["", "x.y.z"] {
        refused(&listed(&[], Some(token)).await, 401, "unauthenticated");
    }
}

#[tokio::test]
async fn the_public_answer_can_be_kept_and_asked_for_by_its_etag() {
    let (user, era, now) = (User::new().await, era(), Timestamp::from_second(1_795_255_200).unwrap());
    let images = published_in(era, &user, 25).await;
    let cursor = end_of(era);
    let ask = async |known: Option<&str>, now| look_at(&[("cursor", &cursor)], None, known, now).await;

    let first = ask(None, now).await;
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let header = |response: &Response<Body>, name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header(&first, "cache-control"), "public, max-age=0, s-maxage=10");
    assert_eq!(header(&first, "vary"), "Authorization");
    assert_eq!(body(&first)["images"].as_array().unwrap().len(), 24);

    // Within the half hour it is the same to the last letter, links included.
    let last = now + SignedDuration::from_secs(1799);
    let again = ask(None, last).await;
    assert_eq!((again.body(), &again.headers()["etag"]), (first.body(), &first.headers()["etag"]));
    for known in [etag.as_str(), &format!("\"other\", {etag}"), etag.strip_prefix("W/").unwrap(), "*"] {
        let known = ask(Some(known), last).await;
        assert_eq!((known.status(), known.body().len()), (StatusCode::NOT_MODIFIED, 0));
        for name in ["etag", "cache-control", "vary"] {
            assert_eq!(header(&known, name), header(&first, name), "{name}");
        }
    }
    assert_eq!(ask(Some("\"other\""), last).await.status(), StatusCode::OK);

    // In the next one the links are others.
    let later = ask(Some(&etag), now + SignedDuration::from_secs(1800)).await;
    assert_eq!(later.status(), StatusCode::OK);
    assert_ne!(body(&later)["images"][0]["thumb_url"], body(&first)["images"][0]["thumb_url"]);

    // And it is another answer as soon as somebody likes a picture, or hides one.
    assert_eq!(like("PUT", &user, images[5]).await.status, 200);
    let changed = ask(Some(&etag), last).await;
    assert_eq!(changed.status(), StatusCode::OK);
    let etag = changed.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(hide(&admin().await, images[0], "It is the one after this page.").await.status, 200);
    let without = ask(Some(&etag), last).await;
    assert_eq!((without.status(), ids(body(&without)["images"].as_array().unwrap()).len()), (StatusCode::OK, 24));
}

#[tokio::test]
async fn what_a_signed_in_user_is_told_is_kept_by_nobody() {
    let (user, era) = (User::new().await, era());
    published_in(era, &user, 1).await;
    let now = Timestamp::now();
    let public = look_at(&[("cursor", &end_of(era))], None, None, now).await;
    let etag = public.headers()["etag"].to_str().unwrap();
    let hers = look_at(&[("cursor", &end_of(era))], Some(&user.token), Some(etag), now).await;
    assert_eq!(hers.status(), StatusCode::OK);
    assert_eq!(
        (&hers.headers()["cache-control"], &hers.headers()["vary"]),
        (&"private, no-store".parse().unwrap(), &"Authorization".parse().unwrap())
    );
    assert!(!hers.headers().contains_key("etag"));
    assert_eq!(body(&hers)["images"][0]["mine"], true);
}

#[tokio::test]
async fn links_live_for_half_an_hour_at_least() {
    let (user, era) = (User::new().await, era());
    published_in(era, &user, 1).await;
    let begin = Timestamp::from_second(1_795_255_200).unwrap();
    for seconds in [0, 1, 1799, 1800, 3599] {
        let now = begin + SignedDuration::from_secs(seconds);
        let page = body(&look_at(&[("cursor", &end_of(era))], None, None, now).await);
        for name in ["screen_url", "thumb_url"] {
            let url: url::Url = page["images"][0][name].as_str().unwrap().parse().unwrap();
            let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
            let signed: Timestamp = value("X-Amz-Date").parse().unwrap();
            let until = signed + SignedDuration::from_secs(value("X-Amz-Expires").parse().unwrap());
            assert!(signed <= now && until > now + SignedDuration::from_secs(1800), "{now}: {url}");
        }
    }
}

#[tokio::test]
async fn a_page_takes_one_round_trip_as_nobody_or_as_the_caller() {
    for signed_in in [false, true] {
        let postgrest = MockServer::start().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(json!([]))).mount(&postgrest).await;
        let user = user_of(&postgrest.uri().parse().unwrap()).await;
        let token = signed_in.then_some(user.token.as_str());
        let deps = list_images(|config| config.auth.supabase_url = postgrest.uri().parse().unwrap());
        let answer = Answer::from(list_images::handle(deps, request("GET", "/images", token, ())).await);
        assert_eq!((answer.status, answer.body), (200, json!({ "images": [], "next_cursor": null })));
        let calls = postgrest.received_requests().await.unwrap();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].headers["apikey"].to_str().unwrap(), setting("SUPABASE_PUBLISHABLE_KEY"));
        let bearer = calls[0].headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(bearer, token.map(|token| format!("Bearer {token}")));
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_a_503_for_all() {
    let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
    let user = user_of(&proxy.origin).await;
    proxy.set(Mode::ServerError);
    let unavailable = |answer: Answer| refused(&answer, 503, "database_unavailable");
    let url = || proxy.origin.clone();
    let ask = |method| about(method, Uuid::new_v4(), Some(&user.token), r#"{"reason":"other"}"#);
    unavailable(
        list_images::handle(list_images(|c| c.auth.supabase_url = url()), request("GET", "/images", None, ()))
            .await
            .into(),
    );
    unavailable(publish_image::handle(publish_image(|c| c.auth.supabase_url = url()), ask("PUT")).await.into());
    unavailable(like_image::handle(like_image(|c| c.auth.supabase_url = url()), ask("DELETE")).await.into());
    unavailable(report_image::handle(report_image(|c| c.auth.supabase_url = url()), ask("POST")).await.into());
    unavailable(hide_image::handle(hide_image(|c| c.auth.supabase_url = url()), ask("PUT")).await.into());
}

#[tokio::test]
async fn the_data_api_shows_readers_the_grid_and_no_more() {
    let (owner, reader, admin) = (User::new().await, User::new().await, admin().await);
    let (shown, kept, hidden) = (published(&owner).await, picture(&owner).await, published(&owner).await);
    assert_eq!(hide(&admin, hidden, "It shows a real person.").await.status, 200);
    let http = http_client::client(std::time::Duration::from_secs(10)).unwrap();
    let read = async |columns: &str, token: Option<&str>| {
        let url =
            format!("{}/rest/v1/images?select={columns}&id=in.({shown},{kept},{hidden})", setting("SUPABASE_URL"));
        let request = http.get(url).header("apikey", setting("SUPABASE_PUBLISHABLE_KEY"));
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let response = request.send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    for token in [None, Some(reader.token.as_str()), Some(admin.token.as_str())] {
        assert_eq!(read("id", token).await, (StatusCode::OK, json!([{ "id": shown }])), "{token:?}");
    }
    assert_eq!(read("id", Some(&owner.token)).await.1.as_array().unwrap().len(), 3, "hers are hers");
    for column in ["user_id", "image_url", "asset_id", "influencer_id", "hidden_reason", "hidden_by", "created_at", "*"]
    {
        assert_eq!(read(column, None).await.0, StatusCode::UNAUTHORIZED, "{column}");
    }
    assert_eq!(read("hidden_by", Some(&owner.token)).await.0, StatusCode::FORBIDDEN, "who hid it is not told");
}
