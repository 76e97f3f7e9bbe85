//! What the database says when an invariant is broken. Each is broken in a project of the test's own, by who may do anything there;
//! what PostgREST's callers may do is in `row_security.rs`.

use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::{
    migrations::{empty_project, migrate},
    operate::operate,
    stack::check_invariants,
};

/// A project in which something of everything has happened.
struct Project {
    db: Client,
    user: Uuid,
    /// Jobs that wait, failed, and have their picture.
    waiting: Uuid,
    failed: Uuid,
    completed: Uuid,
    image: Uuid,
}

impl Project {
    async fn new() -> Self {
        let db = empty_project().await;
        migrate(&db).await.unwrap();
        let (user, other) = (Uuid::new_v4(), Uuid::new_v4());
        for id in [user, other] {
            db.execute("insert into auth.users (id) values ($1)", &[&id]).await.unwrap();
        }
        let locked =
            "insert into public.influencers (user_id, name, bio, vibe, state, is_locked, created_at, initial_image_url)
                      values ($1, 'Clara', 'b', 'v', 'ready', true, now(), 'https://media.example/clara.png')";
        db.execute(locked, &[&user]).await.unwrap();
        let bought = json!({ "purchase": { "key": "payment_intent:pi_1", "customer_id": null, "user_id": user, "pack_id": "small",
            "credits": 10, "amount_paid": 900, "currency": "usd", "created": "2026-11-21T10:00:00Z" } });
        let granted: String =
            db.query_one("select public.apply_stripe_change($1)", &[&bought.to_string()]).await.unwrap().get(0);
        assert_eq!(granted, "granted");

        let (waiting, failed, cancelled, completed) =
            (job(&db, user).await, job(&db, user).await, job(&db, user).await, job(&db, user).await);
        for (job, end) in [(failed, "failed"), (cancelled, "cancelled")] {
            let reason = (end == "failed").then_some("refused");
            db.execute("select public.end_generation_job($1, $2, $3, $3)", &[&job, &end, &reason]).await.unwrap();
        }
        let claim = "select public.claim_generation_job($1, gen_random_uuid(), 60)";
        db.execute(claim, &[&completed]).await.unwrap();
        let output = json!({ "object_key": "outputs/original.png", "image_url": "https://media.example/o.png",
            "content_type": "image/png", "bytes": 5, "width": 2, "height": 3, "blurhash": "L", "seed": 7 });
        let complete = "select public.complete_generation_job($1, $2)";
        db.execute(complete, &[&completed, &output.to_string()]).await.unwrap();
        let image = db.query_one("select id from public.images where user_id = $1", &[&user]).await.unwrap().get(0);
        db.execute("select public.publish_image($1, $2, true)", &[&user, &image]).await.unwrap();
        db.execute("select public.like_image($1, $2, true)", &[&other, &image]).await.unwrap();
        Self { db, user, waiting, failed, completed, image }
    }

    /// What is broken after `change`, which is then undone. No rule of the schema is in its way.
    async fn broken_by(&self, change: &str) -> Value {
        self.db.batch_execute("begin; set local session_replication_role = replica").await.unwrap();
        self.db.batch_execute(change).await.unwrap_or_else(|error| panic!("{change}: {error:?}"));
        let broken = self.db.query_one("select public.broken_invariants()", &[]).await.unwrap().get(0);
        self.db.batch_execute("rollback").await.unwrap();
        broken
    }
}

