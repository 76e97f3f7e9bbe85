//! Measures the functions as Lambda runs them: `make bench`, which is `cargo run --release -p bench`. All figures are taken beside
//! those of a function that does nothing (`bench/hello`), in turns, so that other work on the machine slows both. It writes its
//! tables into `docs/BENCHMARKS.md`, and fails when a figure misses its bound. With names of functions it measures those and
//! writes nothing.

#![allow(clippy::print_stdout)]

mod calls;
mod cases;
mod checks;
mod copying;
mod draining;
mod function;
mod keys;
mod listener;
mod report;
mod starts;
mod upstream;

use std::{env, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};

use report::Report;

/// Does what the arguments say: all of it, or some functions only, or one plain copy.
///
/// # Errors
/// When something cannot be measured, or a figure misses its bound.
pub async fn run(arguments: &[String]) -> anyhow::Result<()> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["copy", way, from, to] => copying::copy(way, from, to).await,
        _ => compare(arguments).await,
    }
}

async fn compare(names: &[String]) -> anyhow::Result<()> {
    let functions = functions()?;
    for name in names {
        ensure!(functions.contains(name), "there is no function {name}");
    }
    let chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| chosen == name);
    let functions: Vec<String> = functions.into_iter().filter(|name| chosen(name)).collect();

    let mut report = Report::new()?;
    starts::measure(&functions, &mut report).await?;
    calls::measure(&functions, &mut report).await?;
    if chosen("fetch-image") {
        copying::measure(&mut report).await?;
        draining::measure(&mut report).await?;
    }
    if names.is_empty() {
        checks::measure(&mut report).await?;
        report.write()?;
    }
    report.end()
}

/// The names of all functions.
fn functions() -> anyhow::Result<Vec<String>> {
    let folder = root().join("functions");
    let names = folder.read_dir()?.map(|entry| entry?.file_name().into_string().ok().context("a strange name"));
    let mut names = names.collect::<anyhow::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The folder of the whole project.
fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), ".."].iter().collect()
}

/// The program of a function, which lies beside this one.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let program = env::current_exe()?.with_file_name(name);
    ensure!(program.exists(), "{} is not built: `make bench` does it", program.display());
    Ok(program)
}

/// The value below which `share` of the others lie; 0.5 is the median.
fn quantile(values: &[Duration], share: f64) -> Duration {
    let mut values = values.to_vec();
    values.sort();
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn median(values: &[Duration]) -> Duration {
    quantile(values, 0.5)
}

/// For tables.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_measured() {
        for name in functions().unwrap() {
            assert!(cases::CASES.iter().any(|case| case.function == name), "bench/src/cases.rs has no case of {name}");
        }
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<Duration> = (1..=400).rev().map(Duration::from_millis).collect();
        assert_eq!(median(&values), Duration::from_millis(201));
        assert_eq!(quantile(&values, 0.99), Duration::from_millis(397));
        assert_eq!(quantile(&values, 1.0), Duration::from_millis(400));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
