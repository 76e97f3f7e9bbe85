//! Row-level security and column grants, cell by cell, through PostgREST: every table, every verb, as nobody, as the owner, as
//! another user (invariant I8).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

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

/// A user with one row in every table; answers the row's id for each table.
async fn user_with_rows() -> (User, Vec<(&'static str, Uuid)>) {
    let user = User::new().await;
    let db = database().await;
    let insert = "insert into public.influencers (user_id, name, bio, vibe, deadline_at, base_prompt, seed)
                  values ($1, 'n', 'b', 'v', now(), 'secret prompt', 7) returning id";
    let influencer: Uuid = db.query_one(insert, &[&user.id]).await.unwrap().get(0);
    let insert =
        "insert into public.images (user_id, influencer_id, image_url, prompt) values ($1, $2, 'u', 'p') returning id";
    let image: Uuid = db.query_one(insert, &[&user.id, &influencer]).await.unwrap().get(0);
    let insert = "insert into public.chats (user_id, influencer_id) values ($1, $2) returning id";
    let chat: Uuid = db.query_one(insert, &[&user.id, &influencer]).await.unwrap().get(0);
    let insert = "insert into public.messages (chat_id, role, content) values ($1, 'user', 'hi') returning id";
    let message: Uuid = db.query_one(insert, &[&chat]).await.unwrap().get(0);
    let rows = vec![
        ("users", user.id),
        ("influencers", influencer),
        ("images", image),
        ("chats", chat),
        ("messages", message),
    ];
    (user, rows)
}

async fn whole_row(table: &str, id: Uuid) -> Value {
    let select = format!("select to_jsonb(t) from public.{table} t where id = $1");
    database().await.query_one(&select, &[&id]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_owner_reads_her_rows_and_nobody_writes_anything() {
    let (owner, rows) = user_with_rows().await;
    let (other, _) = user_with_rows().await;
    for (table, id) in rows {
        let before = whole_row(table, id).await;
        for who in [As::Nobody, As::Owner, As::Another] {
            let token = match who {
                As::Nobody => None,
                As::Owner => Some(owner.token.as_str()),
                As::Another => Some(other.token.as_str()),
            };
            let case = format!("{table} as {who:?}");
            let row = format!("{table}?id=eq.{id}");

            let (status, body) = ask(Method::GET, &format!("{row}&select=id"), token, None).await;
            match who {
                As::Nobody => assert_eq!(status, StatusCode::UNAUTHORIZED, "select {case}: {body}"),
                As::Owner => assert_eq!(body, json!([{ "id": id }]), "select {case}"),
                As::Another => assert_eq!(body, json!([]), "select {case}"),
            }
            let (status, body) = ask(Method::POST, table, token, Some(json!({ "id": Uuid::new_v4() }))).await;
            assert!(status == 401 || status == 403, "insert {case}: {status} {body}");
            let (status, body) = ask(Method::PATCH, &row, token, Some(json!({ "id": Uuid::new_v4() }))).await;
            assert!(status == 401 || status == 403, "update {case}: {status} {body}");
            let (status, body) = ask(Method::DELETE, &row, token, None).await;
            assert!(status == 401 || status == 403, "delete {case}: {status} {body}");
            assert_eq!(whole_row(table, id).await, before, "{case}");
        }
    }
}

#[tokio::test]
async fn nobody_gives_herself_credits_or_a_plan() {
    let user = User::new().await;
    let row = format!("users?id=eq.{}", user.id);
    for change in [json!({ "credits": 1000 }), json!({ "plan": "pro" })] {
        let (status, _) = ask(Method::PATCH, &row, Some(&user.token), Some(change)).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let upsert = json!({ "id": user.id, "credits": 1000 });
    assert_eq!(
        ask(Method::POST, "users?on_conflict=id", Some(&user.token), Some(upsert)).await.0,
        StatusCode::FORBIDDEN
    );
    let (_, body) = ask(Method::GET, &format!("{row}&select=plan,credits"), Some(&user.token), None).await;
    assert_eq!(body, json!([{ "plan": "free", "credits": 4 }]));
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
    assert_eq!(names, ["chats", "images", "influencers", "influencers_replaced", "messages", "users"]);
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
        for (role, expected) in [("anon", false), ("authenticated", false), ("service_role", true)] {
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
