//! One server in the place of all others: the database, S3, SQS, Stripe, Replicate and n8n. It gives fixed answers, after a fixed
//! time, and notes how long each really took.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    Response,
    body::{Bytes, Frame},
};
use serde_json::Value;
use tokio::time::sleep;
use url::Url;

use crate::{
    function::Call,
    listener::{self, Asked, Told},
};

/// A fixed answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// One header beside `content-type`.
    pub header: (&'static str, String),
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// 200, with bytes of any kind.
    pub fn bytes(body: impl Into<Bytes>) -> Self {
        Self { status: 200, header: ("etag", "\"0\"".to_owned()), body: body.into() }
    }

    /// 200, with JSON.
    pub fn json(body: Value) -> Self {
        Self::bytes(body.to_string())
    }
}

/// What is answered to a method and path, such as `GET /rest/v1/assets`; a `*` at its end stands for any rest. Of several
/// answers each comes in its turn, again and again.
pub type Route = (String, Vec<Answer>);

/// How quick the server is.
#[derive(Clone, Copy)]
pub enum Pace {
    /// As quick as it can be.
    Quick,
    /// Each answer begins so late.
    Delayed(Duration),
    /// So many bytes a second come, and as many go.
    Slow(f64),
}

/// What is sent at once where it is slow.
const PIECE: usize = 64 << 10;

impl Pace {
    /// Waits until so many bytes may have moved.
    async fn keep(self, begun: Instant, bytes: usize) {
        if let Self::Slow(rate) = self {
            let due = Duration::from_secs_f64(bytes as f64 / rate);
            sleep(due.saturating_sub(begun.elapsed())).await;
        }
    }
}

/// The server.
pub struct Upstream {
    /// Where it is.
    pub origin: Url,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
struct Noted {
    /// When a request was there, and when its answer was on its way.
    busy: Vec<(Instant, Instant)>,
    unknown: Vec<String>,
}

impl Upstream {
    /// Starts it, with the routes that are made for where it is.
    pub async fn start(routes: impl FnOnce(&Url) -> anyhow::Result<Vec<Route>>, pace: Pace) -> anyhow::Result<Self> {
        let (listener, origin) = listener::bind().await?;
        let routes: Arc<[_]> =
            routes(&origin)?.into_iter().map(|(route, answers)| (route, answers, AtomicUsize::new(0))).collect();
        let noted = Arc::new(Mutex::new(Noted::default()));
        let notes = Arc::clone(&noted);
        listener::serve(listener, move |request| {
            let (routes, notes) = (Arc::clone(&routes), Arc::clone(&notes));
            async move {
                let begun = Instant::now();
                let asked = format!("{} {}", request.method(), request.uri().path());
                read_all(request, pace).await;
                if let Pace::Delayed(delay) = pace {
                    sleep(delay).await;
                }
                let found = routes.iter().find(|(route, ..)| is_for(route, &asked));
                let answer = found
                    .map(|(_, answers, turn)| answers[turn.fetch_add(1, Ordering::Relaxed) % answers.len()].clone());
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = answer.unwrap_or_else(|| {
                    notes.unknown.push(asked);
                    Answer { status: 404, ..Answer::bytes("") }
                });
                notes.busy.push((begun, Instant::now()));
                told(answer, pace)
            }
        });
        Ok(Self { origin, noted })
    }

    /// How long the server was at work for a call, and how many requests there were: those at the same time count once in the
    /// first number. It forgets them.
    ///
    /// # Errors
    /// When something was asked for that has no answer.
    pub fn share(&self, call: &Call) -> anyhow::Result<(Duration, usize)> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(noted.unknown.is_empty(), "nobody expected {:?}", noted.unknown);
        let busy = std::mem::take(&mut noted.busy);
        Ok((together(call.began, &busy), busy.len()))
    }
}

/// How long at least one was at work.
fn together(began: Instant, busy: &[(Instant, Instant)]) -> Duration {
    let mut busy = busy.to_vec();
    busy.sort();
    let (mut sum, mut until) = (Duration::ZERO, began);
    for (begun, ended) in busy {
        sum += ended.saturating_duration_since(until.max(begun));
        until = until.max(ended);
    }
    sum
}

async fn read_all(request: Asked, pace: Pace) {
    let (begun, mut read, mut body) = (Instant::now(), 0, request.into_body());
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        pace.keep(begun, read).await;
    }
}

fn is_for(route: &str, asked: &str) -> bool {
    match route.strip_suffix('*') {
        Some(start) => asked.starts_with(start),
        None => route == asked,
    }
}

fn told(answer: Answer, pace: Pace) -> Told {
    let (name, value) = answer.header;
    let response =
        Response::builder().status(answer.status).header("content-type", "application/json").header(name, value);
    let response = match pace {
        Pace::Slow(_) => {
            let response = response.header("content-length", answer.body.len());
            let begun = Instant::now();
            let pieces = stream::unfold((0, answer.body), move |(mut sent, mut rest)| async move {
                let piece = rest.split_to(rest.len().min(PIECE));
                sent += piece.len();
                pace.keep(begun, sent).await;
                (!piece.is_empty()).then_some((Ok(Frame::data(piece)), (sent, rest)))
            });
            response.body(BodyExt::boxed(StreamBody::new(pieces)))
        }
        _ => response.body(Full::new(answer.body).boxed()),
    };
    response.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_at_the_same_time_count_once() {
        let began = Instant::now();
        let at = |from, to| (began + Duration::from_millis(from), began + Duration::from_millis(to));
        assert_eq!(together(began, &[]), Duration::ZERO);
        assert_eq!(together(began, &[at(1, 6), at(10, 15)]), Duration::from_millis(10));
        assert_eq!(together(began, &[at(3, 8), at(1, 6), at(2, 4)]), Duration::from_millis(7));
    }

    #[test]
    fn a_star_stands_for_any_rest() {
        assert!(is_for("GET /a", "GET /a") && is_for("PUT /a/*", "PUT /a/b/c"));
        assert!(!is_for("GET /a", "GET /a/b") && !is_for("PUT /a/*", "GET /a/b") && !is_for("PUT /a/*", "PUT /b"));
    }
}
