//! Invariants I5 and I6 against a model: random things happen in a small Stripe, its events come in any order, twice, at the same
//! time, late or never, while its API fails or is slow, and after every step the database says what a plain model of sets and
//! sums says. `MODEL_SEED=<seed> make test-rust T=money_model` runs one seed again.

mod api;
pub mod dice;
mod reference;
mod shapes;
mod world;

use std::{collections::BTreeMap, iter, sync::Arc, time::Instant};

use futures_util::{StreamExt, future::join_all, stream};
use jiff::Timestamp;
use lambda_http::{Body, Response};
use lambda_kit::{ApiError, Settings};
use serde_json::{Value, json};
use stripe_webhook::Deps;
use tokio_postgres::Client;
use uuid::Uuid;

use self::{
    api::{Api, WORKS},
    dice::Dice,
    reference::Reference,
    world::{About, Event, Naming, Object, World},
};
use crate::{
    credits::{balance, rpc},
    doubles::{Mode, Proxy},
    stack::{Answer, User, database, request, setting, stripe_webhook},
};

/// Always the first one: in its world all happens that can. Of the others, that nobody chose, one cannot know.
const EVENTFUL: u64 = 8;
const OTHER_SEEDS: u64 = 11;
const SEEDS_AT_ONCE: usize = 4;
const STEPS: usize = 60;

/// All that the model speaks of, as the database has it: of the users $1, with ids that hold $2.
const PICTURE: &str = "
    select jsonb_build_object(
      'accounts', (select jsonb_object_agg(b.user_id, jsonb_build_object(
          'balance', b.balance,
          'adds_up', b.balance = (select sum(amount) from public.credits_ledger where user_id = b.user_id)
            and not exists (
              select from (select *, sum(amount) over (order by id) as total
                             from public.credits_ledger where user_id = b.user_id) line
               where balance_after <> total
                  or (balance_after < 0 and amount < 0 and business_key not like 'clawback:%')),
          'plan', (public.plan_of(b.user_id)).id))
        from public.credit_balances b where b.user_id = any ($1)),
      'customers', (select coalesce(jsonb_object_agg(customer_id, user_id), '{}')
        from public.stripe_customers where user_id = any ($1)),
      'purchases', (select coalesce(jsonb_object_agg(key, jsonb_build_array(user_id, credits, amount_paid, clawed_back)), '{}')
        from public.credit_purchases where user_id = any ($1)),
      'reversals', (select coalesce(jsonb_object_agg(id, jsonb_build_array(purchase_key, amount)), '{}')
        from public.payment_reversals where id like $2),
      'subscriptions', (select coalesce(jsonb_object_agg(id, jsonb_build_object(
          'user', user_id, 'customer', customer_id, 'plan', plan_id, 'status', status,
          'start', extract(epoch from current_period_start)::bigint, 'end', extract(epoch from current_period_end)::bigint,
          'cancel_at', extract(epoch from cancel_at)::bigint, 'ended', ended_at is not null,
          'overdue', past_due_since is not null)), '{}')
        from public.subscriptions where id like $2),
      'waiting', (select coalesce(jsonb_agg(id order by id), '[]')
        from public.stripe_events where id like $2 and applied_at is null))";

/// One seed's world, its model and its part of the database.
struct Run {
    dice: Dice,
    api: Api,
    users: Vec<Uuid>,
    reference: Reference,
    webhook: Arc<Deps>,
    db: Client,
    /// Events that were not taken yet.
    pool: Vec<Event>,
    /// Events that were taken, and may come again.
    heard: Vec<Event>,
    /// What was spent and not refunded: user, amount, key.
    spends: Vec<(Uuid, i64, String)>,
    deliveries: usize,
    last: &'static str,
}

/// What the webhook answers.
type Told = Result<Response<Body>, ApiError>;

/// Delivers an event as Stripe does.
async fn deliver(webhook: Arc<Deps>, event: Event, pretty: bool) -> Told {
    let body = if pretty { serde_json::to_string_pretty(&event.body).unwrap() } else { event.body.to_string() };
    let secret = setting("STRIPE_WEBHOOK_SECRET").into();
    let signature = auth::signature::sign(&secret, Timestamp::now(), body.as_bytes());
    // Lambda hands a body over as text or, from base64, as bytes.
    let body = if pretty { Body::Binary(body.into_bytes()) } else { Body::Text(body) };
    let mut request = request("POST", "/", None, body);
    request.headers_mut().insert("stripe-signature", signature.parse().unwrap());
    stripe_webhook::handle(webhook, request).await
}

