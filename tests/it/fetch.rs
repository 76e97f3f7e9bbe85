//! fetch-image: what it takes, what it refuses (invariant I4), and that she is completed once (I2).

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use image::ImageFormat;
use lambda_kit::Message;
use serde_json::json;
use uuid::Uuid;

use crate::{
    doubles::{Raw, Reply},
    stack::{
        User, dashboard, database, fetch_image, fetch_message, image_key, image_pending, object, picture, row, setting,
    },
    worker::Worker,
};

/// fetch-image, allowed to fetch from `server`.
fn trusting(server: &Raw) -> Arc<fetch_image::Deps> {
    let origin = server.origin.clone();
    fetch_image(|config| config.local_image_origin = Some(origin))
}

async fn no_object(user: &User, id: Uuid) {
    for extension in ["jpg", "png", "webp"] {
        assert!(object(&image_key(user, id, extension)).await.is_none());
    }
}

#[tokio::test]
async fn an_image_is_stored_by_what_its_bytes_say_and_completes_her() {
    for (format, extension, content_type) in [
        (ImageFormat::Png, "png", "image/png"),
        (ImageFormat::Jpeg, "jpg", "image/jpeg"),
        (ImageFormat::WebP, "webp", "image/webp"),
    ] {
        let (user, id) = image_pending().await;
        let bytes = picture(format);
        let server = Raw::start(Reply::body("text/plain; charset=lies", &bytes)).await;

        fetch_image::handle(trusting(&server), fetch_message(&user, id, server.origin.as_str())).await.unwrap();

        assert_eq!(object(&image_key(&user, id, extension)).await, Some((bytes, content_type.to_owned())));
        let row = row(&user).await;
        let url = format!("{}/{}", setting("MEDIA_BASE_URL"), image_key(&user, id, extension));
        assert_eq!(
            (&row["state"], &row["is_locked"], &row["initial_image_url"]),
            (&json!("ready"), &json!(true), &json!(url))
        );
        assert!(!row["created_at"].is_null());
    }
}

#[tokio::test]
async fn the_same_message_twenty_times_completes_her_once() {
    let (user, id) = image_pending().await;
    let server = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    let deps = trusting(&server);

    let results =
        join_all((0..20).map(|_| fetch_image::handle(deps.clone(), fetch_message(&user, id, server.origin.as_str()))))
            .await;
    // Some may have met another one's write and gone back to the queue; they find her complete when they come again.
    let failed = results.iter().filter(|result| result.is_err()).count();
    for _ in 0..failed {
        fetch_image::handle(deps.clone(), fetch_message(&user, id, server.origin.as_str())).await.unwrap();
    }
    let completed = row(&user).await;
    assert_eq!(completed["state"], "ready");

    let other = Raw::start(Reply::body("image/png", &picture(ImageFormat::Jpeg))).await;
    fetch_image::handle(trusting(&other), fetch_message(&user, id, other.origin.as_str())).await.unwrap();
    assert_eq!(other.hits(), 0, "nothing is fetched for a complete influencer");
    assert_eq!(row(&user).await, completed);
}

