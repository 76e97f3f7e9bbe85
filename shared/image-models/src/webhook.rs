//! Replicate's webhooks, signed as Standard Webhooks are (<https://replicate.com/docs/topics/webhooks/verify-webhook>,
//! <https://www.standardwebhooks.com>): `v1,<base64>` of HMAC-SHA256 over `<id>.<timestamp>.<raw body>`.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::id::JobId;
use jiff::Timestamp;
use lambda_kit::{json_cause, trace::TraceId};
use reqwest::header::HeaderMap;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Url, form_urlencoded};

/// How old or how far ahead a webhook may be, in seconds.
const TOLERANCE: u64 = 300;

/// The parameter of the URL that says for which job.
const JOB: &str = "job";
/// The one that says in which trace the prediction was ordered.
const TRACE: &str = "trace";

/// What webhooks are signed with.
#[derive(Clone, Debug)]
pub struct Key(hmac::Key);

impl Key {
    /// Of the secret as Replicate shows it: `whsec_<base64>`.
    ///
    /// # Errors
    /// When it is not of this form.
    pub fn new(secret: &SecretString) -> anyhow::Result<Self> {
        let bytes = secret.expose_secret().trim().strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        match bytes {
            Some(bytes) if !bytes.is_empty() => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            _ => anyhow::bail!("the secret is not whsec_ and base64"),
        }
    }
}

/// Whether a webhook is genuine and its time near `now`: one of its signatures must be right. Compares in constant time.
#[must_use]
pub fn verify(key: &Key, headers: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    else {
        return false;
    };
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let right = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|tag| hmac::verify(&key.0, &signed, &tag).is_ok());
    let near = |time: i64| now.as_second().abs_diff(time) <= TOLERANCE;
    right && timestamp.parse().is_ok_and(near)
}

/// What a webhook is about. Where its prediction stands is to be asked for: webhooks come late, twice and in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// For which job the prediction was made.
    pub job_id: JobId,
    /// The prediction.
    pub prediction_id: String,
    /// The trace in which it was ordered.
    pub trace: Option<TraceId>,
}

/// Reads a genuine webhook: its job from the query of our URL, its prediction from its body. `None` when it is for no job of
/// ours, also when the body, which is signed as the query is not, names another.
///
/// # Errors
/// When the body is no prediction.
pub fn read(query: Option<&str>, body: &[u8]) -> anyhow::Result<Option<Notice>> {
    #[derive(Deserialize)]
    struct Prediction {
        id: String,
        webhook: Option<Url>,
    }
    let Prediction { id, webhook } = serde_json::from_slice(body).map_err(|error| json_cause(&error))?;
    let signed_job = webhook.map(|url| job_of(url.query()));
    let job = job_of(query).filter(|job| signed_job.is_none_or(|signed| signed == Some(*job)));
    Ok(job.map(|job_id| Notice { job_id, prediction_id: id, trace: parameter(query, TRACE) }))
}

/// `url` with the job, and the trace that we are in, in its query.
pub(crate) fn for_job(url: &Url, job_id: JobId, trace: Option<TraceId>) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair(JOB, &job_id.to_string()).extend_pairs(trace.map(|id| (TRACE, id.to_string())));
    url
}

/// The job in a query.
pub(crate) fn job_of(query: Option<&str>) -> Option<JobId> {
    parameter(query, JOB).map(JobId)
}

