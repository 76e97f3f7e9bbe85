//! Every flow under every fault of every part that it calls: what its caller hears is true and in time; once the fault is over, what
//! a caller, a sender, a queue or the clock does anyway makes it whole, exactly once; and the invariants hold.
//!
//! `make faults` runs this with a stack of its own, since it sweeps and cleans up what is everybody's, and writes the table of
//! docs/RELIABILITY.md. `make faults ONLY=checkout` runs the rows with that word in them.

mod characters;
mod house;
mod invariants;
mod money;
mod people;
mod pictures;

use std::{collections::BTreeSet, fmt::Write, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Instant};

use futures_util::{FutureExt, StreamExt, future::join, stream};
use image::ImageFormat;
use lambda_kit::Settings;
use serde_json::Value;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    doubles::{Mode, Proxy, Raw, Reply},
    stack::{picture, setting},
};
use house::{Function, Heard, Lambda, Line};

/// A part outside, as a flow calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    Database,
    Bucket,
    Queue,
    Stripe,
    N8n,
    Replicate,
    /// Where Replicate's pictures lie.
    Pictures,
}

use Upstream::{Bucket, Database, N8n, Pictures, Queue, Replicate, Stripe};

impl Upstream {
    fn name(self) -> &'static str {
        match self {
            Database => "PostgREST",
            Bucket => "S3",
            Queue => "SQS",
            Stripe => "Stripe",
            N8n => "n8n",
            Replicate => "Replicate",
            Pictures => "Replicate's files",
        }
    }

    /// The setting by which a function knows it.
    fn setting(self) -> &'static str {
        match self {
            Database => "SUPABASE_URL",
            Bucket => "AWS_ENDPOINT_URL_S3",
            Queue => "AWS_ENDPOINT_URL_SQS",
            Stripe => "STRIPE_API_URL",
            N8n => "N8N_WEBHOOK_URL",
            Replicate => "REPLICATE_API_URL",
            Pictures => "LOCAL_IMAGE_ORIGIN",
        }
    }

    /// What a client hears who cannot be served without it.
    fn error(self) -> (u16, &'static str) {
        match self {
            Database => (503, "database_unavailable"),
            Bucket => (503, "storage_unavailable"),
            Queue => (503, "queue_unavailable"),
            Stripe => (503, "stripe_unavailable"),
            N8n => (502, "workflow_unavailable"),
            Replicate | Pictures => unreachable!("no client waits for it"),
        }
    }
}

/// What goes wrong, and the head of its column.
const FAULTS: [(Mode, &str); 8] = [
    (Mode::Refuse, "refuses"),
    (Mode::Reset, "resets"),
    (Mode::Hang, "hangs"),
    (Mode::Slow, "is slow"),
    (Mode::ServerError, "500"),
    (Mode::TooMany, "429"),
    (Mode::Garbage, "garbage"),
    (Mode::Truncate, "truncated"),
];

type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// A flow: its name, the functions that take part in it, the parts that the first of them calls, and how it goes.
type Flow = (&'static str, &'static [&'static str], &'static [Upstream], fn(Trial) -> Running);

/// All of them, in the order of the table.
fn flows() -> Vec<Flow> {
    [characters::FLOWS, money::FLOWS, pictures::FLOWS, people::FLOWS].concat()
}

/// What all trials share.
struct House {
    lambda: Lambda,
    sqs: aws_sdk_sqs::Client,
    s3: aws_sdk_s3::Client,
    pictures: Raw,
}

/// The clock's functions take what is everybody's: one trial at a time lets them.
static CLOCK: Mutex<()> = Mutex::const_new(());

impl House {
    async fn new() -> Self {
        // For what a trial looks at there is all the time that a busy machine needs.
        let patient = aws_sdk_s3::config::timeout::TimeoutConfig::disabled();
        let aws = aws_setup::sdk_config().await.into_builder().timeout_config(patient).build();
        Self {
            lambda: Lambda::start().await,
            sqs: aws_sdk_sqs::Client::new(&aws),
            s3: aws_sdk_s3::Client::new(&aws),
            pictures: Raw::start(Reply::body("image/png", &picture(ImageFormat::Png))).await,
        }
    }

    /// A function for which all is well.
    async fn function(&self, name: &'static str, environment: &[(&'static str, &str)]) -> Function {
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.lambda.function(name, &environment).await
    }

    async fn line(&self) -> Line {
        Line::new(&self.sqs).await
    }

    /// A bucket of which nobody hears.
    async fn bucket(&self) -> String {
        let name = format!("faults-{}", Uuid::new_v4());
        self.s3.create_bucket().bucket(&name).send().await.unwrap();
        name
    }

    async fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) {
        self.s3.put_object().bucket(bucket).key(key).body(bytes.into()).send().await.unwrap();
    }
}

