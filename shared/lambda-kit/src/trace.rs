//! Which request a call belongs to: the log lines of all calls that come of one request carry one id.
//!
//! The id is the root of X-Ray's trace (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html>). Lambda gives every
//! call one. A message brings its sender's, and what comes back from outside brings that of the call that ordered it ([`join`]).

use std::{
    fmt,
    future::Future,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tracing::{Instrument, Span, field};

/// The root of a trace: `1-`, the second in which it began, and 96 random bits. Nothing else can be in one, so it may be logged
/// whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId {
    began: u32,
    random: u128,
}

/// Not a trace id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a trace id")]
pub struct NoTraceId;

impl FromStr for TraceId {
    type Err = NoTraceId;

    fn from_str(text: &str) -> Result<Self, NoTraceId> {
        let (began, random) = text.strip_prefix("1-").and_then(|rest| rest.split_once('-')).ok_or(NoTraceId)?;
        let hex = |text: &str, digits: usize| {
            let fits = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            fits.then(|| u128::from_str_radix(text, 16).ok()).flatten().ok_or(NoTraceId)
        };
        Ok(Self { began: hex(began, 8)?.try_into().map_err(|_| NoTraceId)?, random: hex(random, 24)? })
    }
}

impl TryFrom<String> for TraceId {
    type Error = NoTraceId;

    fn try_from(text: String) -> Result<Self, NoTraceId> {
        text.parse()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1-{:08x}-{:024x}", self.began, self.random)
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.to_string()
    }
}

/// A trace as it goes on from here.
#[derive(Clone)]
struct Trace {
    id: TraceId,
    /// X-Ray's header: the id, which part of the trace we are, and whether X-Ray keeps it.
    header: String,
}

impl Trace {
    fn of(header: &str) -> Option<Self> {
        let id = header.split(';').find_map(|part| part.trim().strip_prefix("Root=")?.parse().ok())?;
        Some(Self { id, header: header.to_owned() })
    }
}

struct Call {
    trace: Mutex<Option<Trace>>,
    span: Span,
}

tokio::task_local! {
    static CALL: Call;
}

/// Runs `call` as a part of the trace that `header` names; its lines carry `trace_id`. Without one, or with one that is none, as
/// a part of the trace that we are in.
pub(crate) async fn within<F: Future>(header: Option<&str>, call: F) -> F::Output {
    let trace = header.and_then(Trace::of).or_else(current);
    // Of the highest level, or a quieter log would lose it.
    let span = tracing::error_span!("call", trace_id = field::Empty);
    if let Some(trace) = &trace {
        span.record("trace_id", field::display(trace.id));
    }
    let state = Call { trace: Mutex::new(trace), span: span.clone() };
    CALL.scope(state, call.instrument(span)).await
}

fn current() -> Option<Trace> {
    CALL.try_with(|call| call.trace.lock().unwrap_or_else(PoisonError::into_inner).clone()).ok().flatten()
}

/// The trace that we are in, for what orders something outside and is told of it by another call.
pub fn id() -> Option<TraceId> {
    current().map(|trace| trace.id)
}

/// The same as X-Ray's header, for a message.
pub fn header() -> Option<String> {
    current().map(|trace| trace.header)
}

/// From here on this call belongs to the trace `id`, as far as our log lines and messages go. In X-Ray it remains one of its own.
pub fn join(id: TraceId) {
    // Outside of a call, as in a test, there is nothing to join.
    let _ = CALL.try_with(|call| {
        call.span.record("trace_id", field::display(id));
        let trace = Trace { id, header: format!("Root={id}") };
        *call.trace.lock().unwrap_or_else(PoisonError::into_inner) = Some(trace);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    #[test]
    fn an_id_is_read_strictly_and_written_as_it_was() {
        let text = "1-5759e988-0d862e3fe1be46a994272793";
        assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
        for other in [
            "",
            "1-5759e988-bd862e3fe1be46a99427279",
            "1-5759e988-bd862e3fe1be46a9942727930",
            "1-5759e98-0bd862e3fe1be46a994272793",
            "2-5759e988-bd862e3fe1be46a994272793",
            "1-5759E988-bd862e3fe1be46a994272793",
            "1-+759e988-bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a994272793 ",
            "1-5759e988-bd862e3fe1be46a99427279\u{e9}",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
        ] {
            assert_eq!(other.parse::<TraceId>(), Err(NoTraceId), "{other}");
        }
    }

    #[tokio::test]
    async fn a_message_goes_on_with_its_own_trace_and_a_callback_with_the_one_it_joins() {
        assert_eq!(header(), None);
        within(Some(HEADER), async {
            assert_eq!(header().as_deref(), Some(HEADER));
            for nothing in [None, Some("Sampled=1"), Some("Root=1-x")] {
                within(nothing, async { assert_eq!(header().as_deref(), Some(HEADER), "{nothing:?}") }).await;
            }
            let other = "1-5759e988-000000000000000000000001";
            within(Some(&format!("Self=1-0-0;Root={other}")), async { assert_eq!(id().unwrap().to_string(), other) })
                .await;
            assert_eq!(header().as_deref(), Some(HEADER), "the batch is as it was");

            join(other.parse().unwrap());
            assert_eq!(header(), Some(format!("Root={other}")));
        })
        .await;
    }
}