/// The first parameter of that name; `None` when it is not what it should be.
fn parameter<T: FromStr>(query: Option<&str>, named: &str) -> Option<T> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find_map(|(name, value)| (name == named).then(|| value.parse().ok())).flatten()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SENT_AT: i64 = 1_614_265_330;
    /// The example of <https://www.standardwebhooks.com>. openssl makes the same:
    /// `printf '%s' 'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}' | openssl dgst -sha256 -mac HMAC
    /// -macopt hexkey:$(printf MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw | base64 -d | xxd -p) -binary | base64`
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key(secret: &str) -> Key {
        Key::new(&secret.into()).unwrap()
    }

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let named =
            ["webhook-id", "webhook-timestamp", "webhook-signature"].into_iter().zip([id, timestamp, signature]);
        named.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn genuine(signature: &str) -> HeaderMap {
        headers("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", signature)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn signatures_that_others_made_are_right() {
        assert!(verify(&key(SECRET), &genuine(SIGNATURE), BODY, at(SENT_AT)));
        // Made by Python's hmac.
        let headers = headers("msg_1", "1700000000", "v1,j5gs2hCWrDwWH9BJnm5oXXU9tqYuBa5iw2L5Dce5ARE=");
        let body = br#"{"id":"p1","status":"succeeded"}"#;
        assert!(verify(&key(" whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n"), &headers, body, at(1_700_000_000)));
    }

    #[test]
    fn one_of_several_signatures_must_be_right() {
        for right in [
            format!("v1,AAAA {SIGNATURE}"),
            format!("{SIGNATURE} v1,AAAA"),
            format!("v1a,g0hM9SsE v2,x v1,not+base64! {SIGNATURE}"),
        ] {
            assert!(verify(&key(SECRET), &genuine(&right), BODY, at(SENT_AT)), "{right}");
        }
        for wrong in [
            "",
            "v1,",
            "v1,AAAA",
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF=",
            "v1,G0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ] {
            assert!(!verify(&key(SECRET), &genuine(wrong), BODY, at(SENT_AT)), "{wrong}");
        }
    }

    #[test]
    fn whatever_was_changed_is_noticed() {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let now = at(SENT_AT);
        assert!(!verify(&key(SECRET), &genuine(SIGNATURE), br#"{"test": 2432232315}"#, now), "the body");
        assert!(!verify(&key(SECRET), &genuine(SIGNATURE), br#"{"test":2432232314}"#, now), "its white space");
        assert!(!verify(&key(SECRET), &headers("msg_2", "1614265330", SIGNATURE), BODY, now), "the id");
        assert!(!verify(&key(SECRET), &headers(id, "1614265331", SIGNATURE), BODY, now), "the time");
        assert!(!verify(&key(SECRET), &headers(id, "+1614265330", SIGNATURE), BODY, now), "how it is written");
        assert!(!verify(&key("whsec_AAAA"), &genuine(SIGNATURE), BODY, now), "the secret");
        for missing in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = genuine(SIGNATURE);
            headers.remove(missing);
            assert!(!verify(&key(SECRET), &headers, BODY, now), "{missing}");
        }
    }

    #[test]
    fn it_is_good_for_five_minutes_before_and_after() {
        for (second, good) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            let verified = verify(&key(SECRET), &genuine(SIGNATURE), BODY, at(SENT_AT + second));
            assert_eq!(verified, good, "{second}");
        }
    }

    #[test]
    fn a_secret_is_base64_after_its_prefix() {
        for bad in ["", "whsec_", "whsec_!!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GK"] {
            let error = Key::new(&bad.into()).unwrap_err();
            assert!(bad.len() < 7 || !error.to_string().contains(&bad[6..]), "{error}");
        }
    }

    #[test]
    fn a_notice_names_job_and_prediction() {
        let job_id = JobId(Uuid::from_u128(7));
        let url: Url = "https://abc.lambda-url.us-east-1.on.aws/?a=b".parse().unwrap();
        let ours = for_job(&url, job_id, None);
        assert_eq!(ours.as_str(), format!("{url}&job={job_id}"));
        let body = |webhook: &str| format!(r#"{{"id":"p1","status":"succeeded","webhook":{webhook}}}"#);
        let notice = Notice { job_id, prediction_id: "p1".to_owned(), trace: None };
        let read = |body: &str| read(ours.query(), body.as_bytes()).unwrap();

        assert_eq!(read(r#"{"id":"p1"}"#), Some(notice.clone()));
        assert_eq!(read(&body("null")), Some(notice.clone()));
        assert_eq!(read(&body(&format!("\"{ours}\""))), Some(notice));
        for other in [for_job(&url, JobId(Uuid::from_u128(8)), None), url.clone()] {
            assert_eq!(read(&body(&format!("\"{other}\""))), None, "the query is not signed: {other}");
        }
    }

    #[test]
    fn a_notice_knows_the_trace_in_which_it_was_ordered() {
        let (job_id, trace) = (JobId(Uuid::from_u128(7)), "1-5759e988-bd862e3fe1be46a994272793");
        let url: Url = "https://abc.lambda-url.us-east-1.on.aws/".parse().unwrap();
        let ours = for_job(&url, job_id, trace.parse().ok());
        let trace_of = |query: &str| read(Some(query), br#"{"id":"p1"}"#).unwrap().unwrap().trace;
        assert_eq!(trace_of(ours.query().unwrap()), Some(trace.parse().unwrap()));
        for other in ["", "&trace=", "&trace=mine", "&trace=1-5759e988-bd862e3fe1be46a99427279g"] {
            assert_eq!(trace_of(&format!("job={job_id}{other}")), None, "{other}");
        }
    }

    #[test]
    fn what_is_for_no_job_is_told_from_garbage() {
        for query in [None, Some(""), Some("job="), Some("job=1"), Some("jobs=00000000-0000-0000-0000-000000000007")] {
            assert_eq!(read(query, br#"{"id":"p1"}"#).unwrap(), None, "{query:?}");
        }
        let query = Some("job=00000000-0000-0000-0000-000000000007");
        for garbage in ["", "null", "[]", "{}", r#"{"id":3}"#, "<html>"] {
            assert!(read(query, garbage.as_bytes()).is_err(), "{garbage}");
        }
    }
}
