//! Invariant I7 under faults: workers are killed wherever they wait, messages come twice, models fail, stall and answer twice,
//! webhooks get lost. In the end every job has ended, every credit is accounted for, no job has two predictions that were
//! paid for in vain, and no picture is missing.
//!
//! `GENERATION_SEED=<seed> make test-rust T=five_hundred` throws the same dice again.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use lambda_http::{Body, http};
use lambda_kit::Settings;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use url::Url;
use uuid::Uuid;

use crate::{
    credits::{balance, rpc},
    generation::{Bench, arm, is_delivered, job_of, later, message, predictions, row, settled},
    listener::{listen, told},
    money_model::dice::Dice,
    stack::{Answer, User, database, own_queue, replicate_webhook, setting, sweep_generation_jobs},
    worker::{Worker, queued},
};

// --- One worker, killed at each of its requests ---

/// When the request that a worker is killed at takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Never.
    Before,
    /// It did; its answer never came.
    After,
    /// It did; the connection broke before the answer.
    Lost,
}

/// Stands between a worker and all parts, counts its requests, and lets it wait for ever at one of them.
#[derive(Clone)]
pub struct Gate {
    at: usize,
    cut: Cut,
    seen: Arc<AtomicUsize>,
    pub held: Arc<Notify>,
}

impl Gate {
    pub fn new(at: usize, cut: Cut) -> Self {
        Self { at, cut, seen: Arc::default(), held: Arc::default() }
    }

    /// The address that the worker gets instead of this one.
    pub async fn before(&self, target: &str) -> Url {
        let target: Url = target.parse().unwrap();
        let address = target.socket_addrs(|| None).unwrap()[0];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut origin: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        origin.set_path(target.path());
        let gate = self.clone();
        tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                let gate = gate.clone();
                tokio::spawn(async move { gate.pass(here, TcpStream::connect(address).await.unwrap()).await });
            }
        });
        origin
    }

    async fn pass(&self, mut here: TcpStream, mut there: TcpStream) {
        let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut cut = false;
        loop {
            tokio::select! {
                read = here.read(&mut asked) => {
                    let Ok(read @ 1..) = read else { return };
                    let begins = ["GET ", "PUT ", "POST ", "DELETE "].iter().any(|method| asked[..read].starts_with(method.as_bytes()));
                    if begins && self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
                        if self.cut == Cut::Before {
                            return self.hold(here).await;
                        }
                        cut = true;
                    }
                    if there.write_all(&asked[..read]).await.is_err() { return }
                }
                read = there.read(&mut answered) => {
                    let Ok(read @ 1..) = read else { return };
                    if cut && self.cut == Cut::Lost {
                        return;
                    }
                    if cut {
                        return self.hold(here).await;
                    }
                    if here.write_all(&answered[..read]).await.is_err() { return }
                }
            }
        }
    }

    async fn hold(&self, mut here: TcpStream) {
        self.held.notify_one();
        let _ = tokio::io::copy(&mut here, &mut tokio::io::sink()).await;
    }
}

