//! Leaving: what is kept about somebody, all of it, and that nothing stays of who left, wherever that was interrupted, but
//! bookkeeping without a person.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::Arc,
};

use domain::id::UserId;
use flate2::read::GzDecoder;
use futures_util::{StreamExt, future::join_all, stream};
use jiff::Timestamp;
use job_queue::EraseAccount;
use lambda_kit::Message;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, path},
};

use crate::{
    checkout::{act, at_stripe, stripe},
    credits::rpc,
    doubles::{Mode, Proxy},
    events::event,
    generation::{job_of, until},
    generation_faults::{Cut, Gate},
    grid::like,
    identities::{clerk_token, clerk_user},
    stack::{
        Answer, User, claims, clean_up, create_checkout_session, create_generation_job, create_influencer,
        create_portal_session, create_upload, database, delete_account, drain, erase_account, export_account,
        get_credit_history, get_dashboard, get_generation_options, list_generation_jobs, own_queue, request, setting,
        stripe_webhook, sweep_generation_jobs, user_token, wish,
    },
    worker::{Worker, queued},
};

/// Tables that hold nothing about any one user: what is for sale, what is left of who left, keys of objects.
const NOT_HERS: [&str; 9] = [
    "account_deletions",
    "credit_packs",
    "generation_types",
    "left_identities",
    "model_presets",
    "orphaned_objects",
    "plans",
    "pose_presets",
    "scene_presets",
];

/// What stays of who left.
const BOOKS: [&str; 6] =
    ["account_deletions", "credit_purchases", "credits_ledger", "stripe_customers", "stripe_events", "subscriptions"];

async fn put(key: &str) {
    let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
    s3.put_object().bucket(setting("MEDIA_BUCKET")).key(key).body(b"x".to_vec().into()).send().await.unwrap();
}

