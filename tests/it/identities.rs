//! People who sign in elsewhere than at Supabase: one user for each, made once, and nobody else's rows. The sandbox stands in for
//! Clerk, and the host of @supabase/lite takes its tokens as hosted Supabase does.

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    credits::balance,
    stack::{Answer, User, claims, database, get_dashboard, hs256, request, setting, user_token},
};

/// A session token as Clerk signs it, of somebody new, with `changed` in place of the usual claims; null leaves one out.
pub async fn clerk_token(changed: &Value) -> String {
    let http = http_client::client(std::time::Duration::from_secs(10)).unwrap();
    let url = format!("{}/sandbox/clerk/token", setting("CLERK_ISSUER"));
    let answer: Value = http.post(url).json(changed).send().await.unwrap().json().await.unwrap();
    answer["jwt"].as_str().unwrap().to_owned()
}

/// Somebody whom Clerk knows, entered, with a token that lives longer than Clerk's do.
pub async fn clerk_user() -> User {
    let (sub, email) = (subject(), format!("{}@example.com", Uuid::new_v4()));
    let token = token_of(&sub, &json!({ "email": email })).await;
    let id = enter(&token).await["user_id"].as_str().unwrap().parse().unwrap();
    User { id, email, token }
}

fn subject() -> String {
    format!("user_{}", Uuid::new_v4().simple())
}

async fn token_of(sub: &str, changed: &Value) -> String {
    let mut claims = changed.clone();
    claims["sub"] = json!(sub);
    claims["exp"] = json!(jiff::Timestamp::now().as_second() + 3600);
    clerk_token(&claims).await
}

/// Calls PostgREST with the publishable key.
async fn call(path: &str, token: &str, body: Option<Value>) -> (StatusCode, Value) {
    let http = http_client::client(std::time::Duration::from_secs(10)).unwrap();
    let url = format!("{}/rest/v1/{path}", setting("SUPABASE_URL"));
    let request = if let Some(body) = body { http.post(url).json(&body) } else { http.get(url) };
    let response =
        request.header("apikey", setting("SUPABASE_PUBLISHABLE_KEY")).bearer_auth(token).send().await.unwrap();
    (response.status(), response.json().await.unwrap_or(Value::Null))
}

