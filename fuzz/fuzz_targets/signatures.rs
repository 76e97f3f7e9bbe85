//! Signature headers: of Stripe and of callbacks (`t=…,v1=…`), and of Standard Webhooks, which Replicate sends.
//!
//! - What is accepted holds the signature of these very bytes, at a time near now.
//! - What was signed is accepted, whatever else stands in the header; for other bytes it is not.
//!
//! The input's lines are an `x-signature`, a `webhook-id`, a `webhook-timestamp` and a `webhook-signature`; the rest is the body.
//! `{now}`, `{old}` and `{other}` stand for genuine signatures: of this body now, of this body ten minutes ago, of another body.
//! Nothing could guess them.

#![no_main]

use auth::signature;
use base64::{Engine, engine::general_purpose::STANDARD};
use fuzz::{REPLICATE_WEBHOOK_SECRET, STRIPE_WEBHOOK_SECRET};
use image_models::webhook::{self, Key};
use jiff::Timestamp;
use lambda_http::http::{HeaderMap, HeaderValue};
use libfuzzer_sys::{Corpus, fuzz_target};
use ring::hmac;
use secrecy::SecretString;

const NOW: i64 = 1_700_000_000;
const TOLERANCE: u64 = 300;

fuzz_target!(|data: &[u8]| -> Corpus {
    let parts: Vec<&[u8]> = data.splitn(5, |byte| *byte == b'\n').collect();
    let [x_signature, id, timestamp, signatures, body] = parts[..] else { return Corpus::Reject };
    let (Ok(x_signature), Ok(signatures)) = (str::from_utf8(x_signature), str::from_utf8(signatures)) else {
        return Corpus::Reject;
    };
    stripes_scheme(x_signature, body);
    standard_webhooks(id, timestamp, signatures, body)
});

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// `template` with genuine signatures, of which `sign` makes one of a body at a time.
fn filled(template: &str, body: &[u8], sign: impl Fn(i64, &[u8]) -> String) -> String {
    let other = [body, b"."].concat();
    template
        .replace("{now}", &sign(NOW, body))
        .replace("{old}", &sign(NOW - 600, body))
        .replace("{other}", &sign(NOW, &other))
}

fn stripes_scheme(template: &str, body: &[u8]) {
    let secret: SecretString = STRIPE_WEBHOOK_SECRET.into();
    let sign = |second, body: &[u8]| signature::sign(&secret, at(second), body);
    // Only the signature, without its time.
    let tag = |second, body: &[u8]| sign(second, body).rsplit_once('=').expect("v1=").1.to_owned();
    let header = filled(template, body, tag);

    if signature::verify(&secret, &header, at(NOW), body) {
        let lower = header.to_lowercase();
        let times = header.split(',').filter_map(|part| part.trim().strip_prefix("t=")?.parse::<i64>().ok());
        let mut near = times.filter(|time| NOW.abs_diff(*time) <= TOLERANCE);
        assert!(near.any(|time| lower.contains(&tag(time, body))), "accepted without a signature: {header}");
    }
    let genuine = sign(NOW, body);
    let longer = format!("{genuine},{header}");
    assert!(signature::verify(&secret, &longer, at(NOW), body), "refused for what follows it: {longer}");
    assert!(!signature::verify(&secret, &genuine, at(NOW), &[body, b"."].concat()), "accepted for other bytes");
}

fn standard_webhooks(id: &[u8], timestamp: &[u8], template: &str, body: &[u8]) -> Corpus {
    let key = Key::new(&REPLICATE_WEBHOOK_SECRET.into()).expect("a key");
    let bytes = STANDARD.decode(&REPLICATE_WEBHOOK_SECRET["whsec_".len()..]).expect("base64");
    let raw = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let tag =
        |timestamp: &[u8], body: &[u8]| STANDARD.encode(hmac::sign(&raw, &[id, b".", timestamp, b".", body].concat()));
    let sign = |second: i64, body: &[u8]| match second {
        NOW => tag(timestamp, body),
        second => tag(second.to_string().as_bytes(), body),
    };
    let headers = |signatures: &str| -> Option<HeaderMap> {
        let value = |value: &[u8]| HeaderValue::from_bytes(value).ok();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", value(id)?);
        headers.insert("webhook-timestamp", value(timestamp)?);
        headers.insert("webhook-signature", value(signatures.as_bytes())?);
        Some(headers)
    };
    let signatures = filled(template, body, sign);
    let Some(given) = headers(&signatures) else { return Corpus::Keep };

    let near = str::from_utf8(timestamp).ok().and_then(|time| time.parse::<i64>().ok());
    let near = near.is_some_and(|time| NOW.abs_diff(time) <= TOLERANCE);
    let genuine = tag(timestamp, body);
    if webhook::verify(&key, &given, body, at(NOW)) {
        assert!(near, "accepted at another time");
        assert!(signatures.contains(&genuine), "accepted without a signature: {signatures}");
    }
    let visible = |value: &[u8]| value.iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\t');
    if near && visible(id) && signatures.is_ascii() {
        let longer = headers(&format!("{signatures} v1,{genuine} {signatures}")).expect("what was a header");
        assert!(webhook::verify(&key, &longer, body, at(NOW)), "refused for what stands beside it: {signatures}");
        assert!(!webhook::verify(&key, &longer, &[body, b"."].concat(), at(NOW)) || template.contains("{other}"));
    }
    Corpus::Keep
}
