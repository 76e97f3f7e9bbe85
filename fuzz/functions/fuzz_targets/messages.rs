//! Messages in the queues: what S3 tells of uploads, and what functions send each other of what strangers gave them.
//!
//! - A body that is none of the queue's goes back alone, and nobody is asked anything.
//! - Of one that is, the database is asked what this step asks first, about the id that it names. (Its answer is "later", so
//!   that nothing else is done.)
//! - The key of an upload comes back as it was written, however S3 encodes it, and names an upload in one way only.
//!
//! The input's first line is a queue, the rest the body.

#![no_main]

use std::{
    future::Future,
    sync::{Arc, LazyLock},
};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use fuzz::{RUNTIME, Upstream, settings};
use job_queue::{EraseAccount, FetchImage, GenerateImage};
use lambda_kit::{Message, run_batch};
use libfuzzer_sys::{Corpus, fuzz_target};
use media_store::MediaStore;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use register_upload::Notification;
use serde_json::{Value, json};

static UPSTREAM: LazyLock<Upstream> =
    LazyLock::new(|| Upstream::start(|_| ("503 Service Unavailable", "{}".to_owned())));

macro_rules! deps {
    ($function:ident) => {{
        static DEPS: LazyLock<Arc<$function::Deps>> = LazyLock::new(|| {
            let config = $function::Config::read(&settings(&UPSTREAM.url)).expect("its settings");
            Arc::new($function::Deps::new(config).expect("its clients"))
        });
        Arc::clone(&DEPS)
    }};
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else { return Corpus::Reject };
    let Some((queue, body)) = text.split_once('\n') else { return Corpus::Reject };
    match queue {
        "images" => {
            let named = serde_json::from_str::<FetchImage>(body).ok().map(|message| message.influencer_id.0);
            asks(
                deps!(fetch_image),
                fetch_image::handle,
                body,
                "/rest/v1/influencers",
                named.map(|id| json!(format!("eq.{id}"))),
            );
        }
        "generation" => {
            let named = serde_json::from_str::<GenerateImage>(body).ok().map(|message| message.job_id.0);
            let path = "/rest/v1/rpc/claim_generation_job";
            asks(deps!(process_generation_job), process_generation_job::handle, body, path, named.map(|id| json!(id)));
        }
        "erasure" => {
            let named = serde_json::from_str::<EraseAccount>(body).ok().map(|message| message.user_id.0);
            asks(
                deps!(erase_account),
                erase_account::handle,
                body,
                "/rest/v1/rpc/account_deletion",
                named.map(|id| json!(id)),
            );
        }
        "uploads" => uploads(body),
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

fn asks<D, T, F>(deps: Arc<D>, handle: fn(Arc<D>, Message<T>) -> F, body: &str, path: &str, named: Option<Value>)
where
    T: serde::de::DeserializeOwned,
    F: Future<Output = anyhow::Result<()>>,
{
    let mut record = SqsMessage::default();
    record.message_id = Some("m-1".to_owned());
    record.body = Some(body.to_owned());
    let mut event = SqsEvent::default();
    event.records = vec![record];
    let failures = RUNTIME.block_on(run_batch(deps, event, handle)).batch_item_failures;
    assert!(failures.len() == 1 && failures[0].item_identifier == "m-1");

    let asked = UPSTREAM.take();
    let Some(named) = named else { return assert!(asked.is_empty(), "{asked:?}") };
    assert!(!asked.is_empty());
    for asked in asked {
        assert_eq!(asked.url.path(), path);
        let in_query = asked.url.query_pairs().any(|(name, value)| name == "id" && named == *value);
        let body = serde_json::from_slice::<Value>(&asked.body).unwrap_or_default();
        let in_body = body.as_object().is_some_and(|body| body.values().any(|value| *value == named));
        assert!(in_query || in_body, "{asked:?} is not about {named}");
    }
}

fn uploads(body: &str) {
    if let Ok(Notification::Made { records }) = serde_json::from_str(body) {
        for record in records {
            let key = record.key();
            if let Some((user_id, asset_id)) = MediaStore::upload_at(&key) {
                assert!(key.starts_with(&format!("uploads/{user_id}/{asset_id}.")), "{key}");
            }
            let encoded = utf8_percent_encode(&key, NON_ALPHANUMERIC).to_string();
            for sent in [&encoded, &encoded.replace("%20", "+")] {
                let body = json!({ "Records": [{ "s3": { "object": { "key": sent } } }] });
                let Ok(Notification::Made { records }) = serde_json::from_value(body) else { panic!("{sent}") };
                assert_eq!(records[0].key(), key);
            }
        }
    }
}