fn expect(status: u16, answer: Told, event: &Event) {
    let cause = format!("{:?}", answer.as_ref().err());
    assert_eq!(Answer::from(answer).status, status, "{cause} to {:#}", event.body);
}

async fn spend(user: Uuid, amount: i64, key: &str) -> Value {
    let arguments =
        json!({ "p_user_id": user, "p_amount": amount, "p_business_key": key, "p_description": "An image" });
    rpc("spend_credits", arguments).await
}

impl Run {
    async fn new(seed: u64) -> Self {
        let tag = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let mut world = World::new(tag, Timestamp::now().as_second());
        let mut users = Vec::new();
        for _ in 0..4 {
            users.push(User::new().await.id);
        }
        let mapped = world.add_customer(users[0], Naming::AnyHow);
        // Somebody made her a second one, by hand.
        world.add_customer(users[0], Naming::Always);
        world.add_customer(users[1], Naming::Always);
        world.add_customer(users[2], Naming::NotOnInvoices);
        world.add_customer(users[3], Naming::Never);
        let db = database().await;
        db.execute("insert into public.stripe_customers (user_id, customer_id) values ($1, $2)", &[&users[0], &mapped])
            .await
            .unwrap();

        let reference = Reference::of(&world);
        let api = Api::of(world).await;
        let webhook = stripe_webhook(|config| config.stripe_api_url = api.origin.clone());
        let (pool, heard, spends) = (Vec::new(), Vec::new(), Vec::new());
        let dice = Dice::new(seed);
        Self { dice, api, users, reference, webhook, db, pool, heard, spends, deliveries: 0, last: "the beginning" }
    }

