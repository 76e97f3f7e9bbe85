//! Row-level security and column grants, cell by cell, through PostgREST: every table, every verb, as nobody, as the owner, as
//! another user (invariant I8).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::identities::clerk_user;
use crate::stack::{User, database, setting};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum As {
    Nobody,
    Owner,
    Another,
}

/// Sends a request to PostgREST with the publishable key.
async fn ask(method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> (StatusCode, Value) {
    let http = http_client::client(std::time::Duration::from_secs(10)).unwrap();
    let url = format!("{}/rest/v1/{path}", setting("SUPABASE_URL"));
    let request = http.request(method, url).header("apikey", setting("SUPABASE_PUBLISHABLE_KEY"));
    let request = request.header("prefer", "return=representation");
    let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
    let request = if let Some(body) = body { request.json(&body) } else { request };
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Who may read a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Readers {
    ItsOwner,
    /// Its owner; and everybody, signed in or not, once it is published. This one is not.
    AllOncePublished,
    AllWhoAreSignedIn,
    TheServer,
}

/// One row of a table, by a column that tells it from the others.
struct Row {
    table: &'static str,
    column: &'static str,
    value: String,
    readers: Readers,
    /// What its owner may do besides: what exactly, tests of their own say.
    owner_may: &'static [&'static str],
}

impl Row {
    async fn whole(&self) -> Value {
        let select = format!("select to_jsonb(t) from public.{} t where {}::text = $1", self.table, self.column);
        database().await.query_one(&select, &[&self.value]).await.unwrap().get(0)
    }
}

/// A user with one row in every table.
async fn user_with_rows() -> (User, Vec<Row>) {
    with_rows(User::new().await).await
}

async fn with_rows(user: User) -> (User, Vec<Row>) {
    let db = database().await;
    let id = user.id;
    db.batch_execute(&format!(
        "insert into public.influencers (id, user_id, name, bio, vibe, deadline_at, base_prompt, seed)
            values ('{id}', '{id}', 'n', 'b', 'v', now(), 'secret prompt', 7);
         insert into public.images (id, user_id, influencer_id, image_url, prompt) values ('{id}', '{id}', '{id}', 'u', 'p');
         insert into public.image_likes (image_id, user_id) values ('{id}', '{id}');
         insert into public.image_reports (image_id, user_id, reason) values ('{id}', '{id}', 'other');
         insert into public.chats (id, user_id, influencer_id) values ('{id}', '{id}', '{id}');
         insert into public.messages (id, chat_id, role, content) values ('{id}', '{id}', 'user', 'hi');
         insert into public.assets (id, user_id, object_key, content_type, bytes, width, height, verified_at)
            values ('{id}', '{id}', 'uploads/{id}/{id}.png', 'image/png', 1, 1, 1, now());
         insert into public.generation_jobs (id, user_id, prompt, model_preset, pose_preset, scene_preset, generation_type)
            values ('{id}', '{id}', 'p', 'fashion_model_v1', 'standing', 'studio', 'standard');
         insert into public.orphaned_objects (object_key) values ('uploads/{id}/gone.png');
         insert into public.user_roles (user_id, role) values ('{id}', 'admin');
         insert into public.stripe_customers (user_id, customer_id) values ('{id}', 'cus_{id}');
         insert into public.stripe_events (id, type, created, payload) values ('evt_{id}', 'invoice.paid', now(), '{{}}');
         insert into public.subscriptions (id, user_id, customer_id, plan_id, status, current_period_start, current_period_end,
            created, ticket) values ('sub_{id}', '{id}', 'cus_{id}', 'pro', 'active', now(), now() + interval '1 month', now(), 1);
         insert into public.credit_purchases (key, user_id, credits, amount_paid, currency)
            values ('invoice:{id}', '{id}', 20, 1900, 'usd');
         insert into public.payment_reversals (id, purchase_key, amount, ticket) values ('ch_{id}', 'invoice:{id}', 0, 1);
         insert into public.identities (issuer, subject, user_id) values ('https://clerk.elsewhere.example', '{id}', '{id}');
         insert into public.left_identities (hash) values (uuid_send('{id}'));
         insert into public.account_deletions (user_id, finished_at) values ('{id}', now());"
    ))
    .await
    .unwrap();
    let line = "select id::text from public.credits_ledger where user_id = $1";
    let line: String = db.query_one(&format!("{line} order by id limit 1"), &[&id]).await.unwrap().get(0);
    let event = "select id::text from public.job_events where job_id = $1";
    let event: String = db.query_one(event, &[&id]).await.unwrap().get(0);
    let row =
        |table, column, value: &str, readers| Row { table, column, value: value.to_owned(), readers, owner_may: &[] };
    let own = |table, column, value: &str| row(table, column, value, Readers::ItsOwner);
    let id = id.to_string();
    let rows = vec![
        own("users", "id", &id),
        own("influencers", "id", &id),
        row("images", "id", &id, Readers::AllOncePublished),
        own("image_likes", "image_id", &id),
        own("image_reports", "image_id", &id),
        own("chats", "id", &id),
        own("messages", "id", &id),
        own("credit_balances", "user_id", &id),
        own("credits_ledger", "id", &line),
        own("stripe_customers", "user_id", &id),
        own("subscriptions", "id", &format!("sub_{id}")),
        own("user_roles", "user_id", &id),
        Row { owner_may: &["insert", "update", "delete"], ..own("assets", "id", &id) },
        Row { owner_may: &["insert"], ..own("generation_jobs", "id", &id) },
        own("job_events", "id", &event),
        row("model_presets", "id", "fashion_model_v1", Readers::AllWhoAreSignedIn),
        row("pose_presets", "id", "standing", Readers::AllWhoAreSignedIn),
        row("scene_presets", "id", "studio", Readers::AllWhoAreSignedIn),
        row("generation_types", "id", "standard", Readers::AllWhoAreSignedIn),
        row("orphaned_objects", "object_key", &format!("uploads/{id}/gone.png"), Readers::TheServer),
        row("plans", "id", "pro", Readers::AllWhoAreSignedIn),
        row("credit_packs", "id", "small", Readers::AllWhoAreSignedIn),
        row("stripe_events", "id", &format!("evt_{id}"), Readers::TheServer),
        row("credit_purchases", "key", &format!("invoice:{id}"), Readers::TheServer),
        row("payment_reversals", "id", &format!("ch_{id}"), Readers::TheServer),
        row("account_deletions", "user_id", &id, Readers::TheServer),
        row("identities", "subject", &id, Readers::TheServer),
        row("left_identities", "hash", &format!("\\x{}", id.replace('-', "")), Readers::TheServer),
    ];
    (user, rows)
}

#[tokio::test]
async fn the_owner_reads_her_rows_and_nobody_writes_anything() {
    try_every_cell(User::new().await, User::new().await).await;
}

#[tokio::test]
async fn it_is_the_same_for_who_signed_in_by_clerk() {
    try_every_cell(clerk_user().await, clerk_user().await).await;
}

#[tokio::test]
async fn who_signed_in_by_clerk_and_who_by_supabase_see_nothing_of_each_other() {
    try_every_cell(User::new().await, clerk_user().await).await;
    try_every_cell(clerk_user().await, User::new().await).await;
}

async fn try_every_cell(owner: User, other: User) {
    let (owner, rows) = with_rows(owner).await;
    let (other, _) = with_rows(other).await;
    for row in rows {
        let (table, column, value) = (row.table, row.column, &row.value);
        let before = row.whole().await;
        for who in [As::Nobody, As::Owner, As::Another] {
            let token = match who {
                As::Nobody => None,
                As::Owner => Some(owner.token.as_str()),
                As::Another => Some(other.token.as_str()),
            };
            let case = format!("{table} as {who:?}");
            let one = format!("{table}?{column}=eq.{value}");

            let (status, body) = ask(Method::GET, &format!("{one}&select={column}"), token, None).await;
            let seen = body.as_array().map(Vec::len);
            match (row.readers, who) {
                (Readers::AllOncePublished, As::Nobody | As::Another) => {
                    assert_eq!(seen, Some(0), "select {case}: {body}")
                }
                (_, As::Nobody) => assert_eq!(status, StatusCode::UNAUTHORIZED, "select {case}: {body}"),
                (Readers::TheServer, _) => assert_eq!(status, StatusCode::FORBIDDEN, "select {case}: {body}"),
                (Readers::ItsOwner, As::Another) => assert_eq!(seen, Some(0), "select {case}: {body}"),
                _ => assert_eq!(seen, Some(1), "select {case}: {body}"),
            }
            // An identity is never given.
            let change = match table {
                "credits_ledger" => json!({ "amount": 1 }),
                "job_events" => json!({ "to_status": "failed" }),
                _ => json!({ column: before[column] }),
            };
            for (verb, method, path, body) in [
                ("insert", Method::POST, table, Some(change.clone())),
                ("update", Method::PATCH, one.as_str(), Some(change.clone())),
                ("delete", Method::DELETE, one.as_str(), None),
            ] {
                if row.owner_may.contains(&verb) && who != As::Nobody {
                    continue;
                }
                let (status, body) = ask(method, path, token, body).await;
                assert!(status == 401 || status == 403, "{verb} {case}: {status} {body}");
            }
            assert_eq!(row.whole().await, before, "{case}");
        }
    }
}

#[tokio::test]
async fn a_client_announces_renames_and_deletes_uploads_of_its_own_and_no_more() {
    let (user, other) = (User::new().await, User::new().await);
    let insert = |id: Uuid| json!({ "user_id": id, "content_type": "image/png", "filename": "dress.png" });
    let (status, body) = ask(Method::POST, "assets", Some(&user.token), Some(insert(user.id))).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let asset = body[0].clone();
    assert_eq!(asset["object_key"], format!("uploads/{}/{}.png", user.id, asset["id"].as_str().unwrap()));
    assert_eq!((&asset["kind"], &asset["verified_at"]), (&json!("upload"), &Value::Null), "{asset}");
    let (status, _) = ask(Method::POST, "assets", Some(&user.token), Some(insert(other.id))).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "for somebody else");
    for (key, value) in [
        ("object_key", json!(format!("uploads/{}/x.png", other.id))),
        ("verified_at", json!("2026-01-01T00:00:00Z")),
        ("kind", json!("output")),
        ("width", json!(1)),
    ] {
        let mut given = insert(user.id);
        given[key] = value.clone();
        let (status, _) = ask(Method::POST, "assets", Some(&user.token), Some(given)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "insert {key}");
        let one = format!("assets?id=eq.{}", asset["id"].as_str().unwrap());
        let (status, _) = ask(Method::PATCH, &one, Some(&user.token), Some(json!({ key: value }))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "update {key}");
    }

    let one = format!("assets?id=eq.{}", asset["id"].as_str().unwrap());
    let rename = Some(json!({ "filename": "gown.png" }));
    assert_eq!(ask(Method::PATCH, &one, Some(&other.token), rename.clone()).await.1, json!([]), "another's");
    assert_eq!(ask(Method::DELETE, &one, Some(&other.token), None).await.1, json!([]), "another's");
    assert_eq!(ask(Method::PATCH, &one, Some(&user.token), rename).await.1[0]["filename"], "gown.png");
    assert_eq!(ask(Method::DELETE, &one, Some(&user.token), None).await.1[0]["id"], asset["id"]);
    let orphans = "select count(*) from public.orphaned_objects where object_key = $1";
    let orphans = database().await.query_one(orphans, &[&asset["object_key"].as_str().unwrap()]).await.unwrap();
    assert_eq!(orphans.get::<_, i64>(0), 1, "its object is to be removed");
}

