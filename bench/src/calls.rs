//! What a warm call costs: our own share of its time, and memory.

use std::time::Duration;

use hyper::body::Bytes;

use crate::{
    cases::{CASES, Case},
    function::{Environment, Function},
    median, milliseconds, program, quantile,
    report::Report,
    root,
    upstream::Pace,
};

/// What the systems take that a function asks, in the calls that are timed.
const DELAY: Duration = Duration::from_millis(5);
const WARM_UP: usize = 20;
const TIMED: usize = 400;
/// Of our own share for each request to another system (or of all of it, where there is none), in milliseconds.
const MOST_P50: f64 = 0.5;
const MOST_P99: f64 = 2.0;
/// After how many calls memory is looked at.
const LOOKS: [usize; 3] = [100, 1_000, 10_000];
/// After a thousand calls, in MB of 2²⁰ bytes.
const MOST_MEMORY: f64 = 30.0;
/// From the first look to the last, in the same.
const MOST_GROWTH: f64 = 1.0;

/// The memory after each look, in MB.
async fn memory(case: &Case) -> anyhow::Result<[f64; 3]> {
    let stage = case.stage(Pace::Quick).await?;
    let mut function = Function::start(&program(case.function)?, &stage.environment).await?;
    let (mut called, mut found) = (0, [0.0; 3]);
    for (look, found) in LOOKS.into_iter().zip(&mut found) {
        while called < look {
            let call = function.call(&stage.event).await?;
            case.went_well(&call)?;
            stage.upstream.share(&call)?;
            called += 1;
        }
        *found = function.memory()? as f64 / 1024.0;
    }
    Ok(found)
}

/// Times of calls with slow systems around.
struct Times {
    whole: Vec<Duration>,
    /// Without what the other systems took, and without a call of hello's.
    own: Vec<Duration>,
    hello: Duration,
    requests: usize,
}

async fn times(case: &Case) -> anyhow::Result<Times> {
    let stage = case.stage(Pace::Delayed(DELAY)).await?;
    let mut function = Function::start(&program(case.function)?, &stage.environment).await?;
    let mut hello = Function::start(&program("hello")?, &Environment::new()).await?;
    let nothing: Bytes = std::fs::read(root().join("events/get-dashboard/seen.json"))?.into();
    let (mut whole, mut own, mut hellos, mut requests) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..WARM_UP + TIMED {
        let of_hello = hello.call(&nothing).await?;
        let call = function.call(&stage.event).await?;
        case.went_well(&call)?;
        let (theirs, asked) = stage.upstream.share(&call)?;
        if round >= WARM_UP {
            hellos.push(of_hello.ended - of_hello.began);
            whole.push(call.ended - call.began);
            own.push((call.ended - call.began).saturating_sub(theirs));
            requests += asked;
        }
    }
    let hello = median(&hellos);
    let own = own.into_iter().map(|own| own.saturating_sub(hello)).collect();
    Ok(Times { whole, own, hello, requests: requests / TIMED })
}

/// Calls each function in each of its ways.
pub async fn measure(functions: &[String], report: &mut Report) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut hellos = Vec::new();
    for case in CASES.iter().filter(|case| functions.iter().any(|name| name == case.function)) {
        let name = case.name();
        eprintln!("calls of {name}");
        let times = times(case).await?;
        let [hundred, thousand, many] = memory(case).await?;
        let (whole, p50) = (milliseconds(median(&times.whole)), milliseconds(median(&times.own)));
        let p99 = milliseconds(quantile(&times.own, 0.99));
        if !case.draws {
            let requests = times.requests.max(1) as f64;
            report.bound(&format!("p50 of our own share of {name}, in ms"), p50, MOST_P50 * requests);
            report.bound(&format!("p99 of our own share of {name}, in ms"), p99, MOST_P99 * requests);
        }
        report.bound(&format!("memory of {name}, in MB"), thousand, MOST_MEMORY);
        report.bound(&format!("growth of {name}, in MB"), many - hundred, MOST_GROWTH);
        for (what, value) in [
            ("requests_a_call", times.requests as f64),
            ("call_ms", whole),
            ("own_p50_ms", p50),
            ("own_p99_ms", p99),
            ("memory_mb", thousand),
        ] {
            report.note(&name, what, value);
        }
        hellos.push(times.hello);
        rows.push(vec![
            name,
            times.requests.to_string(),
            format!("{whole:.1} ms"),
            format!("{p50:.2} ms"),
            format!("{p99:.2} ms"),
            format!("{hundred:.1} MB"),
            format!("{thousand:.1} MB"),
            format!("{many:.1} MB"),
        ]);
    }
    report.say("### Warm calls");
    report.table(
        &["call", " requests", " whole, p50", " own share, p50", " p99", " memory after 100", " 1,000", " 10,000"],
        &rows,
    );
    report.say(&format!("A call of hello's took {:.2} ms meanwhile.", milliseconds(median(&hellos))));
    Ok(())
}
