//! The tables, where they are kept, and which bounds were missed.

use std::{fmt::Write, fs, process::Command, thread::available_parallelism};

use anyhow::{Context, ensure};
use jiff::Zoned;
use serde_json::{Map, Value};

use crate::root;

const PAGE: &str = "docs/BENCHMARKS.md";
/// What is between these lines is replaced.
const BEGIN: &str = "<!-- `make bench` writes what follows -->";
const END: &str = "<!-- and this is its end -->";
/// Crates whose version may change a figure.
const CRATES: [&str; 7] = ["lambda_http", "lambda_runtime", "tokio", "reqwest", "rustls", "aws-sdk-s3", "aws-sdk-sqs"];

/// What was measured.
pub struct Report {
    text: String,
    missed: Vec<String>,
    functions: Map<String, Value>,
}

impl Report {
    /// An empty one, which says on what machine.
    pub fn new() -> anyhow::Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo").context("this needs Linux")?;
        let model =
            cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, it)| it);
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().unwrap_or_default();
        let rustc = String::from_utf8(Command::new("rustc").arg("--version").output()?.stdout)?;
        let rustc = rustc.split(' ').nth(1).unwrap_or_default();
        let lock = fs::read_to_string(root().join("Cargo.lock"))?;
        let version = |name: &str| {
            let package = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
            Some(format!("{name} {}", package.split_once('"')?.0))
        };
        let crates: Vec<String> = CRATES.iter().filter_map(|name| version(name)).collect();
        let mut report = Self { text: String::new(), missed: Vec::new(), functions: Map::new() };
        report.say(&format!(
            "Measured on {}, on {} cores of {model} ({}), whose load was {load} when it began, by rustc {rustc} in the release \
             profile, with {}.",
            Zoned::now().date(),
            available_parallelism()?,
            std::env::consts::ARCH,
            crates.join(", "),
        ));
        Ok(report)
    }

    /// Adds a paragraph.
    pub fn say(&mut self, paragraph: &str) {
        println!("{paragraph}\n");
        let _ = writeln!(self.text, "{paragraph}\n");
    }

    /// Adds a table; columns of numbers are those whose heading begins with a blank.
    pub fn table(&mut self, headings: &[&str], rows: &[Vec<String>]) {
        let line = |cells: Vec<&str>| format!("| {} |", cells.join(" | "));
        let rule = headings.iter().map(|heading| if heading.starts_with(' ') { "---:" } else { "---" }).collect();
        let mut lines = vec![line(headings.iter().map(|heading| heading.trim()).collect()), line(rule)];
        lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
        self.say(&lines.join("\n"));
    }

    /// Notes a figure that must not be more than its bound.
    pub fn bound(&mut self, what: &str, figure: f64, most: f64) {
        if figure > most {
            self.missed.push(format!("{what}: {figure:.2}, and {most} is the most"));
        }
    }

    /// Notes something about a function for who reckons what it costs.
    pub fn note(&mut self, function: &str, what: &str, value: impl Into<Value>) {
        let notes = self.functions.entry(function).or_insert_with(|| Map::new().into());
        notes[what] = value.into();
    }

    /// Writes the page, and `target/bench/functions.json`.
    pub fn write(&self) -> anyhow::Result<()> {
        let path = root().join(PAGE);
        let page = fs::read_to_string(&path)?;
        let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = parts.with_context(|| format!("{PAGE} has no place for the tables"))?;
        fs::write(path, format!("{before}{BEGIN}\n\n{}{END}{after}", self.text))?;
        let folder = root().join("target/bench");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("functions.json"), serde_json::to_string_pretty(&self.functions)?)?;
        Ok(())
    }

    /// Fails when a bound was missed.
    pub fn end(self) -> anyhow::Result<()> {
        ensure!(self.missed.is_empty(), "bounds were missed:\n{}", self.missed.join("\n"));
        Ok(())
    }
}
