//! What happened, in numbers, as CloudWatch reads them out of a line of the log
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//!
//! Whoever knows that something took effect counts it, there and then; what was counted in a call is written when the call has
//! ended, in one line for each dimension, and not at all when nothing was. A call that Lambda kills counts nothing.
//!
//! Names, dimensions and values are `&'static str`: there are as many metrics as somebody typed, and no id or address can be one.
//! Each of them costs money (docs/OPERATIONS.md has the list).
//!
//! Our own: `metrics_cloudwatch_embedded` has one recorder for the whole process, where nobody can tell what one call has counted;
//! `metrique` brings three dozen crates, macros and a pipeline of writers. Here a call has a handful of numbers and one moment to
//! write them.

use std::{
    collections::BTreeMap,
    future::Future,
    io::{self, Write},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use crate::Settings;

/// CloudWatch takes no more values of one metric in a line.
const MOST_VALUES: usize = 100;

/// Tells metrics of one name from each other: what it is, and which one of a closed set.
type Dimension = Option<(&'static str, &'static str)>;

struct Metric {
    unit: &'static str,
    values: Vec<u64>,
}

#[derive(Default)]
struct Counted(BTreeMap<Dimension, BTreeMap<&'static str, Metric>>);

tokio::task_local! {
    static COUNTED: Mutex<Counted>;
}

/// Counts `by` more of `name`.
pub fn count(name: &'static str, by: u64) {
    count_in(name, None, by);
}

/// The same, told apart by one dimension: what it is, and which of its values.
pub fn count_of(name: &'static str, dimension: (&'static str, &'static str), by: u64) {
    count_in(name, Some(dimension), by);
}

fn count_in(name: &'static str, dimension: Dimension, by: u64) {
    note(name, dimension, "Count", |values| match values.first_mut() {
        Some(sum) => *sum += by,
        None => values.push(by),
    });
}

/// Notes that something took so long.
pub fn took(name: &'static str, dimension: (&'static str, &'static str), time: Duration) {
    note(name, Some(dimension), "Milliseconds", |values| {
        if values.len() < MOST_VALUES {
            values.push(time.as_millis() as u64);
        }
    });
}

/// Outside of a call, as in a test or in the operator's tool, nothing is counted.
fn note(name: &'static str, dimension: Dimension, unit: &'static str, add: impl FnOnce(&mut Vec<u64>)) {
    let _ = COUNTED.try_with(|counted| {
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = counted.0.entry(dimension).or_default();
        add(&mut metrics.entry(name).or_insert_with(|| Metric { unit, values: Vec::new() }).values);
    });
}

/// Runs `call` and writes what it counted.
pub(crate) async fn written<F: Future>(call: F) -> F::Output {
    let (output, lines) = metered(call).await;
    if !lines.is_empty() {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        // At once, so that lines of calls at the same time do not mix. A log that is not there is no reason to fail.
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }
    output
}

/// Runs `call`; answers the lines of what it counted, too.
pub async fn metered<F: Future>(call: F) -> (F::Output, Vec<Value>) {
    let call = async {
        let output = call.await;
        let counted =
            COUNTED.with(|counted| std::mem::take(&mut *counted.lock().unwrap_or_else(PoisonError::into_inner)));
        (output, counted)
    };
    let (output, counted) = COUNTED.scope(Mutex::default(), call).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    (output, counted.0.into_iter().map(|(dimension, metrics)| line(namespace(), now, dimension, &metrics)).collect())
}

/// The stack's name, so that stacks of one account do not add up.
fn namespace() -> &'static str {
    static NAMESPACE: OnceLock<String> = OnceLock::new();
    NAMESPACE
        .get_or_init(|| Settings::from_env().optional("METRICS_NAMESPACE").unwrap_or_else(|| "sweetheart".to_owned()))
}

fn line(namespace: &str, now: u64, dimension: Dimension, metrics: &BTreeMap<&'static str, Metric>) -> Value {
    let named: Vec<Value> = metrics.iter().map(|(name, metric)| json!({ "Name": name, "Unit": metric.unit })).collect();
    let names: Vec<&str> = dimension.iter().map(|(name, _)| *name).collect();
    let directive = json!({ "Namespace": namespace, "Dimensions": [names], "Metrics": named });
    let mut line = Map::new();
    line.insert("_aws".to_owned(), json!({ "Timestamp": now, "CloudWatchMetrics": [directive] }));
    if let Some((name, value)) = dimension {
        line.insert(name.to_owned(), value.into());
    }
    for (name, metric) in metrics {
        let value = if let [one] = metric.values[..] { json!(one) } else { json!(metric.values) };
        line.insert((*name).to_owned(), value);
    }
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_writes_a_line_for_each_dimension_and_none_for_nothing() {
        let (answer, mut lines) = metered(async {
            count("JobsQueued", 1);
            count("JobsQueued", 2);
            count_of("JobsFailed", ("Reason", "refused"), 1);
            took("UpstreamLatency", ("Upstream", "n8n"), Duration::from_millis(7));
            took("UpstreamLatency", ("Upstream", "n8n"), Duration::from_millis(9));
            "done"
        })
        .await;
        assert_eq!(answer, "done");
        for line in &mut lines {
            assert!(line["_aws"]["Timestamp"].take().as_u64().is_some_and(|time| time > 1_700_000_000_000), "{line}");
        }
        let aws = |dimensions: Value, name: &str, unit: &str| {
            let metrics = json!([{ "Name": name, "Unit": unit }]);
            let directive = json!({ "Namespace": namespace(), "Dimensions": [dimensions], "Metrics": metrics });
            json!({ "Timestamp": null, "CloudWatchMetrics": [directive] })
        };
        let expected = [
            json!({ "_aws": aws(json!([]), "JobsQueued", "Count"), "JobsQueued": 3 }),
            json!({ "_aws": aws(json!(["Reason"]), "JobsFailed", "Count"), "Reason": "refused", "JobsFailed": 1 }),
            json!({
                "_aws": aws(json!(["Upstream"]), "UpstreamLatency", "Milliseconds"), "Upstream": "n8n",
                "UpstreamLatency": [7, 9],
            }),
        ];
        assert_eq!(lines, expected);
        assert_eq!(metered(async {}).await.1, Vec::<Value>::new());
    }

    #[tokio::test]
    async fn calls_at_the_same_time_count_for_themselves() {
        let call = |by| {
            metered(async move {
                count("Things", by);
                tokio::task::yield_now().await;
                count("Things", by);
            })
        };
        let ((_, one), (_, ten)) = tokio::join!(call(1), call(10));
        assert_eq!((&one[0]["Things"], &ten[0]["Things"]), (&json!(2), &json!(20)));
        count("Things", 1); // of no call, and no reason to fail
    }

    #[tokio::test]
    async fn a_line_holds_no_more_values_than_cloudwatch_takes() {
        let (_, lines) = metered(async {
            for _ in 0..=MOST_VALUES {
                took("UpstreamLatency", ("Upstream", "n8n"), Duration::ZERO);
            }
        })
        .await;
        assert_eq!(lines[0]["UpstreamLatency"].as_array().unwrap().len(), MOST_VALUES);
    }
}
