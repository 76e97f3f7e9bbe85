//! How quickly functions start, and how large they are.

use std::{fs, io::Write, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use flate2::{Compression, write::DeflateEncoder};

use crate::{
    cases::CASES,
    function::{Environment, Function},
    median, milliseconds, program,
    report::Report,
    upstream::Pace,
};

const ROUNDS: usize = 21;
/// Of hello's, without and with an AWS SDK.
const MOST_START_UP: [f64; 2] = [1.5, 3.0];
/// Of the zip, in MB of 2²⁰ bytes.
const MOST_ZIPPED: f64 = 4.0;
/// A zip is its one file, deflated, and the names and sums around it.
const AROUND: usize = 130;

#[derive(Default)]
struct Times {
    function: Vec<Duration>,
    hello: Vec<Duration>,
    first_call: Vec<Duration>,
}

/// Starts each function again and again, and hello before each.
pub async fn measure(functions: &[String], report: &mut Report) -> anyhow::Result<()> {
    let mut stages = Vec::new();
    for name in functions {
        let case = CASES.iter().find(|case| case.function == name);
        let case = case.with_context(|| format!("bench/src/cases.rs does not know {name}"))?;
        stages.push((name, program(name)?, case, case.stage(Pace::Quick).await?, Times::default()));
    }
    let hello = program("hello")?;
    for round in 0..ROUNDS {
        eprintln!("start-up, round {} of {ROUNDS}", round + 1);
        for (_, program, case, stage, times) in &mut stages {
            times.hello.push(Function::start(&hello, &Environment::new()).await?.start_up);
            let mut function = Function::start(program, &stage.environment).await?;
            times.function.push(function.start_up);
            let call = function.call(&stage.event).await?;
            case.went_well(&call)?;
            times.first_call.push(call.ended - call.began);
        }
    }

    let mut rows = Vec::new();
    for (name, program, _, _, times) in &stages {
        let has_sdk = has_sdk(name)?;
        let (start_up, hello) = (milliseconds(median(&times.function)), milliseconds(median(&times.hello)));
        let first_call = milliseconds(median(&times.first_call));
        let zipped = zipped(program)?;
        let megabytes = zipped as f64 / f64::from(1 << 20);
        report.bound(&format!("start-up of {name}, in hello's"), start_up / hello, MOST_START_UP[usize::from(has_sdk)]);
        report.bound(&format!("zip of {name}, in MB"), megabytes, MOST_ZIPPED);
        report.note(name, "zipped_bytes", zipped);
        report.note(name, "start_up_ms", start_up);
        report.note(name, "first_call_ms", first_call);
        rows.push(vec![
            format!("{name}{}", if has_sdk { " †" } else { "" }),
            format!("{start_up:.2} ms"),
            format!("{:.2}", start_up / hello),
            format!("{first_call:.1} ms"),
            format!("{megabytes:.2} MB"),
        ]);
    }
    report.say("### Start-up and size");
    let headings = ["function", " start-up", " of hello's", " first call", " zipped"];
    report.table(&headings, &rows);
    Ok(())
}

/// Whether an AWS SDK is in a function.
fn has_sdk(name: &str) -> anyhow::Result<bool> {
    let arguments = ["tree", "--locked", "--edges=normal", "--prefix=none", "--package", name];
    let tree = Command::new("cargo").args(arguments).output()?;
    ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    Ok(String::from_utf8(tree.stdout)?.lines().any(|line| line.starts_with("aws-sdk-")))
}

fn zipped(program: &Path) -> anyhow::Result<usize> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&fs::read(program)?)?;
    Ok(encoder.finish()?.len() + AROUND)
}