    /// Answers how often events were delivered, and how many events ended how.
    async fn live(mut self) -> (usize, BTreeMap<String, i64>) {
        for step in 0..STEPS {
            self.step().await;
            self.check(step).await;
        }
        self.finish().await;
        let outcomes =
            "select coalesce(outcome, 'begun'), count(*) from public.stripe_events where id like $1 group by 1";
        let tag = format!("%{}%", self.api.world.lock().unwrap().tag);
        let rows = self.db.query(outcomes, &[&tag]).await.unwrap();
        (self.deliveries, rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn step(&mut self) {
        match self.dice.roll(100) {
            0..36 => self.world_goes_on(),
            36..56 => self.some_arrive_one_by_one().await,
            56..70 => self.some_arrive_at_once().await,
            70..76 => self.some_arrive_while_the_api_is_down().await,
            76..83 => self.one_is_overtaken().await,
            83..88 => self.payments_and_refunds_meet().await,
            88..91 => self.an_answer_of_the_database_is_lost().await,
            91..93 => self.one_is_lost(),
            93..98 => self.somebody_spends().await,
            _ => self.somebody_says_whose_they_are().await,
        }
    }

    fn world_goes_on(&mut self) {
        self.last = "the world went on";
        let mut world = self.api.world.lock().unwrap();
        world.tick(&mut self.dice);
        for _ in 0..self.dice.between(1, 5) {
            world.happen(&mut self.dice);
        }
        if self.dice.percent(25) {
            world.repeat(&mut self.dice);
        }
        self.pool.append(&mut world.told());
    }

    /// One that is on its way, or one that came before.
    fn next(&mut self) -> Option<Event> {
        if !self.heard.is_empty() && (self.pool.is_empty() || self.dice.percent(15)) {
            return Some(self.dice.pick(&self.heard));
        }
        (!self.pool.is_empty()).then(|| self.pool.swap_remove(self.dice.place(self.pool.len())))
    }

    fn send(&mut self, event: &Event) -> impl Future<Output = Told> + Send + use<> {
        self.deliveries += 1;
        let (webhook, event, pretty) = (self.webhook.clone(), event.clone(), self.dice.percent(30));
        async move {
            match deliver(webhook.clone(), event.clone(), pretty).await {
                // The local PostgREST closes connections that are idle, perhaps at this moment. Stripe, too, would send again.
                Err(error) if format!("{error:?}").contains("(SendRequest)") => deliver(webhook, event, pretty).await,
                answer => answer,
            }
        }
    }

    fn hear(&mut self, event: Event) {
        self.reference.hear(&event, &self.api.world.lock().unwrap());
        self.heard.push(event);
    }

    /// It arrives and is taken.
    async fn tell(&mut self, event: Event) {
        expect(200, self.send(&event).await, &event);
        self.hear(event);
    }

    async fn some_arrive_one_by_one(&mut self) {
        self.last = "some arrived one by one";
        for _ in 0..self.dice.between(1, 6) {
            let Some(event) = self.next() else { return };
            self.tell(event).await;
        }
    }

    async fn some_arrive_at_once(&mut self) {
        self.last = "some arrived at once";
        let mut events = Vec::new();
        for _ in 0..self.dice.between(2, 8) {
            let Some(event) = self.next() else { break };
            if !self.reference.is_settled(&event, &self.api.world.lock().unwrap()) {
                self.pool.push(event);
                continue;
            }
            for _ in 0..self.dice.pick(&[1, 1, 1, 2, 4]) {
                events.push(event.clone());
            }
        }
        // What her first plan replaces depends on what she spent before: that is one after the other.
        let plans = events.iter().any(|event| matches!(&event.about, About::Paid(purchase) if purchase.plan));
        let user = self.dice.pick(&self.users);
        let spenders = if plans && !self.reference.had_plan(user) { 0 } else { self.dice.between(0, 4) };
        let mut spends: Vec<(i64, String)> = Vec::new();
        for _ in 0..spenders {
            let key = self.api.world.lock().unwrap().id("spend");
            spends.push((self.dice.between(1, 12), key));
        }
        let sending: Vec<_> = events.iter().map(|event| self.send(event)).collect();
        let spending = join_all(spends.iter().map(|(amount, key)| spend(user, *amount, key)));
        let (answers, spent) = tokio::join!(join_all(sending), spending);
        for (event, answer) in events.into_iter().zip(answers) {
            expect(200, answer, &event);
            self.hear(event);
        }
        for ((amount, key), answer) in spends.into_iter().zip(spent) {
            if answer["outcome"] == "done" {
                self.reference.spend(user, amount);
                self.spends.push((user, amount, key));
            } else {
                assert_eq!(answer["outcome"], "insufficient");
                assert!(answer["balance"].as_i64().unwrap() < amount, "{answer}");
            }
        }
    }

    async fn some_arrive_while_the_api_is_down(&mut self) {
        self.last = "some arrived while the API was down";
        self.api.fail(self.dice.pick(&[500, 503, 429, 401, 200]));
        for _ in 0..self.dice.between(1, 5) {
            let Some(event) = self.next() else { break };
            let known = matches!(event.about, About::Changed(_)) && self.reference.took_effect(&event);
            let expected = if event.asks && !known { 503 } else { 200 };
            expect(expected, self.send(&event).await, &event);
            if expected == 200 {
                self.hear(event);
            } else {
                self.reference.begin(&event);
                self.pool.push(event);
            }
        }
        self.api.fail(WORKS);
    }

    /// Two events of one object: the first one's fetch is slow, and the second is done before it. All within one second.
    async fn one_is_overtaken(&mut self) {
        self.last = "one was overtaken";
        let can = |event: &Event| {
            let world = self.api.world.lock().unwrap();
            let changes = matches!(&event.about, About::Changed(object) if world.can_change(object));
            changes && !self.reference.took_effect(event) && self.reference.is_settled(event, &world)
        };
        let Some(at) = self.pool.iter().position(can) else { return };
        let slow = self.pool.swap_remove(at);
        let About::Changed(object) = slow.about.clone() else { unreachable!() };
        let looks_late = self.dice.percent(50);
        let gate = self.api.hold(object.id(), looks_late);
        let sending = tokio::spawn(self.send(&slow));
        gate.came().await;

        let quick = self.change(&object);
        self.tell(quick.clone()).await;
        if looks_late && self.api.world.lock().unwrap().can_change(&object) {
            let later = self.change(&object);
            self.pool.push(later);
        }
        gate.open();
        expect(200, sending.await.unwrap(), &slow);
        if self.reference.took_effect(&quick) {
            self.reference.hear_too_late(&slow);
            self.heard.push(slow);
        } else {
            self.hear(slow);
        }
    }

    /// Changes something and answers the event that says so.
    fn change(&mut self, object: &Object) -> Event {
        let mut world = self.api.world.lock().unwrap();
        world.change(&mut self.dice, object);
        let mut told = world.told();
        let event = told.pop().unwrap();
        self.pool.append(&mut told);
        event
    }

    /// Payments and their refunds reach the database at the same moment, each unseen by the other.
    async fn payments_and_refunds_meet(&mut self) {
        self.last = "payments and refunds met";
        let (mut payments, mut refunds) = (Vec::new(), Vec::new());
        let together = self.dice.percent(60);
        let mut who = 0;
        for _ in 0..self.dice.between(2, 6) {
            let mut world = self.api.world.lock().unwrap();
            // All of one customer, or everybody's.
            if !together || payments.is_empty() {
                who = self.dice.place(world.customers.len());
            }
            let charge = world.buy_pack_of(&mut self.dice, who);
            let mut told = world.told();
            let intent = charge.as_ref().map(|charge| world.charges[charge].intent.clone());
            drop(world);
            let (Some(charge), Some(payment)) = (charge, told.pop()) else {
                self.pool.append(&mut told);
                continue;
            };
            let refund = self.change(&Object::Charge(charge));
            if self.reference.is_settled(&payment, &self.api.world.lock().unwrap()) {
                refunds.push((refund, self.api.hold(&intent.unwrap(), false)));
                payments.push(payment);
            } else {
                self.pool.extend([payment, refund]);
            }
        }
        let coming: Vec<_> = refunds.iter().map(|(refund, _)| tokio::spawn(self.send(refund))).collect();
        for (_, gate) in &refunds {
            gate.came().await;
        }
        let paying: Vec<_> = payments.iter().map(|payment| tokio::spawn(self.send(payment))).collect();
        for (_, gate) in &refunds {
            gate.open();
        }
        let answers = join_all(coming.into_iter().chain(paying)).await;
        for (event, answer) in refunds.into_iter().map(|(refund, _)| refund).chain(payments).zip(answers) {
            expect(200, answer.unwrap(), &event);
            self.hear(event);
        }
    }

    /// The event took effect, and Stripe hears that it did not; so it comes again.
    async fn an_answer_of_the_database_is_lost(&mut self) {
        self.last = "an answer of the database was lost";
        let Some(event) = self.next() else { return };
        let proxy = Proxy::before(&setting("SUPABASE_URL")).await;
        proxy.set(Mode::LoseAnswerTo("stripe_event"));
        let webhook = stripe_webhook(|config| {
            config.supabase_url = proxy.origin.clone();
            config.stripe_api_url = self.api.origin.clone();
        });
        let expected = if matches!(event.about, About::Nothing) { 200 } else { 503 };
        expect(expected, deliver(webhook, event.clone(), false).await, &event);
        self.tell(event).await;
    }

    fn one_is_lost(&mut self) {
        self.last = "one was lost";
        if !self.pool.is_empty() {
            self.pool.swap_remove(self.dice.place(self.pool.len()));
        }
    }

    async fn somebody_spends(&mut self) {
        self.last = "somebody spent";
        if !self.spends.is_empty() && self.dice.percent(25) {
            let (user, amount, key) = self.spends.swap_remove(self.dice.place(self.spends.len()));
            for expected in ["done", "duplicate"] {
                let arguments = json!({ "p_business_key": key, "p_description": "It failed" });
                assert_eq!(rpc("refund_credits", arguments).await["outcome"], expected);
            }
            self.reference.spend(user, -amount);
            return;
        }
        let (user, amount) = (self.dice.pick(&self.users), self.dice.between(1, 25));
        let key = self.api.world.lock().unwrap().id("spend");
        let (enough, before) = (self.reference.balance(user) >= amount, self.reference.balance(user));
        let expected = if enough { ["done", "duplicate"] } else { ["insufficient", "insufficient"] };
        for expected in expected {
            assert_eq!(spend(user, amount, &key).await["outcome"], expected, "{amount} of {before}");
        }
        if enough {
            self.reference.spend(user, amount);
            self.spends.push((user, amount, key));
        }
    }

    /// An operator enters whose a customer is; what waited for that comes again.
    async fn somebody_says_whose_they_are(&mut self) {
        self.last = "somebody said whose they are";
        let insert =
            "insert into public.stripe_customers (user_id, customer_id) values ($1, $2) on conflict do nothing";
        let world = self.api.world.clone();
        let hers = |naming| {
            let world = world.lock().unwrap();
            let customer = world.customers.iter().find(|one| one.naming == naming).unwrap();
            (customer.user, customer.id.clone())
        };
        for (user, customer) in [hers(Naming::NotOnInvoices), hers(Naming::Never)] {
            self.db.execute(insert, &[&user, &customer]).await.unwrap();
            self.reference.map(&customer, user);
        }
        let waits = |event: &&Event| self.reference.waits(event);
        self.pool.extend(self.heard.iter().filter(waits).cloned());
    }

    /// Everything arrives that is on its way, and of what was lost, something later.
    async fn finish(&mut self) {
        self.somebody_says_whose_they_are().await;
        while !self.pool.is_empty() {
            self.some_arrive_at_once().await;
        }
        let world = self.api.world.clone();
        let objects = world.lock().unwrap().objects();
        for object in objects {
            let kind = match object {
                Object::Subscription(_) => "customer.subscription.updated",
                Object::Charge(_) => "charge.refunded",
                Object::Dispute(_) => "charge.dispute.updated",
            };
            world.lock().unwrap().tell_object(&mut self.dice, &object, kind);
        }
        self.pool.append(&mut world.lock().unwrap().told());
        while !self.pool.is_empty() {
            self.some_arrive_at_once().await;
        }
        self.check(STEPS).await;
    }

    async fn check(&self, step: usize) {
        let (tag, now) = {
            let world = self.api.world.lock().unwrap();
            (format!("%{}%", world.tag), world.now)
        };
        let found: Value = self.db.query_one(PICTURE, &[&self.users, &tag]).await.unwrap().get(0);
        let expected = self.reference.picture(now);
        if found != expected {
            for part in ["accounts", "customers", "purchases", "reversals", "subscriptions", "waiting"] {
                if found[part] != expected[part] {
                    eprintln!("{part} found:    {}\n{part} expected: {}", found[part], expected[part]);
                }
            }
            panic!("step {step}: after {}, the database is not what the model says", self.last);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_stripe_sends_how_often_and_in_what_order_the_ledger_is_what_the_model_says() {
    let given = Settings::from_env().optional("MODEL_SEED");
    let first = Timestamp::now().as_millisecond() as u64;
    let every = || iter::once(EVENTFUL).chain(first..first + OTHER_SEEDS).collect();
    let seeds: Vec<u64> = given.map_or_else(every, |seed| vec![seed.parse().unwrap()]);
    let begun = Instant::now();
    let runs = stream::iter(seeds.clone()).map(|seed| async move {
        let run = tokio::spawn(async move { Run::new(seed).await.live().await }).await;
        run.unwrap_or_else(|_| panic!("this was MODEL_SEED={seed}"))
    });
    let mut runs = runs.buffer_unordered(SEEDS_AT_ONCE);
    let (mut deliveries, mut outcomes) = (0, BTreeMap::<String, i64>::new());
    while let Some((delivered, ended)) = runs.next().await {
        deliveries += delivered;
        for (outcome, count) in ended {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    eprintln!("seeds {seeds:?}, {deliveries} deliveries in {:?}: {outcomes:?}", begun.elapsed());
    if seeds.len() > 1 {
        // What never happened was not shown.
        let all = ["duplicate", "granted", "ignored", "mismatched", "noted", "stale", "stored"];
        assert!(all.iter().all(|outcome| outcomes.contains_key(*outcome)), "{outcomes:?}");
    }
}

/// Lines are read in the order of their ids, so a line must not draw its id before another one that counts first.
#[tokio::test]
async fn a_claw_back_that_had_to_wait_is_written_behind_what_it_waited_for() {
    let mut run = Run::new(1).await;
    let who = 2;
    let (charge, payment) = loop {
        let mut world = run.api.world.lock().unwrap();
        let charge = world.buy_pack_of(&mut run.dice, who);
        let payment = world.told().pop().unwrap();
        match (charge, &payment.about) {
            (Some(charge), About::Paid(purchase)) if purchase.credits > 0 => break (charge, payment),
            _ => {}
        }
    };
    let user = run.api.world.lock().unwrap().customers[who].user;
    run.tell(payment).await;
    let refund = run.change(&Object::Charge(charge));

    let mut other = database().await;
    let other = other.transaction().await.unwrap();
    let lock = "select pg_backend_pid() from public.credit_balances where user_id = $1 for update";
    let pid: i32 = other.query_one(lock, &[&user]).await.unwrap().get(0);
    let sending = tokio::spawn(run.send(&refund));
    let waits = "select exists (select from pg_stat_activity where $1 = any (pg_blocking_pids(pid)))";
    while !sending.is_finished() && !run.db.query_one(waits, &[&pid]).await.unwrap().get::<_, bool>(0) {}
    let insert = "insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
                  values ($1, 'bonus', 1, 'present:' || $1::uuid, 'A present')";
    other.execute(insert, &[&user]).await.unwrap();
    other.commit().await.unwrap();
    expect(200, sending.await.unwrap(), &refund);
    run.hear(refund);
    assert_eq!(i64::from(balance(user).await), run.reference.balance(user) + 1);
}