async fn job(db: &Client, user: Uuid) -> Uuid {
    let wish = json!({ "prompt": "p", "model_preset": "fashion_model_v1", "pose_preset": "standing", "scene_preset": "studio",
        "generation_type": "standard" });
    let create = "select public.create_generation_job($1, gen_random_uuid()::text, $2)";
    let created: Value = db.query_one(create, &[&user, &wish.to_string()]).await.unwrap().get(0);
    assert_eq!(created["outcome"], "created", "{created}");
    created["job"]["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn whatever_breaks_an_invariant_is_named() {
    let project = Project::new().await;
    let Project { user, waiting, failed, completed, image, .. } = &project;
    assert_eq!(project.broken_by("select").await, json!([]), "all is well");

    let line = |tx_type: &str, amount: i32, key: &str| {
        format!(
            "insert into public.credits_ledger (user_id, tx_type, amount, balance_after, business_key, description)
                 values ('{user}', '{tx_type}', {amount}, {amount}, '{key}', '')"
        )
    };
    let switched_off = "is missing or switched off";
    let breaks = [
        // What is done, which invariant that breaks, in which words, where.
        (
            "alter table public.influencers drop constraint influencers_user_id_key".to_owned(),
            "I1",
            switched_off,
            "influencers.influencers_user_id_key".to_owned(),
        ),
        (
            "alter table public.influencers disable trigger a_locked_influencer_never_changes".to_owned(),
            "I2",
            switched_off,
            "influencers.a_locked_influencer_never_changes".to_owned(),
        ),
        (
            format!("update public.credit_balances set balance = balance + 1 where user_id = '{user}'"),
            "I5",
            "is not what its ledger adds up to",
            user.to_string(),
        ),
        (line("bonus", 1000, "nothing"), "I5", "is not what its ledger adds up to", user.to_string()),
        (
            format!(
                "alter table public.credits_ledger drop constraint credits_ledger_floor; {}",
                line("spend", -9, "too much")
            ),
            "I5",
            "more was spent",
            user.to_string(),
        ),
        (
            "alter table public.credits_ledger disable trigger keep_balance".to_owned(),
            "I5",
            switched_off,
            "credits_ledger.keep_balance".to_owned(),
        ),
        (line("purchase", 5, "invoice:in_none"), "I6", "a purchase that is not there", "invoice:in_none".to_owned()),
        (
            "update public.credit_purchases set credits = 11".to_owned(),
            "I6",
            "or is another",
            "payment_intent:pi_1".to_owned(),
        ),
        (
            format!(
                "insert into public.credit_purchases (key, user_id, pack_id, credits, amount_paid, currency)
                  values ('invoice:in_2', '{user}', 'small', 10, 900, 'usd')"
            ),
            "I6",
            "has brought no credits",
            "invoice:in_2".to_owned(),
        ),
        (
            "alter table public.credits_ledger drop constraint credits_ledger_business_key_key".to_owned(),
            "I6",
            switched_off,
            "credits_ledger.credits_ledger_business_key_key".to_owned(),
        ),
        (
            format!("delete from public.credits_ledger where business_key = 'job_reserve:{waiting}'"),
            "I7",
            "not been paid for",
            waiting.to_string(),
        ),
        (
            format!("delete from public.credits_ledger where business_key = 'refund:job_reserve:{failed}'"),
            "I7",
            "did not come back",
            failed.to_string(),
        ),
        (line("refund", 1, &format!("refund:job_reserve:{completed}")), "I7", "has its picture", completed.to_string()),
        (
            format!(
                "update public.generation_jobs set deadline_at = now() - interval '61 minutes' where id = '{waiting}'"
            ),
            "I7",
            "long after its deadline",
            waiting.to_string(),
        ),
        (
            "alter table public.generation_jobs disable trigger reserve_for_job".to_owned(),
            "I7",
            switched_off,
            "generation_jobs.reserve_for_job".to_owned(),
        ),
        ("create table public.stray (id integer)".to_owned(), "I8", "no row-level security", "stray".to_owned()),
        ("create table public.stray (id integer)".to_owned(), "I8", "may write", "stray DELETE anon".to_owned()),
        (
            "grant update on public.credit_balances to authenticated".to_owned(),
            "I8",
            "may write",
            "credit_balances UPDATE authenticated".to_owned(),
        ),
        (
            "grant insert (likes_count) on public.images to anon".to_owned(),
            "I8",
            "may write",
            "images.likes_count INSERT anon".to_owned(),
        ),
        ("grant delete on public.assets to public".to_owned(), "I8", "may write", "assets DELETE public".to_owned()),
        (
            "grant execute on function public.delete_user(uuid) to anon".to_owned(),
            "I8",
            "rights of its owner",
            "delete_user anon".to_owned(),
        ),
        (
            format!("update public.images set likes_count = 7 where id = '{image}'"),
            "I8",
            "not the number of likes",
            image.to_string(),
        ),
        (
            "alter table public.image_likes disable trigger count_gone_likes".to_owned(),
            "I8",
            switched_off,
            "image_likes.count_gone_likes".to_owned(),
        ),
    ];
    for (change, invariant, what, id) in breaks {
        let broken = project.broken_by(&change).await;
        let found = broken.as_array().unwrap().iter().any(|found| {
            found["invariant"] == invariant
                && found["what"].as_str().unwrap().contains(what)
                && found["sample"].as_array().unwrap().contains(&json!(id))
        });
        assert!(found, "{change}: {broken}");
    }
    let many = format!(
        "{}; {}",
        line("purchase", 1, "invoice:1"),
        (2..=9).map(|n| line("purchase", 1, &format!("invoice:{n}"))).collect::<Vec<_>>().join(";")
    );
    let broken = project.broken_by(&many).await;
    let purchases = broken.as_array().unwrap().iter().find(|found| found["invariant"] == "I6").unwrap();
    assert_eq!((&purchases["count"], purchases["sample"].as_array().unwrap().len()), (&json!(9), 5));
}

#[tokio::test]
async fn the_last_hour_is_the_whole_hour_before_this_one() {
    let Project { db, user, .. } = Project::new().await;
    // In one transaction now() stands still.
    db.batch_execute("begin; set local session_replication_role = replica").await.unwrap();
    let hour: Value = db.query_one("select public.last_hour()", &[]).await.unwrap().get(0);
    let nothing =
        json!({ "bought": 0, "given": 0, "spent": 0, "refunded": 0, "clawed_back": 0, "adjusted": 0, "timed_out": 0 });
    assert_eq!(hour, nothing, "what happened now belongs to the next");

    let line = "insert into public.credits_ledger (user_id, tx_type, amount, balance_after, business_key, description, created_at)
                values ($1, $2, $3, 1, $4, '', date_trunc('hour', now()) - $5 * interval '1 second')";
    for (tx_type, amount, key, seconds) in [
        ("purchase", 20, "invoice:1", 1.0),
        ("purchase", 10, "invoice:2", 3600.0),
        ("purchase", 1000, "invoice:3", 3601.0),
        ("purchase", 1000, "invoice:4", 0.0),
        ("bonus", 4, "welcome:1", 5.0),
        ("spend", -3, "job_reserve:1", 5.0),
        ("refund", 1, "refund:1", 5.0),
        ("adjustment", -7, "clawback:invoice:1:1", 5.0),
        ("adjustment", 2, "clawback:invoice:1:2", 5.0),
        ("adjustment", -4, "welcome_replaced:1", 5.0),
    ] {
        db.execute(line, &[&user, &tx_type, &amount, &key, &seconds]).await.unwrap();
    }
    let set_up = "insert into public.influencers (user_id, name, bio, vibe, state, deadline_at)
                  values (gen_random_uuid(), 'n', 'b', 'v', $1, date_trunc('hour', now()) - $2 * interval '1 second')";
    for (state, seconds) in [("requested", 1.0), ("image_pending", 3600.0), ("requested", 0.0), ("requested", 3601.0)] {
        db.execute(set_up, &[&state, &seconds]).await.unwrap();
    }
    let hour: Value = db.query_one("select public.last_hour()", &[]).await.unwrap().get(0);
    let expected =
        json!({ "bought": 30, "given": 4, "spent": 3, "refunded": 1, "clawed_back": 7, "adjusted": 6, "timed_out": 2 });
    assert_eq!(hour, expected);
}

/// A database that says this of itself.
async fn that_says(broken: Value) -> MockServer {
    let server = MockServer::start().await;
    let hour =
        json!({ "bought": 20, "given": 4, "spent": 3, "refunded": 1, "clawed_back": 0, "adjusted": 0, "timed_out": 2 });
    for (rpc, answer) in [("broken_invariants", broken), ("last_hour", hour)] {
        let answer = ResponseTemplate::new(200).set_body_json(answer);
        Mock::given(path(format!("/rest/v1/rpc/{rpc}"))).respond_with(answer).mount(&server).await;
    }
    server
}

fn two() -> Value {
    json!([
        { "invariant": "I5", "what": "a balance is not what its ledger adds up to", "count": 7, "sample": ["a", "b", "c", "d", "e"] },
        { "invariant": "I8", "what": "a table has no row-level security", "count": 1, "sample": ["stray"] },
    ])
}

#[tokio::test]
async fn what_is_broken_is_counted_every_hour_and_so_is_nothing() {
    for (broken, expected) in [
        (json!([]), vec![("BrokenInvariants", "", 0)]),
        (two(), vec![("BrokenInvariants", "", 8), ("BrokenInvariants", "I5", 7), ("BrokenInvariants", "I8", 1)]),
    ] {
        let database = that_says(broken).await;
        let deps = check_invariants(|config| config.supabase_url = database.uri().parse().unwrap());
        let (done, counted) = crate::metrics::counted(check_invariants::handle(deps, Default::default())).await;
        done.unwrap();
        for (name, of, count) in expected {
            assert_eq!(counted.get(&(name.to_owned(), of.to_owned())), Some(&count), "{counted:?}");
        }
        let credits = |kind: &str| counted.get(&("CreditsMoved".to_owned(), kind.to_owned())).copied();
        assert_eq!((credits("bought"), credits("given"), credits("clawed_back")), (Some(20), Some(4), Some(0)));
        assert_eq!(counted.get(&("InfluencersTimedOut".to_owned(), String::new())), Some(&2));
    }
}

#[tokio::test]
async fn the_operators_tool_says_what_is_broken_and_how_to_know_it() {
    let database = that_says(json!([])).await;
    let said = operate(&["invariants"], &[("SUPABASE_URL", &database.uri())]).await;
    assert!(said.code == 0 && said.line(&["No invariant is broken"]), "{said:?}");

    let database = that_says(two()).await;
    let said = operate(&["invariants"], &[("SUPABASE_URL", &database.uri())]).await;
    assert!(
        said.code == 1 && said.line(&["I5: a balance is not what its ledger adds up to: 7 (a, b, c, d, e, …)"]),
        "{said:?}"
    );
    assert!(said.line(&["I8: a table has no row-level security: 1 (stray)"]), "{said:?}");
}