async fn enter(token: &str) -> Value {
    let (status, body) = call("rpc/enter", token, Some(json!({}))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn seen(token: &str) -> Answer {
    get_dashboard::handle(get_dashboard(|_| {}), request("GET", "/dashboard", Some(token), ())).await.into()
}

async fn count(sql: &str, parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> i64 {
    database().await.query_one(sql, parameters).await.unwrap().get(0)
}

#[tokio::test]
async fn fifty_first_requests_at_once_make_one_user_with_one_welcome() {
    let sub = subject();
    let token = token_of(&sub, &json!({ "email": "clara@example.com" })).await;
    let deps = get_dashboard(|_| {});
    let asking = (0..50).map(|_| get_dashboard::handle(deps.clone(), request("GET", "/dashboard", Some(&token), ())));
    let answers: Vec<Answer> = join_all(asking).await.into_iter().map(Answer::from).collect();
    let user = &answers[0].body["user"];
    assert_eq!(user["email"], "clara@example.com");
    for answer in &answers {
        assert_eq!(
            (answer.status, &answer.body["user"], &answer.body["credits"]),
            (200, user, &json!(4)),
            "{answer:?}"
        );
    }
    let id: Uuid = user["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(count("select count(*) from public.identities where subject = $1", &[&sub]).await, 1);
    assert_eq!(count("select count(*) from public.identities where user_id = $1", &[&id]).await, 1);
    assert_eq!(count("select count(*) from public.credits_ledger where user_id = $1", &[&id]).await, 1);
}

#[tokio::test]
async fn an_id_of_ours_as_anothers_subject_opens_nothing() {
    let victim = User::new().await;
    let token = token_of(&victim.id.to_string(), &json!({})).await;
    for table in ["users?select=id", "credit_balances?select=user_id", "credits_ledger?select=id"] {
        assert_eq!(call(table, &token, None).await, (StatusCode::OK, json!([])), "{table}");
    }
    let theirs = json!({ "p_user_id": victim.id });
    assert_eq!(call("rpc/dashboard", &token, Some(theirs)).await, (StatusCode::OK, Value::Null));
    let hers = seen(&token).await;
    assert_eq!(hers.status, 200);
    assert_ne!(hers.body["user"]["id"], json!(victim.id), "she is somebody of her own");
    let (_, rows) = call("users?select=id", &token, None).await;
    assert_eq!(rows, json!([{ "id": hers.body["user"]["id"] }]), "and sees herself");
}

#[tokio::test]
async fn a_subject_of_supabases_that_is_no_uuid_is_nobody() {
    let mut claims = claims(Uuid::new_v4(), "a@example.com");
    claims["sub"] = json!("user_2abc");
    let token = user_token(&claims);
    let (status, body) = call("users?select=id", &token, None).await;
    assert_eq!((status, body), (StatusCode::OK, json!([])));
    assert_eq!(enter(&token).await, json!({ "outcome": "no_user" }));
    assert_eq!(seen(&token).await.status, 401);
}

#[tokio::test]
async fn who_signed_up_at_supabase_enters_as_who_she_is() {
    let user = User::new().await;
    assert_eq!(enter(&user.token).await, json!({ "outcome": "ok", "user_id": user.id }));
    assert_eq!(count("select count(*) from public.identities where user_id = $1", &[&user.id]).await, 0);
}

#[tokio::test]
async fn the_same_subject_at_another_issuer_is_somebody_else() {
    let her = clerk_user().await;
    let sub: String = database()
        .await
        .query_one("select subject from public.identities where user_id = $1", &[&her.id])
        .await
        .unwrap()
        .get(0);
    let insert = "select set_config('request.jwt.claims', $1, true), public.enter() ->> 'user_id'";
    let elsewhere = json!({ "iss": "https://clerk.elsewhere.example", "sub": sub, "iat": 1 }).to_string();
    let mut db = database().await;
    let transaction = db.transaction().await.unwrap();
    let id: String = transaction.query_one(insert, &[&elsewhere]).await.unwrap().get(1);
    assert_ne!(id, her.id.to_string());
}

#[tokio::test]
async fn users_that_auth_deletes_go_and_so_do_identities_with_their_user() {
    let (user, her) = (User::new().await, clerk_user().await);
    let db = database().await;
    db.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    assert_eq!(count("select count(*) from public.users where id = $1", &[&user.id]).await, 0);
    db.execute("delete from public.users where id = $1", &[&her.id]).await.unwrap();
    assert_eq!(count("select count(*) from public.identities where user_id = $1", &[&her.id]).await, 0);
}

#[tokio::test]
async fn who_left_is_not_made_again_by_her_old_token_and_gets_no_second_welcome_by_a_new_one() {
    let (sub, now) = (subject(), jiff::Timestamp::now().as_second());
    let old = token_of(&sub, &json!({ "iat": now - 60 })).await;
    let first = enter(&old).await;
    let id: Uuid = first["user_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(balance(id).await, 4);

    let db = database().await;
    let tombstone = "insert into public.left_identities (hash, left_at)
                     select public.identity_hash(issuer, subject), now() - interval '30 seconds' from public.identities where user_id = $1";
    db.execute(tombstone, &[&id]).await.unwrap();
    assert_eq!(enter(&old).await, first, "until her rows are gone");
    db.execute("delete from public.users where id = $1", &[&id]).await.unwrap();
    assert_eq!(enter(&old).await, json!({ "outcome": "no_user" }));
    assert_eq!(seen(&old).await.status, 401);
    assert_eq!(count("select count(*) from public.identities where subject = $1", &[&sub]).await, 0);

    let new = token_of(&sub, &json!({ "iat": now })).await;
    let again = seen(&new).await;
    assert_eq!((again.status, &again.body["credits"]), (200, &json!(0)), "{again:?}");
    assert_ne!(again.body["user"]["id"], first["user_id"]);
}

#[tokio::test]
async fn a_pending_session_sees_nothing_at_the_data_api_either() {
    let her = clerk_user().await;
    let sub: String = database()
        .await
        .query_one("select subject from public.identities where user_id = $1", &[&her.id])
        .await
        .unwrap()
        .get(0);
    assert_eq!(call("users?select=id", &her.token, None).await.1, json!([{ "id": her.id }]));
    let pending = token_of(&sub, &json!({ "sts": "pending" })).await;
    assert_eq!(call("users?select=id", &pending, None).await.1, json!([]));
    assert_eq!(enter(&pending).await, json!({ "outcome": "no_user" }));
}

#[tokio::test]
async fn the_data_api_takes_no_token_that_clerk_did_not_sign_for_a_signed_in_person() {
    let now = jiff::Timestamp::now().as_second();
    let good = clerk_token(&json!({})).await;
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let forged = json!({ "iss": setting("CLERK_ISSUER"), "sub": "user_1", "role": "authenticated", "exp": now + 60 });
    for (case, token) in [
        ("expired", clerk_token(&json!({ "exp": now - 60, "nbf": now - 120 })).await),
        ("no expiry", clerk_token(&json!({ "exp": null })).await),
        ("the service role", clerk_token(&json!({ "role": "service_role" })).await),
        ("no role", clerk_token(&json!({ "role": null })).await),
        ("cut", format!("{signed}.{}", &signature[8..])),
        ("by a secret", hs256(&forged, "a secret")),
        ("by the project's own secret", user_token(&forged)),
    ] {
        let (status, body) = call("plans?select=id", &token, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{case}: {body}");
    }
    assert_eq!(call("plans?select=id", &good, None).await.0, StatusCode::OK);
    let http = http_client::client(std::time::Duration::from_secs(10)).unwrap();
    let at_auth = http.get(format!("{}/auth/v1/user", setting("SUPABASE_URL")));
    let at_auth =
        at_auth.header("apikey", setting("SUPABASE_PUBLISHABLE_KEY")).bearer_auth(&good).send().await.unwrap();
    assert!(at_auth.status().is_client_error(), "Supabase Auth knows her not: {}", at_auth.status());
}

#[tokio::test]
async fn nothing_in_the_database_asks_auth_uid_any_more() {
    let asking = "select 'policy ' || policyname from pg_policies where coalesce(qual, '') || coalesce(with_check, '') like '%uid()%'
                  union all select 'view ' || viewname from pg_views where schemaname = 'public' and definition like '%uid()%'
                  union all select 'function ' || proname from pg_proc where pronamespace = 'public'::regnamespace and prosrc like '%auth.uid()%'";
    let asking = database().await.query(asking, &[]).await.unwrap();
    let asking: Vec<String> = asking.iter().map(|row| row.get(0)).collect();
    assert!(asking.is_empty(), "ask public.caller_id(): {asking:?}");
}

#[tokio::test]
async fn what_a_user_of_clerks_does_is_hers() {
    let (her, other) = (clerk_user().await, clerk_user().await);
    let asset = json!({ "user_id": her.id, "content_type": "image/png", "filename": "dress.png" });
    let (status, body) = call("assets?select=id", &other.token, Some(asset.clone())).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "for somebody else: {body}");
    let (status, body) = call("assets?select=id", &her.token, Some(asset)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(call("assets?select=user_id", &her.token, None).await.1, json!([{ "user_id": her.id }]));
    assert_eq!(call("assets?select=user_id", &other.token, None).await.1, json!([]));
}
