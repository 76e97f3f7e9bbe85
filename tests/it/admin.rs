//! The admin's views: what an admin and the server see in them, and that nobody else sees anything (invariant I8).

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    jobs_api::{Desk, fail},
    stack::{User, database, setting},
};

const VIEWS: [&str; 4] =
    ["admin_credit_purchases_today", "admin_failed_jobs", "admin_jobs_by_status", "admin_reported_images"];

/// An admin, by a row that only the SQL editor makes.
async fn admin() -> User {
    let user = User::new().await;
    let insert = "insert into public.user_roles (user_id, role) values ($1, 'admin')";
    database().await.execute(insert, &[&user.id]).await.unwrap();
    user
}

/// Reads through PostgREST as somebody; nobody is `None`.
async fn read(path: &str, token: Option<&str>) -> (StatusCode, Value) {
    asked(path, setting("SUPABASE_PUBLISHABLE_KEY"), token).await
}

/// The same as the server.
async fn read_as_server(path: &str) -> Value {
    let (status, rows) = asked(path, setting("SUPABASE_SECRET_KEY"), None).await;
    assert_eq!(status, StatusCode::OK, "{rows}");
    rows
}

async fn asked(path: &str, key: String, token: Option<&str>) -> (StatusCode, Value) {
    let http = http_client::client(Duration::from_secs(10)).unwrap();
    let request = http.get(format!("{}/rest/v1/{path}", setting("SUPABASE_URL"))).header("apikey", key);
    let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap_or_default())
}

/// A job of somebody's that failed.
async fn failed_job() -> (User, Uuid) {
    let user = User::new().await;
    let job = Desk::new().await.job(&user).await;
    fail(job).await;
    (user, job)
}

#[tokio::test]
async fn an_admin_and_the_server_see_failed_jobs_states_and_purchases_of_everybody() {
    let (user, job) = failed_job().await;
    let grant = "select public.grant_credits($1, 7, $2, 'A pack')";
    database().await.execute(grant, &[&user.id, &format!("present:{}", user.id)]).await.unwrap();
    let buy = "insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
               values ($1, 'purchase', 11, $2, 'A pack')";
    database().await.execute(buy, &[&user.id, &format!("invoice:in_{}", user.id)]).await.unwrap();

    let admin = admin().await;
    let one = format!("admin_failed_jobs?id=eq.{job}&select=user_id,provider,failure_code,failure_message,prompt");
    let (status, seen) = read(&one, Some(&admin.token)).await;
    assert_eq!(status, StatusCode::OK, "{seen}");
    assert_eq!(seen.as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!((&seen[0]["user_id"], &seen[0]["provider"]), (&json!(user.id), &json!("replicate")));
    assert!(seen[0]["failure_code"].is_string() && seen[0]["prompt"].is_string(), "{seen}");
    assert_eq!(seen, read_as_server(&one).await);

    let number = |rows: &Value, name: &str| rows[0][name].as_i64().unwrap_or_else(|| panic!("{name} in {rows}"));
    let states = "admin_jobs_by_status?status=eq.failed";
    assert!(number(&read(states, Some(&admin.token)).await.1, "jobs") >= 1);
    assert!(number(&read_as_server(states).await, "jobs") >= 1);
    for rows in [read(VIEWS[0], Some(&admin.token)).await.1, read_as_server(VIEWS[0]).await] {
        assert!(number(&rows, "credits") >= 11 && number(&rows, "purchases") >= 1, "{rows}");
    }
}

#[tokio::test]
async fn what_is_older_than_a_week_or_no_purchase_is_left_out() {
    let (user, job) = failed_job().await;
    let db = database().await;
    let sum = "select credits from public.admin_credit_purchases_today";
    // Only what this test's own lines add is certain: others buy at the same time.
    let since = "select coalesce(sum(amount), 0) from public.credits_ledger
                  where tx_type = 'purchase' and created_at > now() - interval '1 day'";
    let both = format!("select ({sum}) = ({since})");
    assert!(db.query_one(&both, &[]).await.unwrap().get::<_, bool>(0));

    let shift = "update public.generation_jobs set created_at = now() - interval '8 days' where id = $1";
    db.execute(shift, &[&job]).await.unwrap();
    assert_eq!(read_as_server(&format!("admin_failed_jobs?user_id=eq.{}", user.id)).await, json!([]));
}

#[tokio::test]
async fn nobody_else_sees_anything_in_them() {
    let (user, job) = failed_job().await;
    for view in VIEWS {
        let (status, body) = read(view, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{view}: {body}");
        let (status, body) = read(view, Some(&user.token)).await;
        assert_eq!((status, body), (StatusCode::OK, json!([])), "{view}");
    }
    // Not even her own, which she has elsewhere; nor by a condition that fails where a row is looked at.
    for condition in [format!("id=eq.{job}"), "prompt=match.(".to_owned(), "failure_message=like.*".to_owned()] {
        let (_, body) = read(&format!("admin_failed_jobs?{condition}"), Some(&user.token)).await;
        assert!(body == json!([]) || body["code"].is_string(), "{condition}: {body}");
        assert!(!body.to_string().contains("garden"), "{condition}: {body}");
    }
    for token in [None, Some(user.token.as_str()), Some(admin().await.token.as_str())] {
        let (status, body) = read("calling_admin", token).await;
        assert!(status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN, "{status} {body}");
    }
}

#[tokio::test]
async fn an_admin_sees_no_more_than_others_elsewhere_and_no_more_once_she_is_none() {
    let (user, job) = failed_job().await;
    let admin = admin().await;
    for path in
        [format!("generation_jobs?select=id&id=eq.{job}"), format!("credits_ledger?select=id&user_id=eq.{}", user.id)]
    {
        assert_eq!(read(&path, Some(&admin.token)).await, (StatusCode::OK, json!([])), "{path}");
    }
    let one = format!("admin_failed_jobs?select=id&id=eq.{job}");
    assert_eq!(read(&one, Some(&admin.token)).await.1, json!([{ "id": job }]));
    database().await.execute("delete from public.user_roles where user_id = $1", &[&admin.id]).await.unwrap();
    assert_eq!(read(&one, Some(&admin.token)).await.1, json!([]));
}

#[tokio::test]
async fn every_view_of_the_schema_is_for_reading_and_in_this_test() {
    let select = "select c.relname::text,
                         has_table_privilege('anon', c.oid, 'select') or has_table_privilege('anon', c.oid, 'insert, update, delete'),
                         has_table_privilege('authenticated', c.oid, 'insert, update, delete'),
                         has_table_privilege('service_role', c.oid, 'insert, update, delete'),
                         coalesce('security_barrier=true' = any (c.reloptions), false)
                    from pg_class c
                   where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'm') order by 1";
    let views = database().await.query(select, &[]).await.unwrap();
    let names: Vec<String> = views.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, [&VIEWS[..], &["calling_admin"]].concat());
    for view in views {
        let facts: [bool; 4] = [1, 2, 3, 4].map(|column| view.get(column));
        assert_eq!(facts, [false, false, false, true], "{}", view.get::<_, String>(0));
    }
}
