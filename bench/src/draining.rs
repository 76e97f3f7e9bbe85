//! How long a queue's worker takes for many messages.

use std::time::{Duration, Instant};

use anyhow::Context;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::try_join;

use crate::{
    cases::{CASES, Case, Stage},
    function::Function,
    program,
    report::Report,
    upstream::Pace,
};

const MESSAGES: usize = 10_000;
/// As `template.yaml` hands them to fetch-image.
const BATCH: usize = 4;
const DELAY: Duration = Duration::from_millis(5);

/// Drains the queue with one worker, and with two.
pub async fn measure(report: &mut Report) -> anyhow::Result<()> {
    eprintln!("draining");
    let case = CASES.iter().find(|case| case.function == "fetch-image").context("no fetch-image")?;
    let stage = case.stage(Pace::Delayed(DELAY)).await?;
    let batch = batch(&stage.event)?;
    let batches = MESSAGES / BATCH;

    let one = drain(case, &stage, &batch, batches).await?;
    let begun = Instant::now();
    try_join!(drain(case, &stage, &batch, batches / 2), drain(case, &stage, &batch, batches - batches / 2))?;
    let two = begun.elapsed();
    report.say("### Draining a queue");
    let row = |workers: &str, took: Duration| {
        let seconds = took.as_secs_f64();
        vec![workers.to_owned(), format!("{seconds:.1} s"), format!("{:.0}", MESSAGES as f64 / seconds)]
    };
    report.table(&["workers", " took", " messages a second"], &[row("1", one), row("2", two)]);
    Ok(())
}

/// As many batches as that, by a worker of its own.
async fn drain(case: &Case, stage: &Stage, batch: &Bytes, batches: usize) -> anyhow::Result<Duration> {
    let mut function = Function::start(&program(case.function)?, &stage.environment).await?;
    let begun = Instant::now();
    for _ in 0..batches {
        case.went_well(&function.call(batch).await?)?;
    }
    Ok(begun.elapsed())
}

/// The event's message, as often as a batch has them.
fn batch(event: &Bytes) -> anyhow::Result<Bytes> {
    let mut event: Value = serde_json::from_slice(event)?;
    let records = (0..BATCH).map(|number| {
        let mut record = event["Records"][0].clone();
        record["messageId"] = json!(format!("message-{number}"));
        record
    });
    event["Records"] = records.collect();
    Ok(event.to_string().into())
}