/// One flow under one fault of one part.
struct Trial {
    house: Arc<House>,
    upstream: Upstream,
    fault: Mode,
    proxy: Arc<Proxy>,
    case: String,
}

/// What came of it: a cell of the table.
struct Outcome {
    heard: String,
    whole: &'static str,
}

/// Without anybody's doing.
const AT_ONCE: &str = "";

impl Trial {
    fn new(house: Arc<House>, flow: &str, upstream: Upstream, fault: Mode) -> Self {
        let target = match upstream {
            Bucket | Queue => setting("AWS_ENDPOINT_URL"),
            Pictures => house.pictures.origin.to_string(),
            _ => setting(upstream.setting()),
        };
        let case = format!("{flow}, {}: {fault:?}", upstream.name());
        Self { house, upstream, fault, proxy: Arc::new(Proxy::that(fault, &target)), case }
    }

    /// The function that the part fails, whose process stays warm when the fault is over.
    async fn function(&self, name: &'static str, environment: &[(&'static str, &str)]) -> Function {
        let faulty = (self.upstream.setting(), self.proxy.origin.as_str());
        self.house.function(name, &[environment, &[faulty]].concat()).await
    }

    /// The fault is over.
    fn lift(&self) {
        if self.fault != Mode::Refuse {
            assert!(self.proxy.connections() > 0, "{}: nobody asked", self.case);
        }
        self.proxy.set(Mode::Pass);
    }

    /// Whether a client was told that it is done. If not, then in the way that is documented.
    fn accepts(&self, event: &Value, heard: &Heard, good: &[u16]) -> bool {
        if good.contains(&heard.status) {
            return true;
        }
        let case = &self.case;
        assert_ne!(self.fault, Mode::Slow, "{case}: what is slow is waited for: {heard:?}");
        let (status, code) = self.upstream.error();
        assert_eq!((heard.status, &heard.body["code"]), (status, &code.into()), "{case}: {heard:?}");
        assert_eq!(heard.headers["content-type"], "application/problem+json", "{case}");
        assert_eq!(status == 503, heard.headers["retry-after"] == "5", "{case}: {heard:?}");
        for member in ["type", "title", "detail", "request_id"] {
            assert!(heard.body[member].as_str().is_some_and(|text| !text.is_empty()), "{case}: {heard:?}");
        }
        assert!(is_documented(event["routeKey"].as_str().unwrap(), status, code), "{case}: {status} {code}");
        false
    }

    /// A client asks, hears, and if it is not done asks again when the fault is over. Answers what she heard last.
    async fn ask(&self, function: &Function, event: &Value, good: &[u16]) -> (Heard, Outcome) {
        let heard = function.http(event).await;
        let accepted = self.accepts(event, &heard, good);
        self.lift();
        let outcome = Outcome { heard: heard.status.to_string(), whole: if accepted { AT_ONCE } else { "again" } };
        if accepted {
            return (heard, outcome);
        }
        let again = function.http(event).await;
        assert!(good.contains(&again.status), "{}, asked again: {again:?}", self.case);
        (again, outcome)
    }

    /// A queue hands out what it has for `about`, and what is not done again when the fault is over; `meanwhile` that long.
    async fn deliver(
        &self,
        line: &Line,
        function: &Function,
        about: Uuid,
        meanwhile: impl Future<Output = ()>,
    ) -> Outcome {
        let done = line.deliver(function, about).await;
        assert!(done || self.fault != Mode::Slow, "{}: what is slow is waited for", self.case);
        self.lift();
        if done {
            return Outcome { heard: "done".to_owned(), whole: AT_ONCE };
        }
        meanwhile.await;
        assert!(line.deliver(function, about).await, "{}, delivered again", self.case);
        Outcome { heard: "failed".to_owned(), whole: "delivered again" }
    }

    /// The clock ticks, and ticks again when the fault is over; `meanwhile` that long.
    async fn tick(&self, function: &Function, input: &Value, meanwhile: impl Future<Output = ()>) -> Outcome {
        let done = function.tick(input).await;
        assert!(done || self.fault != Mode::Slow, "{}: what is slow is waited for", self.case);
        self.lift();
        if done {
            return Outcome { heard: "done".to_owned(), whole: AT_ONCE };
        }
        meanwhile.await;
        assert!(function.tick(input).await, "{}, next tick", self.case);
        Outcome { heard: "failed".to_owned(), whole: "next tick" }
    }

    /// The queue has nothing left, nowhere, and the invariants hold.
    async fn is_whole(&self, lines: &[&Line], users: &[Uuid]) {
        for line in lines {
            assert!(line.is_empty().await, "{}: something lies in a queue", self.case);
        }
        invariants::hold(&self.house.s3, users, &self.case).await;
    }
}