#[tokio::test]
async fn a_client_that_inserts_a_job_by_itself_pays_for_it_and_decides_nothing_else() {
    let (user, other) = (User::new().await, User::new().await);
    let job = |id: Uuid| {
        json!({ "user_id": id, "prompt": "p", "model_preset": "fashion_model_v1", "pose_preset": "standing", "scene_preset": "studio",
            "generation_type": "high_quality" })
    };
    let columns = "generation_jobs?select=id,status,cost_credits";
    let (status, body) = ask(Method::POST, columns, Some(&user.token), Some(job(user.id))).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!((&body[0]["status"], &body[0]["cost_credits"]), (&json!("pending"), &json!(2)));
    assert_eq!(crate::credits::balance(user.id).await, 2);
    let (status, _) = ask(Method::POST, columns, Some(&user.token), Some(job(other.id))).await;
    assert!(!status.is_success(), "for somebody else");
    for (key, value) in [("status", json!("completed")), ("cost_credits", json!(0)), ("provider", json!("fal"))] {
        let mut given = job(user.id);
        given[key] = value;
        let (status, _) = ask(Method::POST, columns, Some(&user.token), Some(given)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{key}");
    }
    assert!(ask(Method::POST, columns, Some(&user.token), Some(job(user.id))).await.0.is_success());
    let (status, _) = ask(Method::POST, columns, Some(&user.token), Some(job(user.id))).await;
    assert!(!status.is_success(), "no credits, no job");
    assert_eq!((crate::credits::balance(user.id).await, crate::credits::balance(other.id).await), (0, 4));
}

/// Holes 1, 2 and 3: others let a user write her own credits, plan or role.
#[tokio::test]
async fn nobody_gives_herself_credits_a_plan_or_a_role() {
    let user = User::new().await;
    let id = user.id;
    let subscription = json!({ "id": "sub_mine", "user_id": id, "customer_id": "cus_mine", "plan_id": "pro", "status": "active",
        "current_period_start": "2026-01-01T00:00:00Z", "current_period_end": "2096-01-01T00:00:00Z",
        "created": "2026-01-01T00:00:00Z", "ticket": 1 });
    let line = json!({ "user_id": id, "tx_type": "purchase", "amount": 1000, "balance_after": 1004, "business_key": format!("mine:{id}"),
        "description": "mine" });
    for (method, path, body) in [
        (Method::PATCH, format!("users?id=eq.{id}"), json!({ "plan": "pro" })),
        (Method::POST, "users?on_conflict=id".to_owned(), json!({ "id": id, "plan": "pro" })),
        (Method::PATCH, format!("credit_balances?user_id=eq.{id}"), json!({ "balance": 1000 })),
        (Method::POST, "credit_balances?on_conflict=user_id".to_owned(), json!({ "user_id": id, "balance": 1000 })),
        (Method::POST, "credits_ledger".to_owned(), line),
        (Method::POST, "subscriptions".to_owned(), subscription),
        (Method::POST, "user_roles".to_owned(), json!({ "user_id": id, "role": "admin" })),
        (Method::POST, "stripe_customers".to_owned(), json!({ "user_id": id, "customer_id": "cus_of_another" })),
        (Method::PATCH, "plans?id=eq.free".to_owned(), json!({ "credits": 1000 })),
        (Method::PATCH, "credit_packs?id=eq.small".to_owned(), json!({ "credits": 1000 })),
        (
            Method::POST,
            "rpc/grant_credits".to_owned(),
            json!({ "p_user_id": id, "p_amount": 1000, "p_business_key": "mine", "p_description": "mine" }),
        ),
        (Method::POST, "rpc/apply_stripe_change".to_owned(), json!({ "p_change": "{}" })),
    ] {
        let (status, answer) = ask(method, &path, Some(&user.token), Some(body)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
    }
    let (_, body) = ask(Method::POST, "rpc/dashboard", Some(&user.token), Some(json!({ "p_user_id": id }))).await;
    assert_eq!(
        (&body["plan"], &body["credits"], &body["subscription"]),
        (&json!("free"), &json!(4), &Value::Null),
        "{body}"
    );
    let another = User::new().await;
    let (_, body) = ask(Method::POST, "rpc/dashboard", Some(&another.token), Some(json!({ "p_user_id": id }))).await;
    assert_eq!(body, Value::Null, "nor does another see her");
}

#[tokio::test]
async fn the_prompt_the_seed_and_the_bookkeeping_stay_with_the_server() {
    let (owner, _) = user_with_rows().await;
    for column in ["base_prompt", "seed", "attempt", "callback_digest", "*"] {
        let (status, body) = ask(Method::GET, &format!("influencers?select={column}"), Some(&owner.token), None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{column}: {body}");
    }
    // Nor by a filter or an order, which would tell bit by bit.
    for query in ["select=id&seed=gt.5", "select=id&order=seed", "select=id&base_prompt=like.secret*"] {
        let (status, body) = ask(Method::GET, &format!("influencers?{query}"), Some(&owner.token), None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{query}: {body}");
    }
    let (status, _) = ask(Method::GET, "influencers_replaced?select=id", Some(&owner.token), None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_table_of_the_schema_has_row_security_and_is_in_this_test() {
    let select = "select relname::text, relrowsecurity from pg_class
                  where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by 1";
    let tables = database().await.query(select, &[]).await.unwrap();
    let names: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
    let (_, rows) = user_with_rows().await;
    let mut tested: Vec<&str> = rows.iter().map(|row| row.table).chain(["influencers_replaced"]).collect();
    tested.sort_unstable();
    assert_eq!(names, tested);
    for table in tables {
        assert!(table.get::<_, bool>(1), "{} has no row-level security", table.get::<_, String>(0));
    }
}

#[tokio::test]
async fn only_the_server_may_call_the_functions_of_the_schema() {
    let user = User::new().await;
    let select = "select p.proname::text from pg_proc p
                  where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
                  and p.prorettype <> 'trigger'::regtype order by 1";
    let functions = database().await.query(select, &[]).await.unwrap();
    assert!(functions.len() >= 5);
    let may = "select has_function_privilege($1, p.oid, 'execute') from pg_proc p
               where p.pronamespace = 'public'::regnamespace and p.proname = $2";
    for function in functions {
        let name: String = function.get(0);
        // What reads as the caller finds no more than she may, and who enters is who calls.
        let only_hers = ["dashboard", "enter", "generation_jobs_of", "generation_options"].contains(&name.as_str());
        let anybodys = ["caller_id", "grid"].contains(&name.as_str());
        let hers = only_hers || anybodys || ["is_live", "plan_of", "subscription_of"].contains(&name.as_str());
        for (role, expected) in [("anon", anybodys), ("authenticated", hers), ("service_role", !only_hers)] {
            let allowed: bool = database().await.query_one(may, &[&role, &name]).await.unwrap().get(0);
            assert_eq!(allowed, expected, "{name} by {role}");
        }
    }
    let arguments = json!({ "p_influencer_id": Uuid::new_v4(), "p_attempt": 1, "p_image_url": "x" });
    for token in [None, Some(user.token.as_str())] {
        let (status, body) = ask(Method::POST, "rpc/lock_influencer", token, Some(arguments.clone())).await;
        assert!(status == 401 || status == 403, "{status} {body}");
    }
}