#[tokio::test]
async fn a_locked_image_is_not_overwritten_by_a_worker_that_was_slow() {
    let (user, id) = image_pending().await;
    let first = picture(ImageFormat::Png);
    let server = Raw::start(Reply::body("image/png", &first)).await;
    fetch_image::handle(trusting(&server), fetch_message(&user, id, server.origin.as_str())).await.unwrap();

    // The slow one read "image_pending" long ago: play its last steps.
    let media = media_store::MediaStore::new(setting("MEDIA_BUCKET"), &setting("MEDIA_BASE_URL"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"other bytes").unwrap();
    for attempt in [1, 0] {
        let stored = media.put_initial_image(&image_key(&user, id, "png"), file.path(), "image/png", attempt).await;
        assert_eq!(stored.unwrap(), media_store::Stored::AlreadyThere);
    }
    assert_eq!(object(&image_key(&user, id, "png")).await.unwrap().0, first);
    // A later start of the set-up may replace what an earlier one left behind.
    let stored = media.put_initial_image(&image_key(&user, id, "png"), file.path(), "image/png", 2).await;
    assert_eq!(stored.unwrap(), media_store::Stored::New);
}

#[tokio::test]
async fn a_locked_influencer_cannot_be_changed_by_anybody() {
    let (user, id) = image_pending().await;
    let server = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    fetch_image::handle(trusting(&server), fetch_message(&user, id, server.origin.as_str())).await.unwrap();
    let before = row(&user).await;
    for change in ["name = 'Eve'", "is_locked = false", "seed = 2", "initial_image_url = 'x'", "state = 'failed'"] {
        let update = format!("update public.influencers set {change} where id = $1");
        assert!(database().await.execute(&update, &[&id]).await.is_err(), "{change}");
    }
    assert_eq!(row(&user).await, before);
}

#[tokio::test]
async fn messages_for_nobody_and_for_other_attempts_do_nothing() {
    let (user, id) = image_pending().await;
    let server = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    let deps = trusting(&server);
    let mut old = fetch_message(&user, id, server.origin.as_str());
    old.body.attempt = 0;
    let nobody = fetch_message(&user, Uuid::new_v4(), server.origin.as_str());
    for message in [old, nobody] {
        fetch_image::handle(deps.clone(), message).await.unwrap();
    }
    assert_eq!(server.hits(), 0);
    assert_eq!(row(&user).await["state"], "image_pending");
    no_object(&user, id).await;
}

#[tokio::test]
async fn what_can_never_succeed_fails_her_at_once_with_a_reason() {
    let bomb = {
        // A PNG that says 60000 x 60000; its checksum says otherwise.
        let mut bytes = picture(ImageFormat::Png);
        bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        bytes
    };
    let honest_bomb = {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::GrayImage::new(16_384, 8_192).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let large_jpeg = {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let noise = image::RgbImage::from_fn(1000, 1000, |x, y| {
            image::Rgb([(x * y % 251) as u8, (x ^ y) as u8, (x + y) as u8])
        });
        noise.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    };
    let percent = |percent: usize| &large_jpeg[..large_jpeg.len() * percent / 100];
    let png = picture(ImageFormat::Png);
    let jpeg = picture(ImageFormat::Jpeg);
    let cases: Vec<(&str, Reply, &str)> = vec![
        ("not there", Reply::status(404), "image_not_found"),
        ("expired", Reply::status(410), "image_not_found"),
        ("forbidden", Reply::status(403), "image_not_found"),
        ("html that says image/png", Reply::body("image/png", b"<html>gone</html>"), "image_invalid"),
        ("empty", Reply::body("image/png", b""), "image_invalid"),
        ("a gif", Reply::body("image/png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"), "image_invalid"),
        ("an svg", Reply::body("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "image_invalid"),
        ("half a png", Reply::body("image/png", &png[..png.len() / 2]), "image_invalid"),
        ("a third of a jpeg", Reply::body("image/jpeg", &jpeg[..jpeg.len() / 3]), "image_invalid"),
        ("a tenth of a large jpeg", Reply::body("image/jpeg", percent(10)), "image_invalid"),
        ("half a large jpeg", Reply::body("image/jpeg", percent(50)), "image_invalid"),
        ("nearly all of a large jpeg", Reply::body("image/jpeg", percent(99)), "image_invalid"),
        ("a png's signature only", Reply::body("image/png", &png[..8]), "image_invalid"),
        ("a png with a lying header", Reply::body("image/png", &bomb), "image_invalid"),
        ("134 megapixels in a few kilobytes", Reply::body("image/png", &honest_bomb), "image_too_large"),
        (
            "a redirect to the metadata service",
            Reply::redirect("http://169.254.169.254/latest/meta-data/"),
            "image_host_not_allowed",
        ),
        ("a redirect to a file", Reply::redirect("file:///etc/passwd"), "image_host_not_allowed"),
        ("a redirect to another port", Reply::redirect("http://127.0.0.1:1/"), "image_host_not_allowed"),
        ("a redirect to a strange host", Reply::redirect("https://example.com/"), "image_host_not_allowed"),
        ("a redirect to itself", Reply::redirect("/again"), "image_host_not_allowed"),
        ("304", Reply::status(304), "image_host_not_allowed"),
    ];
    for (case, reply, code) in cases {
        let (user, id) = image_pending().await;
        let server = Raw::start(reply).await;
        let result = fetch_image::handle(trusting(&server), fetch_message(&user, id, server.origin.as_str())).await;
        result.unwrap_or_else(|error| panic!("{case}: {error:#}"));
        let her = dashboard(&user).await["influencer"].clone();
        assert_eq!((&her["state"], &her["failure"]["code"]), (&json!("failed"), &json!(code)), "{case}");
        no_object(&user, id).await;
    }
}

#[tokio::test]
async fn urls_that_lead_inside_are_never_asked() {
    let inside = Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await;
    let port = inside.origin.port().unwrap();
    // Allowed by name, refused by what the name resolves to.
    let deps = fetch_image(|config| {
        config.local_image_origin = None;
        config.image_hosts = vec!["replicate.delivery".to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    });
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("https://localhost:{port}/"),
        "https://localhost/".to_owned(),
        "https://127.0.0.1/".to_owned(),
        "https://2130706433/".to_owned(),
        "https://0x7f.1/".to_owned(),
        "https://0177.0.0.1/".to_owned(),
        "https://[::1]/".to_owned(),
        "https://[::ffff:7f00:1]/".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://192.168.0.1/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://[fe80::1]/".to_owned(),
        "https://[fd00:ec2::254]/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("https://replicate.delivery@127.0.0.1:{port}/"),
        format!("https://user:secret@replicate.delivery:{port}/"),
        format!("https://127.0.0.1:{port}#.replicate.delivery"),
        "https://replicate.delivery.evil.example/".to_owned(),
        "https://evilreplicate.delivery/".to_owned(),
        "not a url".to_owned(),
    ] {
        let (user, id) = image_pending().await;
        let result = fetch_image::handle(deps.clone(), fetch_message(&user, id, &url)).await;
        result.unwrap_or_else(|error| panic!("{url}: {error:#}"));
        let failure = &dashboard(&user).await["influencer"]["failure"];
        assert_eq!(failure["code"], "image_host_not_allowed", "{url}");
    }
    assert_eq!(inside.hits(), 0);
}

#[tokio::test]
async fn a_body_without_end_is_cut_at_the_limit() {
    let (user, id) = image_pending().await;
    let (declared, pid) = image_pending().await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\nconnection: close\r\n\r\n".to_vec();
    let endless = Raw::start(Reply::Endless(head, vec![0; 65_536])).await;
    let deps = |server: &Raw| {
        let origin = server.origin.clone();
        fetch_image(|config| {
            config.local_image_origin = Some(origin);
            config.max_image_bytes = 1_000_000;
        })
    };
    fetch_image::handle(deps(&endless), fetch_message(&user, id, endless.origin.as_str())).await.unwrap();
    assert_eq!(dashboard(&user).await["influencer"]["failure"]["code"], "image_too_large");

    // A declared length is believed when it is too much, before a byte is read.
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000001\r\n\r\n".to_vec();
    let huge = Raw::start(Reply::Silence(head)).await;
    fetch_image::handle(deps(&huge), fetch_message(&declared, pid, huge.origin.as_str())).await.unwrap();
    assert_eq!(dashboard(&declared).await["influencer"]["failure"]["code"], "image_too_large");
}

#[tokio::test]
async fn what_may_succeed_later_goes_back_to_the_queue_and_is_recorded_the_last_time() {
    let png = picture(ImageFormat::Png);
    let short = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", png.len());
    let cases = vec![
        ("500", Reply::status(500)),
        ("503", Reply::status(503)),
        ("429", Reply::status(429)),
        ("closed at once", Reply::Bytes(Vec::new())),
        ("garbage", Reply::Bytes(b"no http at all".to_vec())),
        ("broken off", Reply::Bytes([short.as_bytes(), &png[..20]].concat())),
    ];
    for (case, reply) in cases {
        let (user, id) = image_pending().await;
        let server = Raw::start(reply).await;
        let deps = trusting(&server);
        assert!(
            fetch_image::handle(deps.clone(), fetch_message(&user, id, server.origin.as_str())).await.is_err(),
            "{case}"
        );
        assert_eq!(row(&user).await["state"], "image_pending", "{case}");

        let last = setting("IMAGE_MAX_RECEIVE_COUNT").parse().unwrap();
        let last = Message { receive_count: last, ..fetch_message(&user, id, server.origin.as_str()) };
        assert!(fetch_image::handle(deps, last).await.is_err(), "{case}: it belongs to the dead letters");
        let failure = &dashboard(&user).await["influencer"]["failure"];
        assert_eq!(failure["code"], "image_unavailable", "{case}");

        // Redriven from the dead letters when the other side is well again, it still completes her.
        let well = Raw::start(Reply::body("image/png", &png)).await;
        fetch_image::handle(trusting(&well), fetch_message(&user, id, well.origin.as_str())).await.unwrap();
        assert_eq!(row(&user).await["state"], "ready", "{case}");
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec();
    let server = Raw::start(Reply::Silence(head)).await;
    let policy = http_client::guarded::Policy {
        hosts: Vec::new(),
        local_origin: Some(server.origin.clone()),
        max_bytes: 1000,
        stall: Duration::from_millis(50),
        total: Duration::from_secs(20),
    };
    let guarded = http_client::guarded::Guarded::new(policy.clone()).unwrap();
    let error = guarded.fetch(server.origin.as_str(), &mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, http_client::guarded::FetchError::Unavailable(_)), "{error:?}");

    // One byte at a time, never silent for long: the time for the whole ends it.
    let drip =
        Raw::start(Reply::Endless(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n".to_vec(), vec![0])).await;
    let policy = http_client::guarded::Policy {
        local_origin: Some(drip.origin.clone()),
        max_bytes: u64::MAX,
        total: Duration::from_millis(200),
        ..policy
    };
    let guarded = http_client::guarded::Guarded::new(policy).unwrap();
    let error = guarded.fetch(drip.origin.as_str(), &mut tokio::io::sink()).await.unwrap_err();
    assert!(matches!(error, http_client::guarded::FetchError::Unavailable(_)), "{error:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_does_not_grow_with_the_bytes_of_an_image() {
    let mut peaks = Vec::new();
    // What follows a picture's end is no pixel but has to be carried all the same.
    for padding in [0, 40_000_000] {
        let (user, id) = image_pending().await;
        let mut bytes = picture(ImageFormat::Png);
        bytes.resize(bytes.len() + padding, 0);
        let server = Raw::start(Reply::body("image/png", &bytes)).await;
        let worker = Worker::start(&user, id, &server.origin, &[]).await;
        assert_eq!(worker.answer().await, json!({ "batchItemFailures": [] }));
        assert_eq!(object(&image_key(&user, id, "png")).await.unwrap().0.len(), bytes.len());
        peaks.push(worker.peak_memory());
    }
    assert!(peaks[1] < peaks[0] + 8_192, "{peaks:?} KiB");
}