impl Outcome {
    fn whole(self, whole: &'static str) -> Self {
        Self { whole, ..self }
    }

    fn cell(&self) -> String {
        if self.whole == AT_ONCE { self.heard.clone() } else { format!("{}, {}", self.heard, self.whole) }
    }
}

/// Whether docs/openapi.yaml has this status at the route, and the code.
fn is_documented(route: &str, status: u16, code: &str) -> bool {
    static OPENAPI: &str = include_str!("../../docs/openapi.yaml");
    let (method, path) = route.split_once(' ').unwrap();
    let operation = OPENAPI.split_once(&format!("\n  {path}:\n")).and_then(|(_, rest)| {
        let rest = rest.split("\n  /").next()?;
        let rest = rest.split_once(&format!("    {}:\n", method.to_lowercase()))?.1;
        ["get", "put", "post", "delete"]
            .iter()
            .try_fold(rest, |rest, next| rest.split(&format!("\n    {next}:\n")).next())
    });
    let Some(operation) = operation else { return false };
    operation.contains(&format!("\"{status}\":")) && OPENAPI.contains(&format!("`{code}`"))
}

/// A flow and one of the parts that it calls.
type Row = (Flow, Upstream);

/// Tries each row under each of these faults, so many at once of those that mostly wait, and of the others. Answers the cells of
/// the table, and what is broken.
async fn tried(rows: &[Row], faults: &[Mode], at_once: (usize, usize)) -> (Vec<Vec<String>>, Vec<String>) {
    let house = Arc::new(House::new().await);
    let (mut waiting, mut busy) = (Vec::new(), Vec::new());
    for (row, ((flow, _, _, run), upstream)) in rows.iter().enumerate() {
        for (column, fault) in faults.iter().enumerate() {
            let trial = Trial::new(Arc::clone(&house), flow, *upstream, *fault);
            let case = trial.case.clone();
            let running = async move {
                let outcome = AssertUnwindSafe(run(trial)).catch_unwind().await;
                (row, column, outcome.map_err(|_| case))
            };
            if matches!(fault, Mode::Hang | Mode::Slow) { waiting.push(running) } else { busy.push(running) }
        }
    }
    let all = |trials, at_once| stream::iter(trials).buffer_unordered(at_once).collect::<Vec<_>>();
    let (waiting, busy) = join(all(waiting, at_once.0), all(busy, at_once.1)).await;
    let (mut cells, mut broken) = (vec![vec![String::new(); faults.len()]; rows.len()], Vec::new());
    for (row, column, outcome) in waiting.into_iter().chain(busy) {
        match outcome {
            Ok(outcome) => cells[row][column] = outcome.cell(),
            Err(case) => broken.push(case),
        }
    }
    (cells, broken)
}

