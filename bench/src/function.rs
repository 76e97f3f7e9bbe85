//! A function as Lambda runs it: a process of its own, on a runtime API that this process serves
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::{Response, body::Bytes};
use tokio::{
    process::{Child, Command},
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    time::timeout,
};

use crate::listener::{self, Asked, Told};

/// The environment of a process.
pub type Environment = BTreeMap<&'static str, String>;

/// Longer than anything takes that is measured here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running function, which waits for its next event.
pub struct Function {
    name: String,
    process: Child,
    /// From exec until it asked for its first event.
    pub start_up: Duration,
    events: UnboundedSender<Bytes>,
    heard: UnboundedReceiver<Heard>,
}

/// What the runtime API hears of a function, in this order.
#[derive(Debug)]
enum Heard {
    /// It asks for an event.
    Waiting(Instant),
    /// It was handed one.
    Handed(Instant),
    /// It answers.
    Answered(Instant, Bytes),
    /// It cannot go on, and why.
    Failed(String),
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// When the event was handed over.
    pub began: Instant,
    /// When the answer was there.
    pub ended: Instant,
    /// What the function answered.
    pub body: Bytes,
}

impl Function {
    /// Starts the program and waits until it asks for its first event.
    pub async fn start(program: &Path, environment: &Environment) -> anyhow::Result<Self> {
        let name = program.file_name().and_then(|name| name.to_str()).context("a program without a name")?.to_owned();
        let (hears, heard) = unbounded_channel();
        let (events, queue) = unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        let (listener, runtime) = listener::bind().await?;
        listener::serve(listener, move |request| answer(request, hears.clone(), Arc::clone(&queue)));
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", runtime.authority())
            .env("AWS_LAMBDA_FUNCTION_NAME", &name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .envs(environment)
            .stdout(Stdio::null())
            .kill_on_drop(true);

        let begun = Instant::now();
        let process = command.spawn().with_context(|| format!("failed to start {}", program.display()))?;
        let mut function = Self { name, process, start_up: Duration::ZERO, events, heard };
        match function.hear().await? {
            Heard::Waiting(at) => function.start_up = at - begun,
            other => bail!("{} begins with {other:?}", function.name),
        }
        Ok(function)
    }

    /// Hands it an event, and waits for the answer and until it asks for the next event.
    pub async fn call(&mut self, event: &Bytes) -> anyhow::Result<Call> {
        self.events.send(event.clone())?;
        match (self.hear().await?, self.hear().await?, self.hear().await?) {
            (Heard::Handed(began), Heard::Answered(ended, body), Heard::Waiting(_)) => Ok(Call { began, ended, body }),
            other => bail!("{} does not keep the order: {other:?}", self.name),
        }
    }

    async fn hear(&mut self) -> anyhow::Result<Heard> {
        match timeout(PATIENCE, self.heard.recv()).await {
            Ok(Some(Heard::Failed(why))) => bail!("{} failed: {why}", self.name),
            Ok(Some(heard)) => Ok(heard),
            _ => bail!("{} says nothing", self.name),
        }
    }

    /// The memory that it has now, in KiB.
    pub fn memory(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> anyhow::Result<u64> {
        let id = self.process.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("this needs Linux")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

async fn answer(request: Asked, hears: UnboundedSender<Heard>, queue: Arc<Mutex<UnboundedReceiver<Bytes>>>) -> Told {
    let path = request.uri().path().to_owned();
    let hear = |heard| drop(hears.send(heard));
    if path.ends_with("/invocation/next") {
        hear(Heard::Waiting(Instant::now()));
        let event = queue.lock().await.recv().await.unwrap_or_default();
        let answer = Response::builder()
            .header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
            .header("lambda-runtime-deadline-ms", "9999999999999")
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:000000000000:function:bench")
            .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
            .body(Full::new(event).boxed());
        hear(Heard::Handed(Instant::now()));
        return answer.unwrap_or_default();
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    hear(match path.ends_with("/response") {
        true => Heard::Answered(Instant::now(), body),
        false => Heard::Failed(String::from_utf8_lossy(&body).into_owned()),
    });
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}")).boxed());
    *answer.status_mut() = hyper::StatusCode::ACCEPTED;
    answer
}