/// What a worker finds to do, and what comes of the job in the end.
#[derive(Clone, Copy, Debug)]
struct Situation {
    /// What goes wrong with its prediction.
    fault: Option<&'static str>,
    /// Its prediction was asked for before.
    begun: bool,
    /// Its deadline is over.
    late: bool,
    /// Predictions that were made in all, and the reason why it failed.
    end: (usize, Option<&'static str>),
}

const SITUATIONS: [Situation; 6] = [
    Situation { fault: None, begun: false, late: false, end: (1, None) },
    Situation { fault: None, begun: true, late: false, end: (1, None) },
    Situation { fault: Some("replicate_slow"), begun: true, late: false, end: (1, None) },
    Situation { fault: Some("replicate_fails"), begun: true, late: false, end: (1, Some("refused")) },
    Situation { fault: Some("replicate_breaks"), begun: true, late: false, end: (2, None) },
    Situation { fault: Some("replicate_stalls"), begun: true, late: true, end: (1, Some("timed_out")) },
];

/// A job in this situation, of a user who has three credits left.
async fn prepared(situation: Situation) -> (Bench, User, Uuid) {
    let (bench, user) = (Bench::new().await, User::new().await);
    let job = job_of(&user, json!({})).await;
    if let Some(fault) = situation.fault {
        arm(fault, 1, job).await;
    }
    if situation.begun {
        bench.work(job).await;
        if !matches!(situation.fault, Some("replicate_slow" | "replicate_stalls")) {
            settled(job).await;
        }
    }
    if situation.late {
        let overdue = "update public.generation_jobs set deadline_at = now() - interval '1 minute' where id = $1";
        database().await.execute(overdue, &[&job]).await.unwrap();
    }
    (bench, user, job)
}

/// Later the next worker brings it to its end, whatever became of the one before.
async fn finishes(situation: Situation, bench: &Bench, user: &User, job: Uuid, case: &str) {
    if situation.fault != Some("replicate_stalls") {
        settled(job).await;
    }
    later(job).await;
    let done = bench.finish(job).await;
    let (made, failure) = situation.end;
    assert_eq!(done["failure_code"], json!(failure), "{case}: {done}");
    let fates = predictions(Some(job)).await;
    assert_eq!(fates.len(), made, "{case}: {fates:?}");
    let succeeded = fates.iter().filter(|made| made["status"] == "succeeded").count();
    assert_eq!(succeeded, usize::from(failure.is_none()), "{case}");
    assert_eq!(balance(user.id).await, if failure.is_none() { 3 } else { 4 }, "{case}");
    if failure.is_none() {
        is_delivered(user.id, job).await;
    }
}

/// Kills a worker at its `at`th request; answers whether it came so far.
async fn killed(situation: Situation, at: usize, cut: Cut) -> bool {
    let case = format!("{situation:?}, killed {cut:?} request {at}");
    let (bench, user, job) = prepared(situation).await;
    let gate = Gate::new(at, cut);
    let mut environment = vec![
        ("GENERATION_QUEUE_URL", bench.queue.clone()),
        ("REPLICATE_WEBHOOK_URL", "http://127.0.0.1:9/".to_owned()),
    ];
    for name in ["SUPABASE_URL", "REPLICATE_API_URL", "AWS_ENDPOINT_URL"] {
        environment.push((name, gate.before(&setting(name)).await.to_string()));
    }
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut worker = Worker::run("process-generation-job", &queued(&json!({ "job_id": job })), &environment).await;
    let came_so_far = tokio::select! {
        () = gate.held.notified() => true,
        answer = worker.answer() => {
            assert_eq!(answer, json!({ "batchItemFailures": [] }), "{case}");
            false
        }
    };
    worker.process.kill().await.unwrap();
    finishes(situation, &bench, &user, job, &case).await;
    came_so_far
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_at_any_of_its_requests_leaves_a_job_that_the_next_one_finishes() {
    let kills = stream::iter(SITUATIONS.into_iter().flat_map(|one| [(one, Cut::Before), (one, Cut::After)]));
    let kills: Vec<usize> = kills
        .map(|(situation, cut)| async move {
            let mut at = 1;
            while killed(situation, at, cut).await {
                at += 1;
            }
            at - 1
        })
        .buffered(4)
        .collect()
        .await;
    eprintln!("kills of each situation: {kills:?}");
    // Claim, submit, note; claim, ask, three objects, complete; claim, ask, and release or fail, with a message or a cancel.
    assert!(kills.iter().zip([3, 3, 6, 6, 3, 3, 3, 3, 4, 4, 4, 4]).all(|(came, least)| *came >= least), "{kills:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_database_that_get_lost_lose_and_repeat_nothing() {
    let losses = SITUATIONS.into_iter().flat_map(|situation| (1..=2).map(move |at| (situation, at)));
    let losses = stream::iter(losses).map(|(situation, at)| async move {
        let case = format!("{situation:?}, answer {at} lost");
        let (bench, user, job) = prepared(situation).await;
        let database = Gate::new(at, Cut::Lost).before(&setting("SUPABASE_URL")).await;
        let losing = Bench::with(|config| config.supabase_url = database).await;
        assert!(losing.receive(job, 1).await.is_err(), "{case}: the message comes again");
        finishes(situation, &bench, &user, job, &case).await;
    });
    losses.buffered(4).collect::<()>().await;
}

// --- Five hundred jobs ---

const USERS: usize = 50;
const JOBS_OF_EACH: usize = 10;
const CREDITS: i32 = 20;
/// Workers at the same time.
const WORKERS: usize = 8;
/// Rounds in which workers are killed and messages come twice.
const ROUNDS: usize = 8;
/// How often the queue hands a message out.
const MOST_RECEIVES: u32 = 4;

/// A worker's life: killed when it is woken for the `left`th time.
struct Mortal<F> {
    life: Pin<Box<F>>,
    left: usize,
    polls: Arc<AtomicUsize>,
}

impl<F: Future> Future for Mortal<F> {
    /// `None` when it was killed.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.life.as_mut().poll(context).map(Some)
    }
}

/// One job, and how many credits are reserved for it.
#[derive(Clone, Copy)]
struct Wanted {
    user: Uuid,
    job: Uuid,
    cost: i32,
}

struct Crowd {
    dice: Dice,
    bench: Bench,
    users: Vec<Uuid>,
    jobs: BTreeMap<Uuid, Wanted>,
    /// Messages that the queue will hand out again: how often it has.
    again: Vec<(Uuid, u32)>,
    /// The next kill is so many polls into a life; one further each time, so that every place has its turn.
    place: usize,
    /// The longest life so far, in polls.
    longest: usize,
    kills: usize,
    process_kills: usize,
    errors: usize,
    dead_letters: usize,
}

impl Crowd {
    async fn new(seed: u64) -> Self {
        let queue = own_queue().await;
        let webhooks = replicate_webhook(|config| config.generation_queue_url = queue.parse().unwrap());
        let hook = listen(move |asked| {
            let webhooks = webhooks.clone();
            async move {
                let (head, body) = asked.into_parts();
                let request = http::Request::from_parts(head, Body::Binary(body.to_vec()));
                told(Answer::from(replicate_webhook::handle(webhooks, request).await).status, "{}")
            }
        })
        .await;
        let mut bench = Bench::with(|config| {
            config.generation_queue_url = queue.parse().unwrap();
            config.replicate_webhook_url = hook;
        })
        .await;
        bench.queue = queue;
        let users = (0..USERS).map(|_| async {
            let user = User::new().await;
            let present = json!({ "p_user_id": user.id, "p_amount": CREDITS - 4, "p_business_key": format!("present:{}", user.id),
                                  "p_description": "A present" });
            assert_eq!(rpc("grant_credits", present).await["outcome"], "done");
            user
        });
        let users: Vec<User> = stream::iter(users).buffered(8).collect().await;
        let mut dice = Dice::new(seed);
        let wishes: Vec<_> = (0..USERS * JOBS_OF_EACH)
            .map(|n| {
                let (fal, dear) = (dice.percent(10), dice.percent(30));
                (n, if fal { "fashion_model_fal" } else { "fashion_model_v1" }, dear)
            })
            .collect();
        let asking = wishes.into_iter().map(|(n, model, dear)| {
            let user = &users[n % USERS];
            async move {
                let kind = if dear { "high_quality" } else { "standard" };
                let wish = json!({ "prompt": format!("Picture {n} of {}", user.id), "model_preset": model, "generation_type": kind });
                let job = job_of(user, wish).await;
                (model, Wanted { user: user.id, job, cost: if dear { 2 } else { 1 } })
            }
        });
        let asked: Vec<_> = stream::iter(asking).buffered(8).collect().await;
        let mut faults = Vec::new();
        for (model, Wanted { job, .. }) in &asked {
            faults.extend(fate(&mut dice, model).into_iter().map(|(fault, times)| (fault, times, *job)));
        }
        stream::iter(faults).for_each_concurrent(8, |(fault, times, job)| arm(fault, times, job)).await;
        Self {
            dice,
            bench,
            users: users.iter().map(|user| user.id).collect(),
            again: asked.iter().map(|(_, wanted)| (wanted.job, 0)).collect(),
            jobs: asked.into_iter().map(|(_, wanted)| (wanted.job, wanted)).collect(),
            place: 1,
            longest: 10,
            kills: 0,
            process_kills: 0,
            errors: 0,
            dead_letters: 0,
        }
    }

    /// Takes what lies in the queue for our jobs; the sweeper may have put others' there.
    async fn receive(&mut self) -> Vec<(Uuid, u32)> {
        let mut batch: Vec<(Uuid, u32)> = std::mem::take(&mut self.again);
        let sqs = aws_sdk_sqs::Client::new(&aws_setup::sdk_config().await);
        loop {
            let received =
                sqs.receive_message().queue_url(&self.bench.queue).max_number_of_messages(10).send().await.unwrap();
            let messages = received.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
                let job: Uuid = body["job_id"].as_str().unwrap().parse().unwrap();
                if self.jobs.contains_key(&job) {
                    batch.push((job, 0));
                }
                let delete = sqs.delete_message().queue_url(&self.bench.queue);
                delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
            }
        }
        batch.into_iter().map(|(job, received)| (job, received + 1)).collect()
    }

    /// Works on a batch. With `faults` some workers die, and some messages come twice.
    async fn work(&mut self, mut batch: Vec<(Uuid, u32)>, faults: bool) {
        if faults {
            let twice: Vec<_> = batch.iter().filter(|_| self.dice.percent(15)).copied().collect();
            batch.extend(twice);
            for at in (1..batch.len()).rev() {
                batch.swap(at, self.dice.roll(at as u64 + 1) as usize);
            }
        }
        let lives: Vec<_> = batch
            .into_iter()
            .map(|(job, received)| {
                let left = if faults && self.dice.percent(50) {
                    self.place = self.place % self.longest + 1;
                    self.place
                } else {
                    usize::MAX
                };
                (job, received, left, faults && self.dice.percent(2))
            })
            .collect();
        let milliseconds = self.dice.roll(300);
        let (deps, queue) = (self.bench.deps.clone(), self.bench.queue.clone());
        let ended: Vec<_> = stream::iter(lives)
            .map(|(job, received, left, process)| {
                let (deps, queue) = (deps.clone(), queue.clone());
                let polls = Arc::<AtomicUsize>::default();
                async move {
                    if process {
                        return (job, received, kill_a_process(job, &queue, milliseconds).await, 0);
                    }
                    let life = Box::pin(process_generation_job::handle(deps, message(job, received)));
                    let mortal = Mortal { life, left, polls: polls.clone() };
                    let end = tokio::spawn(mortal).await.unwrap().map(|result| result.is_ok());
                    (job, received, end, polls.load(Ordering::Relaxed))
                }
            })
            .buffer_unordered(WORKERS)
            .collect()
            .await;
        for (job, received, end, polls) in ended {
            match end {
                Some(true) => self.longest = self.longest.max(polls),
                Some(false) => self.errors += 1,
                None if polls == 0 => self.process_kills += 1,
                None => self.kills += 1,
            }
            if end != Some(true) {
                // The queue hands it out again, or lays it among the dead letters.
                match received < MOST_RECEIVES {
                    true => self.again.push((job, received)),
                    false => self.dead_letters += 1,
                }
            }
        }
    }

    /// Lets an hour of waiting pass: leases end, lists are complete. Nobody is at work. Then sweeps.
    async fn pass_time(&self, deadlines_too: bool) {
        let shift = "update public.generation_jobs set lease_until = lease_until - interval '10 minutes',
                       look_at = look_at - interval '10 minutes', submitting_since = submitting_since - interval '10 minutes',
                       deadline_at = case when $2 then now() - interval '1 minute' else deadline_at end
                     where user_id = any($1) and finished_at is null";
        database().await.execute(shift, &[&self.users, &deadlines_too]).await.unwrap();
        let queue = self.bench.queue.parse().unwrap();
        let deps = sweep_generation_jobs(|config| config.generation_queue_url = queue);
        sweep_generation_jobs::handle(deps, serde_json::from_str("{}").unwrap()).await.unwrap();
    }

    /// Those that were paid for, by job.
    async fn paid(&self) -> BTreeMap<Uuid, Vec<Value>> {
        let mut paid = BTreeMap::<Uuid, Vec<Value>>::new();
        for made in predictions(None).await {
            let job = made["idempotency_key"].as_str().and_then(|key| key.parse().ok());
            if let Some(job) = job.filter(|job| self.jobs.contains_key(job)) {
                paid.entry(job).or_default().push(made);
            }
        }
        paid
    }

    /// Waits until what was sent to the models has arrived and is done, but for what stalls.
    async fn settle(&self) {
        let mut before = None;
        for _ in 0..200 {
            let paid = self.paid().await;
            let fates: Vec<(String, String)> = paid
                .values()
                .flatten()
                .map(|made| (made["id"].to_string() + &made["request_id"].to_string(), made["status"].to_string()))
                .collect();
            if before.as_ref() == Some(&fates) {
                return;
            }
            before = Some(fates);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("the models never came to rest");
    }

    async fn open(&self) -> i64 {
        let select = "select count(*) from public.generation_jobs where user_id = any($1) and finished_at is null";
        database().await.query_one(select, &[&self.users]).await.unwrap().get(0)
    }
}

/// What goes wrong with one job's predictions.
fn fate(dice: &mut Dice, model: &str) -> Vec<(&'static str, u32)> {
    let mut fate = Vec::new();
    let table: &[(&'static str, u64, i64)] = if model == "fashion_model_fal" {
        &[
            ("fal_refuses", 10, 1),
            ("fal_breaks", 10, 2),
            ("fal_api_lost", 20, 1),
            ("fal_api_500", 10, 2),
            ("fal_api_429", 10, 1),
        ]
    } else {
        &[
            ("replicate_fails", 8, 1),
            ("replicate_breaks", 12, 3),
            ("replicate_slow", 2, 1),
            ("replicate_stalls", 7, 1),
            ("replicate_aborted", 5, 2),
            ("replicate_api_lost", 10, 1),
            ("replicate_api_500", 8, 2),
            ("replicate_api_429", 5, 1),
            ("replicate_webhook_twice", 10, 1),
            ("replicate_webhook_lost", 15, 2),
            ("replicate_webhook_early", 4, 1),
            ("replicate_webhook_forged", 3, 1),
            ("image_server_error", 5, 2),
            ("image_gone", 2, 1),
            ("image_not_an_image", 2, 1),
            ("image_truncated", 2, 1),
        ]
    };
    for (fault, percent, most) in table {
        if dice.percent(*percent) {
            fate.push((*fault, dice.between(1, *most) as u32));
        }
    }
    fate
}

/// A real process, killed after so many milliseconds or when it has answered, whichever is first.
async fn kill_a_process(job: Uuid, queue: &str, milliseconds: u64) -> Option<bool> {
    let environment = [("GENERATION_QUEUE_URL", queue), ("REPLICATE_WEBHOOK_URL", "http://127.0.0.1:9/")];
    let mut worker = Worker::run("process-generation-job", &queued(&json!({ "job_id": job })), &environment).await;
    let answer = tokio::time::timeout(Duration::from_millis(milliseconds), worker.answer()).await;
    worker.process.kill().await.unwrap();
    answer.ok().map(|answer| answer["batchItemFailures"] == json!([]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_hundred_jobs_under_faults_every_one_ends_and_every_credit_is_accounted_for() {
    let given = Settings::from_env().optional("GENERATION_SEED").map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| Uuid::new_v4().as_u128() as u64 >> 16);
    eprintln!("GENERATION_SEED={seed}");
    let begun = Instant::now();
    let mut crowd = Crowd::new(seed).await;
    eprintln!("asked for after {:?}", begun.elapsed());

    // Some change their minds at once.
    let mut early: Vec<Wanted> = crowd.jobs.values().copied().collect();
    early.retain(|_| crowd.dice.percent(5));
    for round in 0..ROUNDS {
        if round == 1 {
            for wanted in &early {
                rpc("cancel_generation_job", json!({ "p_user_id": wanted.user, "p_job_id": wanted.job })).await;
            }
        }
        let batch = crowd.receive().await;
        let size = batch.len();
        crowd.work(batch, true).await;
        crowd.settle().await;
        crowd.pass_time(false).await;
        eprintln!("round {round}: {size} messages, {} open, {:?}", crowd.open().await, begun.elapsed());
    }

    // All faults are lifted, but for those that wait for a request that never comes.
    for round in 0..30 {
        if crowd.open().await == 0 {
            break;
        }
        let batch = crowd.receive().await;
        crowd.work(batch, false).await;
        crowd.settle().await;
        crowd.pass_time(round >= 6).await;
    }

    let select = "select id, status, cost_credits, failure_code from public.generation_jobs where user_id = any($1)";
    let rows = database().await.query(select, &[&crowd.users]).await.unwrap();
    assert_eq!(rows.len(), USERS * JOBS_OF_EACH);
    let paid = crowd.paid().await;
    let (mut spent, mut ends) = (BTreeMap::<Uuid, i32>::new(), BTreeMap::<String, usize>::new());
    let mut completed = BTreeSet::new();
    for found in rows {
        let (job, status): (Uuid, String) = (found.get(0), found.get(1));
        let code = found.get::<_, Option<String>>(3).unwrap_or_default();
        assert!(matches!(status.as_str(), "completed" | "failed" | "cancelled"), "{job} is {status}");
        let made = paid.get(&job).map(Vec::as_slice).unwrap_or_default();
        let good =
            made.iter().filter(|made| !matches!(made["status"].as_str().unwrap(), "failed" | "canceled" | "aborted"));
        let good = good.count();
        assert!(good <= 1, "{job} was paid for {good} times: {made:#?} {}", row(job).await);
        if status == "completed" {
            assert_eq!(good, 1, "{job}");
            *spent.entry(crowd.jobs[&job].user).or_default() += crowd.jobs[&job].cost;
            completed.insert(job);
        }
        *ends.entry(format!("{status} {code}")).or_default() += 1;
    }
    for user in &crowd.users {
        assert_eq!(balance(*user).await, CREDITS - spent.get(user).copied().unwrap_or_default(), "{user}");
    }
    let delivered = completed.iter().map(|job| is_delivered(crowd.jobs[job].user, *job));
    stream::iter(delivered).for_each_concurrent(8, |one| one).await;
    let twice =
        "select count(*) from (select job_id from public.job_events e join public.generation_jobs j on j.id = e.job_id
                   where j.user_id = any($1) and e.to_status in ('completed', 'failed', 'cancelled')
                   group by job_id having count(*) <> 1) as ended";
    let twice: i64 = database().await.query_one(twice, &[&crowd.users]).await.unwrap().get(0);
    assert_eq!(twice, 0, "a job ends once");
    eprintln!(
        "{} workers and {} processes killed, {} steps failed, {} dead letters, lives of up to {} polls, in {:?}: {ends:?}",
        crowd.kills,
        crowd.process_kills,
        crowd.errors,
        crowd.dead_letters,
        crowd.longest,
        begun.elapsed(),
    );
    assert!(ends["completed "] > 200 && crowd.kills > 300 && crowd.process_kills > 3, "the faults were at work");
}