/// The rows of the table; those that `ONLY` names, if it does.
fn rows(only: &str) -> Vec<Row> {
    let rows = flows().into_iter().flat_map(|flow| flow.2.iter().map(move |upstream| (flow, *upstream)));
    rows.filter(|((flow, functions, ..), upstream)| {
        format!("{flow} {} {}", functions.join(" "), upstream.name()).contains(only)
    })
    .collect()
}

fn only() -> String {
    Settings::from_env().optional("ONLY").unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it has a stack of its own: make faults"]
async fn whatever_fails_its_caller_is_told_and_in_the_end_it_is_whole() {
    let begun = Instant::now();
    let rows = rows(&only());
    let (cells, broken) = tried(&rows, &FAULTS.map(|(fault, _)| fault), (12, 4)).await;
    eprintln!("{} trials in {:?}", rows.len() * FAULTS.len(), begun.elapsed());

    let mut table = format!("| Flow | Part | {} |\n", FAULTS.map(|(_, head)| head).join(" | "));
    writeln!(table, "| --- | --- |{}", " --- |".repeat(FAULTS.len())).unwrap();
    for (((flow, ..), upstream), cells) in rows.iter().zip(&cells) {
        writeln!(table, "| {flow} | {} | {} |", upstream.name(), cells.join(" | ")).unwrap();
    }
    eprintln!("{table}");
    assert!(broken.is_empty(), "{broken:#?}");
    if only().is_empty() {
        is_written_down(&table);
    }
}

/// Loses the answers to what a function asks a part in turn, one in each trial, as long as it asks. Answers how many it lost, and what
/// is broken.
async fn lost_in_turn(house: &Arc<House>, ((flow, _, _, run), upstream): Row) -> (usize, Vec<String>) {
    let mut broken = Vec::new();
    for number in 1.. {
        let trial = Trial::new(Arc::clone(house), flow, upstream, Mode::Lose(number));
        let (case, proxy) = (trial.case.clone(), Arc::clone(&trial.proxy));
        if AssertUnwindSafe(run(trial)).catch_unwind().await.is_err() {
            broken.push(case);
        }
        if proxy.answers() < number {
            return (number - 1, broken);
        }
    }
    unreachable!("a function asks for an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it has a stack of its own: make faults"]
async fn whichever_answer_gets_lost_in_the_end_it_is_whole() {
    let (begun, house) = (Instant::now(), Arc::new(House::new().await));
    let rows: Vec<_> =
        stream::iter(rows(&only())).map(|row| lost_in_turn(&house, row)).buffer_unordered(4).collect().await;
    let lost: usize = rows.iter().map(|(lost, _)| lost).sum();
    eprintln!("{lost} answers lost in {:?}", begun.elapsed());
    let broken: Vec<String> = rows.into_iter().flat_map(|(_, broken)| broken).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// These need the clock, or let time pass for jobs, which whoever sweeps then takes.
const ALONE: [&str; 3] = ["process-generation-job", "sweep-generation-jobs", "clean-up"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_get_lost_lose_and_repeat_nothing_in_any_flow() {
    let mut rows = rows("");
    rows.retain(|((_, functions, ..), _)| !ALONE.contains(&functions[0]));
    let (_, broken) = tried(&rows, &[Mode::Reset], (1, 4)).await;
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The part of a page between these two lines, which stay.
const TABLE: [&str; 2] = ["<!-- made by make faults -->\n", "<!-- until here -->\n"];

/// docs/RELIABILITY.md has this table, or gets it where that was asked for.
fn is_written_down(table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/RELIABILITY.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(TABLE[0]).unwrap();
    let (was, after) = rest.split_once(TABLE[1]).unwrap();
    if Settings::from_env().optional("WRITE").is_some() {
        std::fs::write(path, [before, TABLE[0], table, TABLE[1], after].concat()).unwrap();
    } else {
        assert_eq!(was, table, "docs/RELIABILITY.md says otherwise; `make faults WRITE=1` writes it");
    }
}

#[test]
fn every_function_has_its_place_in_a_flow() {
    let functions = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions")).unwrap();
    let functions: BTreeSet<String> =
        functions.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let placed = flows().into_iter().flat_map(|(_, functions, ..)| functions.iter().map(|name| (*name).to_owned()));
    assert_eq!(functions, placed.collect());
}