/// Every key in the bucket that has the user's id in it.
async fn objects(user: Uuid) -> BTreeSet<String> {
    let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
    let mut pages = s3.list_objects_v2().bucket(setting("MEDIA_BUCKET")).into_paginator().send();
    let mut found = BTreeSet::new();
    while let Some(page) = pages.next().await {
        found.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    found.into_iter().filter(|key| key.contains(&user.to_string())).collect()
}

async fn tables() -> Vec<String> {
    let select = "select relname::text from pg_class
                  where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by 1";
    database().await.query(select, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// How many rows of each table have the user's id anywhere; clean-up's list aside, which it empties in time.
async fn rows(user: Uuid) -> BTreeMap<String, i64> {
    let db = database().await;
    let mut found = BTreeMap::new();
    for table in tables().await.into_iter().filter(|table| table != "orphaned_objects") {
        let count =
            format!("select count(*) from public.{table} t where to_jsonb(t)::text like '%' || $1::uuid || '%'");
        let count: i64 = db.query_one(&count, &[&user]).await.unwrap().get(0);
        if count > 0 {
            found.insert(table, count);
        }
    }
    found
}

/// A picture of the user's in the grid.
async fn published(user: &User) -> Uuid {
    let (id, image) = (user.id, Uuid::new_v4());
    let insert = format!(
        "insert into public.assets (id, user_id, kind, object_key, content_type, bytes, width, height, verified_at)
           values ('{image}', '{id}', 'output', 'outputs/{id}/{image}/original.png', 'image/png', 1, 8, 8, now());
         insert into public.images (id, user_id, asset_id, object_key, prompt, width, height, published_at)
           values ('{image}', '{id}', '{image}', 'outputs/{id}/{image}/original.png', 'A red dress', 8, 8, now())"
    );
    database().await.batch_execute(&insert).await.unwrap();
    put(&format!("outputs/{id}/{image}/original.png")).await;
    image
}

async fn asked(user: &User, body: Value) -> Value {
    let request = request("POST", "/checkout-sessions", Some(&user.token), body.to_string());
    let answer = Answer::from(create_checkout_session::handle(create_checkout_session(|_| {}), request).await);
    assert_eq!(answer.status, 201, "{answer:?}");
    at_stripe(&format!("/v1/checkout/sessions/{}", answer.body["session_id"].as_str().unwrap())).await
}

/// Somebody with something everywhere.
struct Resident {
    user: User,
    /// Hers at Stripe.
    customer: String,
    subscription: String,
    /// What she told Stripe.
    name: String,
    /// A picture of somebody else's that she likes.
    liked: Uuid,
}

impl Resident {
    async fn new() -> Self {
        let (user, other) = (User::new().await, User::new().await);
        let (id, db) = (user.id, database().await);

        let name = format!("Clara {}", Uuid::new_v4());
        let page = asked(&user, json!({ "plan_id": "pro" })).await;
        let customer = page["customer"].as_str().unwrap().to_owned();
        let paid = act(&format!("checkout/{}/pay", page["id"].as_str().unwrap()), json!({ "name": name })).await;
        let subscription = paid["subscription"].as_str().unwrap().to_owned();
        settled(&customer).await;
        asked(&user, json!({ "pack_id": "small" })).await;

        let liked = published(&other).await;
        assert_eq!(like("PUT", &user, liked).await.status, 200);
        let image = published(&user).await;
        assert_eq!(like("PUT", &other, image).await.status, 200);
        db.batch_execute(&format!(
            "insert into public.influencers (id, user_id, name, bio, vibe, state, is_locked, initial_image_url, created_at, base_prompt, seed)
               values ('{id}', '{id}', 'n', 'b', 'v', 'ready', true, '{base}/users/{id}/influencers/{id}/initial.png', now(), 'our own words', 7);
             insert into public.image_reports (image_id, user_id, reason) values ('{liked}', '{id}', 'other');
             insert into public.chats (id, user_id, influencer_id) values ('{id}', '{id}', '{id}');
             insert into public.messages (id, chat_id, role, content) values ('{id}', '{id}', 'user', 'hi {id}');
             insert into public.assets (id, user_id, content_type, bytes, width, height, verified_at)
               values ('{id}', '{id}', 'image/png', 1, 1, 1, now());
             insert into public.user_roles (user_id, role) values ('{id}', 'admin')",
            base = setting("MEDIA_BASE_URL"),
        ))
        .await
        .unwrap();
        job_of(&user, json!({})).await;
        let started = job_of(&user, json!({ "input_asset_id": id })).await;
        let claim = json!({ "p_job_id": started, "p_token": Uuid::new_v4(), "p_lease_seconds": 100 });
        assert_eq!(rpc("claim_generation_job", claim).await["outcome"], "claimed");
        for key in [
            format!("users/{id}/influencers/{id}/initial.png"),
            format!("uploads/{id}/{id}.png"),
            format!("assets/{id}/{id}/image.webp"),
            format!("assets/{id}/{id}/thumb.webp"),
            format!("outputs/{id}/{started}/original.png"),
        ] {
            put(&key).await;
        }
        Self { user, customer, subscription, name, liked }
    }

    /// What is told of her at Stripe under an event's type.
    async fn told(&self, kind: &str) -> usize {
        let path = format!("/sandbox/stripe/events.json?about={}", self.subscription);
        let events = at_stripe(&path).await;
        events["events"].as_array().unwrap().iter().filter(|event| event["type"] == kind).count()
    }

    /// Nothing is left of her but the books, which name nobody.
    async fn is_gone(&self, case: &str) {
        let Self { user, customer, subscription, name, liked } = self;
        assert_eq!(objects(user.id).await, BTreeSet::new(), "{case}");
        let left: Vec<String> = rows(user.id).await.into_keys().collect();
        assert_eq!(left, BOOKS, "{case}");
        let db = database().await;
        let auth = "select count(*) from auth.users where id = $1";
        assert_eq!(db.query_one(auth, &[&user.id]).await.unwrap().get::<_, i64>(0), 0, "{case}");
        let finished = "select finished_at is not null from public.account_deletions where user_id = $1";
        assert!(db.query_one(finished, &[&user.id]).await.unwrap().get::<_, bool>(0), "{case}");
        let likes = "select likes_count from public.images where id = $1";
        assert_eq!(db.query_one(likes, &[liked]).await.unwrap().get::<_, i32>(0), 0, "{case}");

        let at_stripe_now = at_stripe(&format!("/v1/subscriptions/{subscription}")).await;
        assert_eq!(at_stripe_now["status"], "canceled", "{case}");
        let open = at_stripe(&format!("/v1/checkout/sessions?customer={customer}&status=open")).await;
        assert_eq!(open["data"], json!([]), "{case}");
        assert_eq!(self.told("customer.subscription.deleted").await, 1, "{case}");
        assert_eq!(self.told("invoice.paid").await, 1, "{case}: no further invoice");

        // What Stripe tells of the end comes after it.
        settled(customer).await;
        let ended = "select status from public.subscriptions where id = $1";
        assert_eq!(db.query_one(ended, &[subscription]).await.unwrap().get::<_, String>(0), "canceled", "{case}");
        let adds_up = "select sum(amount) = (array_agg(balance_after order by id desc))[1] from public.credits_ledger where user_id = $1";
        assert!(db.query_one(adds_up, &[&user.id]).await.unwrap().get::<_, bool>(0), "{case}");
        let events = "select type, payload::text from public.stripe_events where payload::text like '%' || $1 || '%'";
        let events = db.query(events, &[customer]).await.unwrap();
        assert!(events.len() >= 4, "{case}: {} events", events.len());
        for event in events {
            let (kind, payload): (String, String) = (event.get(0), event.get(1));
            for person in ["@", name.as_str(), "last4", "email\": \"", "phone\": \""] {
                assert!(!payload.contains(person), "{case}: {kind} tells {person}: {payload}");
            }
        }
    }
}

/// Waits until nothing about it is on its way from Stripe.
async fn settled(about: &str) {
    at_stripe(&format!("/sandbox/stripe/settled?about={about}")).await;
}

async fn leave_by(deps: &Arc<delete_account::Deps>, user: &User) -> Answer {
    delete_account::handle(deps.clone(), request("DELETE", "/me", Some(&user.token), ())).await.into()
}

/// `DELETE /me`, and what it sent.
async fn leave(user: &User) -> (Answer, Vec<Value>) {
    let queue = own_queue().await;
    let deps = delete_account(|config| config.erasure_queue_url = queue.parse().unwrap());
    (leave_by(&deps, user).await, drain(&queue).await)
}

fn message(user: Uuid) -> Message<EraseAccount> {
    Message { body: EraseAccount { user_id: UserId(user) }, receive_count: 1 }
}

async fn erase(deps: &Arc<erase_account::Deps>, user: Uuid) -> Result<(), String> {
    erase_account::handle(deps.clone(), message(user)).await.map_err(|error| format!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_leaves_nothing_behind_but_books_without_a_person() {
    let resident = Resident::new().await;
    let user = &resident.user;
    let before = rows(user.id).await;
    for table in BOOKS.into_iter().filter(|table| *table != "account_deletions") {
        assert!(before.contains_key(table), "{table} has nothing that could stay: {before:?}");
    }
    let named = "select count(*) from public.stripe_events where payload::text like '%' || $1 || '%'";
    let told: i64 = database().await.query_one(named, &[&user.email]).await.unwrap().get(0);
    assert!(told > 0, "Stripe told us her address, so that there is something to forget");
    let paid = "select id, payload->'data'->'object' from public.stripe_events
                where type = 'invoice.paid' and payload #>> '{data,object,customer}' = $1";
    let paid = database().await.query_one(paid, &[&resident.customer]).await.unwrap();
    let (event, invoice): (String, Value) = (paid.get(0), paid.get(1));

    let (answer, messages) = leave(user).await;
    assert_eq!((answer.status, answer.body), (202, json!({ "status": "leaving" })));
    assert_eq!(messages, [json!({ "user_id": user.id })]);
    let refunds = "select count(*) from public.credits_ledger where user_id = $1 and tx_type = 'refund'";
    let refunds: i64 = database().await.query_one(refunds, &[&user.id]).await.unwrap().get(0);
    assert_eq!(refunds, 1, "the job that nobody had started was cancelled");
    erase(&erase_account(|_| {}), user.id).await.unwrap();
    resident.is_gone("at once").await;

    let kept = "select payload->'data'->'object' from public.stripe_events where id = $1";
    let kept: Value = database().await.query_one(kept, &[&event]).await.unwrap().get(0);
    for field in
        ["id", "object", "customer", "amount_paid", "currency", "created", "number", "billing_reason", "status"]
    {
        assert!(!invoice[field].is_null() && kept[field] == invoice[field], "{field} of {kept}");
    }
    let line = |invoice: &Value| invoice["lines"]["data"][0]["pricing"]["price_details"]["price"].clone();
    assert_eq!(line(&kept), line(&invoice));
    assert_eq!(leave(user).await.0.status, 401, "she is nobody now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_often_and_whatever_comes_often_ends_once() {
    let resident = Resident::new().await;
    let user = &resident.user;
    let queue = own_queue().await;
    let deps = delete_account(|config| config.erasure_queue_url = queue.parse().unwrap());
    for answer in join_all((0..10).map(|_| leave_by(&deps, user))).await {
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    assert_eq!(leave_by(&deps, user).await.status, 202, "as long as it goes on");
    assert_eq!(drain(&queue).await.len(), 11);
    let erasing = erase_account(|_| {});
    for done in join_all((0..5).map(|_| erase(&erasing, user.id))).await {
        done.unwrap();
    }
    erase(&erasing, user.id).await.unwrap();
    resident.is_gone("often").await;
}

/// Kills the function at its `at`th request; answers whether it came so far.
async fn killed(function: &str, resident: &Resident, at: usize, cut: Cut) -> bool {
    let gate = Gate::new(at, cut);
    let mut environment = vec![("ERASURE_QUEUE_URL", own_queue().await)];
    for name in ["SUPABASE_URL", "STRIPE_API_URL", "AWS_ENDPOINT_URL"] {
        environment.push((name, gate.before(&setting(name)).await.to_string()));
    }
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let call = if function == "delete-account" {
        // The project's address is the gate's here, so the token names none.
        let mut claims = claims(resident.user.id, &resident.user.email);
        claims.as_object_mut().unwrap().remove("iss");
        let token = [("access_token", user_token(&claims))];
        serde_json::from_str(&event("delete-account/leaving.json", &token)).unwrap()
    } else {
        queued(&json!({ "user_id": resident.user.id }))
    };
    let mut worker = Worker::run(function, &call, &environment).await;
    let came_so_far = tokio::select! {
        () = gate.held.notified() => true,
        answer = worker.answer() => {
            let well = answer == json!({ "batchItemFailures": [] }) || answer["statusCode"] == 202;
            assert!(well, "{function}, {cut:?} {at}: {answer}");
            false
        }
    };
    worker.process.kill().await.unwrap();
    came_so_far
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_and_run_again_it_leaves_nothing_behind() {
    let kills = [("delete-account", 2), ("erase-account", 12)];
    let kills = stream::iter(kills.into_iter().flat_map(|kill| [(kill, Cut::Before), (kill, Cut::After)]));
    let kills = kills.map(|((function, least), cut)| async move {
        let mut at = 1;
        loop {
            let case = format!("{function}, killed {cut:?} request {at}");
            let resident = Resident::new().await;
            let user = &resident.user;
            if function == "erase-account" {
                assert_eq!(leave(user).await.0.status, 202, "{case}");
            }
            let came_so_far = killed(function, &resident, at, cut).await;
            if function == "delete-account" {
                assert_eq!(leave(user).await.0.status, 202, "{case}");
            }
            erase(&erase_account(|_| {}), user.id).await.unwrap_or_else(|error| panic!("{case}: {error}"));
            resident.is_gone(&case).await;
            if !came_so_far {
                break;
            }
            at += 1;
        }
        assert!(at > least, "{function} was killed {cut:?} {} requests", at - 1);
        (function, cut, at - 1)
    });
    let kills: Vec<_> = kills.buffer_unordered(4).collect().await;
    eprintln!("kills: {kills:?}");
}

#[tokio::test]
async fn what_cannot_be_done_now_is_done_later_and_nobody_else_is_touched() {
    let resident = Resident::new().await;
    let user = &resident.user;
    let stays = rows(user.id).await;
    erase(&erase_account(|_| {}), user.id).await.unwrap();
    assert_eq!((rows(user.id).await, objects(user.id).await.is_empty()), (stays, false), "she never asked");

    assert_eq!(leave(user).await.0.status, 202);
    for part in ["SUPABASE_URL", "STRIPE_API_URL"] {
        let proxy = Proxy::before(&setting(part)).await;
        proxy.set(Mode::ServerError);
        let down = erase_account(|config| match part {
            "SUPABASE_URL" => config.supabase_url = proxy.origin.clone(),
            _ => config.stripe_api_url = proxy.origin.clone(),
        });
        erase(&down, user.id).await.unwrap_err();
        let unfinished = "select finished_at is null from public.account_deletions where user_id = $1";
        let unfinished = database().await.query_one(unfinished, &[&user.id]).await.unwrap();
        assert!(unfinished.get::<_, bool>(0), "{part}");
    }
    let no_bucket = erase_account(|config| config.media_bucket = "no-such-bucket".to_owned());
    erase(&no_bucket, user.id).await.unwrap_err();
    erase(&erase_account(|_| {}), user.id).await.unwrap();
    resident.is_gone("later").await;
}

#[tokio::test]
async fn a_customer_who_is_gone_at_stripe_and_who_never_paid_do_not_hold_it_up() {
    let resident = Resident::new().await;
    let user = &resident.user;
    let elsewhere = "update public.stripe_customers set customer_id = 'cus_gone_' || user_id where user_id = $1";
    database().await.execute(elsewhere, &[&user.id]).await.unwrap();
    stripe(Method::DELETE, &format!("/v1/customers/{}", resident.customer), &[]).await;
    let poor = User::new().await;
    for user in [user, &poor] {
        assert_eq!(leave(user).await.0.status, 202);
        erase(&erase_account(|_| {}), user.id).await.unwrap();
        assert_eq!(objects(user.id).await, BTreeSet::new());
    }
    let left: Vec<String> = rows(poor.id).await.into_keys().collect();
    assert_eq!(left, ["account_deletions", "credits_ledger"]);
}

#[tokio::test]
async fn an_end_that_lost_its_message_is_queued_again() {
    let user = User::new().await;
    let key = format!("uploads/{0}/{0}.png", user.id);
    put(&key).await;
    let nowhere = delete_account(|config| config.erasure_queue_url = "http://127.0.0.1:9/queue".parse().unwrap());
    assert_eq!(leave_by(&nowhere, &user).await.status, 202, "the wish is written down");
    let overdue = "update public.account_deletions set look_at = now() - interval '1 second' where user_id = $1";
    database().await.execute(overdue, &[&user.id]).await.unwrap();
    // The real queue: whichever test sweeps first sends the message there, and the running function ends it.
    sweep_generation_jobs::handle(sweep_generation_jobs(|_| {}), serde::de::IgnoredAny).await.unwrap();
    until("the end of the account", async || {
        let finished = "select finished_at is not null from public.account_deletions where user_id = $1";
        database().await.query_one(finished, &[&user.id]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
    assert_eq!(objects(user.id).await, BTreeSet::new());
    let later = "select look_at > now() + interval '50 minutes' from public.account_deletions where user_id = $1";
    assert!(
        database().await.query_one(later, &[&user.id]).await.unwrap().get::<_, bool>(0),
        "not again at the next tick"
    );
}

#[tokio::test]
async fn what_is_stored_late_is_left_to_clean_up() {
    let user = User::new().await;
    assert_eq!(leave(&user).await.0.status, 202);
    erase(&erase_account(|_| {}), user.id).await.unwrap();
    for folder in ["users", "uploads", "assets", "outputs"] {
        put(&format!("{folder}/{}/{}/late.png", user.id, Uuid::new_v4())).await;
    }
    let waiting = "select count(*) from public.orphaned_objects
                   where object_key like '%/' || $1::uuid || '/' and since > now() + interval '50 minutes'";
    let waiting: i64 = database().await.query_one(waiting, &[&user.id]).await.unwrap().get(0);
    assert_eq!(waiting, 4, "until nobody can be at work any more");
    // Nobody else sees it pass: another test's clean-up would be at it first.
    let mut db = database().await;
    let hour = db.transaction().await.unwrap();
    let later = "update public.orphaned_objects set since = now() where object_key like '%/' || $1::uuid || '/'";
    hour.execute(later, &[&user.id]).await.unwrap();
    let due =
        "select coalesce(jsonb_agg(key), '[]') from jsonb_array_elements_text(public.orphaned_object_keys(1000000)) key
               where key like '%/' || $1::uuid || '/'";
    let due: Value = hour.query_one(due, &[&user.id]).await.unwrap().get(0);
    hour.rollback().await.unwrap();
    assert_eq!(due.as_array().unwrap().len(), 4, "{due}");
    let only_these = MockServer::start().await;
    let keys = Mock::given(path("/rest/v1/rpc/orphaned_object_keys"));
    keys.respond_with(ResponseTemplate::new(200).set_body_json(due)).mount(&only_these).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(0)).mount(&only_these).await;
    let deps = clean_up(|config| config.supabase_url = only_these.uri().parse().unwrap());
    let task = serde_json::from_value(json!({ "task": "uploads" })).unwrap();
    clean_up::handle(deps, task).await.unwrap();
    assert_eq!(objects(user.id).await, BTreeSet::new());
}

/// Every function that gives, takes or sells something, or shows an account.
async fn refusals(user: &User) -> Vec<(&'static str, Answer)> {
    let token = Some(user.token.as_str());
    let job = json!({ "prompt": "A red coat", "model_preset": "fashion_model_v1", "pose_preset": "standing",
        "scene_preset": "street", "generation_type": "standard" })
    .to_string();
    let upload = json!({ "filename": "a.png", "content_type": "image/png", "size": 5 }).to_string();
    let asking = |path: &str, body: String| {
        let mut request = request("POST", path, token, body);
        request.headers_mut().insert("idempotency-key", Uuid::new_v4().to_string().parse().unwrap());
        request
    };
    let looking = |path: &str| request("GET", path, token, ());
    vec![
        (
            "create-generation-job",
            create_generation_job::handle(create_generation_job(|_| {}), asking("/generation-jobs", job)).await.into(),
        ),
        ("create-upload", create_upload::handle(create_upload(|_| {}), asking("/uploads", upload)).await.into()),
        (
            "create-influencer",
            create_influencer::handle(create_influencer(|_| {}), asking("/influencers", wish())).await.into(),
        ),
        (
            "create-checkout-session",
            create_checkout_session::handle(
                create_checkout_session(|_| {}),
                asking("/checkout-sessions", json!({ "plan_id": "pro" }).to_string()),
            )
            .await
            .into(),
        ),
        ("get-dashboard", get_dashboard::handle(get_dashboard(|_| {}), looking("/dashboard")).await.into()),
        (
            "get-generation-options",
            get_generation_options::handle(get_generation_options(|_| {}), looking("/generation-options")).await.into(),
        ),
        ("export-account", export_account::handle(export_account(|_| {}), looking("/me/export")).await.into()),
        (
            "create-portal-session",
            create_portal_session::handle(
                create_portal_session(|_| {}),
                asking("/billing-portal-sessions", "{}".to_owned()),
            )
            .await
            .into(),
        ),
    ]
}

#[tokio::test]
async fn from_the_wish_on_her_token_is_nobodys() {
    // One who has bought, so that rows of hers stay for the books.
    let Resident { user: buyer, .. } = Resident::new().await;
    for user in [buyer, User::new().await, clerk_user().await] {
        assert_eq!(leave(&user).await.0.status, 202);
        for (function, answer) in refusals(&user).await {
            let nothing = function == "create-portal-session" && answer.status == 409;
            assert!(answer.status == 401 || nothing, "{function}: {answer:?}");
        }
        assert_eq!(like("PUT", &user, published(&User::new().await).await).await.status, 401);
        // Lists of nothing: what row-level security lets her see of what she had.
        let jobs = request("GET", "/generation-jobs", Some(&user.token), ());
        let jobs = Answer::from(list_generation_jobs::handle(list_generation_jobs(|_| {}), jobs).await);
        assert!(jobs.status == 401 || jobs.body["jobs"] == json!([]), "{jobs:?}");
        let history = request("GET", "/credit-history", Some(&user.token), ());
        let history = Answer::from(get_credit_history::handle(get_credit_history(|_| {}), history).await);
        assert!(history.status == 401 || history.body["entries"] == json!([]), "{history:?}");
    }
}

#[tokio::test]
async fn what_stripe_tells_later_brings_nobody_back_and_names_nobody() {
    let resident = Resident::new().await;
    let Resident { user, customer, subscription, name, .. } = &resident;
    assert_eq!(leave(user).await.0.status, 202);
    let deps = stripe_webhook(|_| {});
    let deliver = async |kind: &str, object: Value| {
        let id = format!("evt_{}", Uuid::new_v4().simple());
        let event = json!({ "id": id, "object": "event", "type": kind, "created": Timestamp::now().as_second(), "livemode": false,
            "api_version": "2026-07-29.dahlia", "pending_webhooks": 1, "request": null, "data": { "object": object } });
        let mut request = request("POST", "/", None, event.to_string());
        let secret = setting("STRIPE_WEBHOOK_SECRET").into();
        let signature = auth::signature::sign(&secret, Timestamp::now(), event.to_string().as_bytes());
        request.headers_mut().insert("stripe-signature", signature.parse().unwrap());
        let answer = Answer::from(stripe_webhook::handle(deps.clone(), request).await);
        let stored = "select payload, outcome from public.stripe_events where id = $1";
        let stored = database().await.query_one(stored, &[&id]).await.unwrap();
        (answer.status, stored.get::<_, Value>(0), stored.get::<_, Option<String>>(1).unwrap_or_default())
    };
    let person = json!({ "email": user.email, "name": name, "phone": "+351 912 345 678",
        "address": { "line1": "Rua Augusta 1", "city": "Lisboa", "country": "PT", "postal_code": "1100-048" } });
    let invoice = json!({ "id": format!("in_{}", Uuid::new_v4().simple()), "object": "invoice", "customer": customer,
        "customer_email": user.email, "customer_name": name, "customer_address": person["address"],
        "billing_reason": "subscription_cycle", "status": "paid", "amount_paid": 1900, "currency": "usd", "created": 1_800_000_000,
        "parent": { "type": "subscription_details", "subscription_details": { "subscription": subscription, "metadata": {} } },
        "lines": { "object": "list", "has_more": false, "data": [{ "id": "il_1", "object": "line_item", "quantity": 1,
            "description": name, "pricing": { "type": "price_details", "price_details": { "price": "price_pro_monthly", "product": "prod_pro" } },
            "parent": { "type": "subscription_item_details", "subscription_item_details": { "proration": false, "subscription": subscription } } }] } });
    let session = json!({ "id": format!("cs_test_{}", Uuid::new_v4().simple()), "object": "checkout.session", "mode": "payment",
        "status": "complete", "payment_status": "paid", "customer": null, "client_reference_id": user.id, "subscription": null,
        "customer_details": person, "payment_intent": format!("pi_{}", Uuid::new_v4().simple()), "amount_total": 900, "currency": "usd",
        "metadata": { "user_id": user.id, "pack_id": "small", "credits": "10" }, "expires_at": 1_800_000_000, "created": 1_700_000_000 });
    let charges = at_stripe(&format!("/v1/charges?customer={customer}")).await;
    let charge = charges["data"][0].clone();
    let refunded = act(&format!("charges/{}/refund", charge["id"].as_str().unwrap()), json!({})).await;
    assert!(refunded["id"].is_string(), "{refunded}");

    let before = rows(user.id).await;
    // Money for nobody is a person's to look at.
    for (kind, object, expected) in [
        ("invoice.paid", &invoice, "unmatched"),
        ("invoice.paid", &invoice, "unmatched"),
        ("checkout.session.completed", &session, "unmatched"),
        ("customer.subscription.updated", &at_stripe(&format!("/v1/subscriptions/{subscription}")).await, "stored"),
        ("charge.refunded", &at_stripe(&format!("/v1/charges/{}", charge["id"].as_str().unwrap())).await, "stored"),
    ] {
        let (status, kept, outcome) = deliver(kind, object.clone()).await;
        assert_eq!((status, outcome.as_str()), (200, expected), "{kind}");
        let text = kept.to_string();
        for secret in ["@", name, "912 345 678", "Rua Augusta", "Lisboa", "1100-048", "last4"] {
            assert!(!text.contains(secret), "{kind} tells {secret}: {text}");
        }
        assert_eq!(kept.pointer("/data/object/id"), object.pointer("/id"), "{kind}");
    }
    settled(customer).await;
    let after = rows(user.id).await;
    assert_eq!(
        after.keys().filter(|table| !before.contains_key(*table)).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "{before:?} {after:?}"
    );
    assert_eq!(after["credits_ledger"], before["credits_ledger"], "nobody's credits move");
    // Somebody else's event is kept as it came.
    let other = User::new().await;
    let mut theirs = session.clone();
    theirs["id"] = json!(format!("cs_test_{}", Uuid::new_v4().simple()));
    theirs["payment_intent"] = json!(format!("pi_{}", Uuid::new_v4().simple()));
    theirs["client_reference_id"] = json!(other.id);
    theirs["metadata"]["user_id"] = json!(other.id);
    theirs["customer"] = json!(format!("cus_{}", Uuid::new_v4().simple()));
    let (_, kept, outcome) = deliver("checkout.session.completed", theirs.clone()).await;
    assert_eq!((kept["data"]["object"].clone(), outcome.as_str()), (theirs, "granted"));
}

#[tokio::test]
async fn who_leaves_and_comes_again_by_another_issuer_gets_no_second_welcome() {
    let user = clerk_user().await;
    let identity = "select subject from public.identities where user_id = $1";
    let subject: String = database().await.query_one(identity, &[&user.id]).await.unwrap().get(0);
    assert_eq!(leave(&user).await.0.status, 202);
    erase(&erase_account(|_| {}), user.id).await.unwrap();
    let left: Vec<String> = rows(user.id).await.into_keys().collect();
    assert_eq!(left, ["account_deletions", "credits_ledger"], "not even who she was there");
    let seen = async |token: &str| {
        Answer::from(get_dashboard::handle(get_dashboard(|_| {}), request("GET", "/dashboard", Some(token), ())).await)
    };
    assert_eq!(seen(&user.token).await.status, 401, "a token from before");
    // A minute later.
    let then = "update public.left_identities set left_at = left_at - interval '1 minute'
                where hash = public.identity_hash($1, $2)";
    assert_eq!(database().await.execute(then, &[&setting("CLERK_ISSUER"), &subject]).await.unwrap(), 1);
    let again = clerk_token(&json!({ "sub": subject })).await;
    let back = seen(&again).await;
    assert_eq!((back.status, &back.body["credits"]), (200, &json!(0)), "{back:?}");
    assert_ne!(back.body["user"]["id"], json!(user.id));
}

async fn exported(user: &User) -> Value {
    let request = request("GET", "/me/export", Some(&user.token), ());
    let answer = Answer::from(export_account::handle(export_account(|_| {}), request).await);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn every_table_is_in_the_export_or_known_to_hold_nothing_of_hers() {
    let export = exported(&User::new().await).await;
    let mut known: BTreeSet<&str> = export["data"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(known.remove("sign_in"), "which is auth's");
    assert!(NOT_HERS.iter().all(|table| known.insert(table)), "a table is either hers or not");
    assert_eq!(
        tables().await,
        known.into_iter().collect::<Vec<_>>(),
        "say in export_account or in NOT_HERS what it is"
    );
}

#[tokio::test]
async fn the_export_has_every_row_and_every_file_of_hers_and_of_nobody_else() {
    let resident = Resident::new().await;
    let user = &resident.user;
    let another = Resident::new().await;
    let export = exported(user).await;
    let data = export["data"].as_object().unwrap();
    assert_eq!(data["sign_in"]["email"], user.email.as_str());
    for (table, count) in rows(user.id).await {
        let given = data[&table].as_array().unwrap().len() as i64;
        assert!(given >= count, "{table}: {given} of {count}");
    }
    assert_eq!(data["messages"][0]["content"], format!("hi {}", user.id));
    assert!(data["stripe_events"].to_string().contains(&user.email), "also what Stripe told of her");
    assert_eq!(data["image_likes"][0]["image_id"], json!(resident.liked));

    let text = export.to_string();
    for (what, secret) in [
        ("our prompt", "our own words".to_owned()),
        ("a lease", "lease_token".to_owned()),
        ("another user", another.user.id.to_string()),
        ("another's address", another.user.email.clone()),
    ] {
        assert!(!text.contains(&secret), "{what}");
    }

    let files = export["files"].as_array().unwrap();
    let keys: BTreeSet<String> = files.iter().map(|file| file["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, objects(user.id).await);
    let http = http_client::client(std::time::Duration::from_secs(10)).unwrap();
    for file in files {
        let response = http.get(file["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &file["bytes"]), (200, &json!(1)), "{file}");
        let expires: Timestamp = file["expires_at"].as_str().unwrap().parse().unwrap();
        let minutes = (expires - Timestamp::now()).total(jiff::Unit::Minute).unwrap();
        assert!((58.0..=60.0).contains(&minutes), "{minutes} minutes");
    }
}

#[tokio::test]
async fn a_browser_gets_the_export_packed() {
    let user = User::new().await;
    let mut request = request("GET", "/me/export", Some(&user.token), ());
    request.headers_mut().insert("accept-encoding", "gzip, deflate, br".parse().unwrap());
    let response = export_account::handle(export_account(|_| {}), request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"sweetheart.json\"");
    let mut text = String::new();
    GzDecoder::new(response.body().as_ref()).read_to_string(&mut text).unwrap();
    let export: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(export["data"]["users"][0]["id"], json!(user.id));
}
