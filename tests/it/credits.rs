//! The ledger and its balances, by the RPCs that move them (invariant I5).

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stack::{User, database, setting};

/// Calls an RPC as the server does: through PostgREST, with the secret key.
pub async fn rpc(name: &str, arguments: Value) -> Value {
    let http = http_client::client(std::time::Duration::from_secs(30)).unwrap();
    let url = format!("{}/rest/v1/rpc/{name}", setting("SUPABASE_URL"));
    let request = http.post(url).header("apikey", setting("SUPABASE_SECRET_KEY")).json(&arguments);
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{name}: {} {:?}", response.status(), response.text().await);
    response.json().await.unwrap()
}

async fn spend(user: Uuid, amount: i32, key: &str) -> Value {
    let arguments =
        json!({ "p_user_id": user, "p_amount": amount, "p_business_key": key, "p_description": "An image" });
    rpc("spend_credits", arguments).await
}

async fn grant(user: Uuid, amount: i32, key: &str) -> Value {
    let arguments =
        json!({ "p_user_id": user, "p_amount": amount, "p_business_key": key, "p_description": "A present" });
    rpc("grant_credits", arguments).await
}

async fn refund(key: &str) -> Value {
    rpc("refund_credits", json!({ "p_business_key": key, "p_description": "It failed" })).await
}

/// The balance, after checking that it is what the lines add up to, and that each line says so.
pub async fn balance(user: Uuid) -> i32 {
    let select = "
        select b.balance,
               b.balance = (select coalesce(sum(amount), 0) from public.credits_ledger where user_id = b.user_id)
               and not exists (
                 select from (select balance_after, sum(amount) over (order by id) as total
                                from public.credits_ledger where user_id = b.user_id) line
                  where balance_after <> total)
          from public.credit_balances b where b.user_id = $1";
    let row = database().await.query_one(select, &[&user]).await.unwrap();
    assert!(row.get::<_, bool>(1), "the balance of {user} is not the sum of her lines");
    row.get(0)
}

/// A user with a balance of 20.
async fn user_with_twenty() -> User {
    let user = User::new().await;
    assert_eq!(grant(user.id, 16, &format!("present:{}", user.id)).await, json!({ "outcome": "done", "balance": 20 }));
    user
}

#[tokio::test]
async fn a_new_user_has_four_credits_and_a_line_that_says_so() {
    let user = User::new().await;
    assert_eq!(balance(user.id).await, 4);
}

#[tokio::test]
async fn of_fifty_spends_at_once_of_a_balance_of_twenty_twenty_succeed() {
    let user = user_with_twenty().await;
    let spends = (0..50).map(|n| async move { spend(user.id, 1, &format!("spend:{}:{n}", user.id)).await });
    let outcomes = join_all(spends).await;
    assert_eq!(outcomes.iter().filter(|answer| answer["outcome"] == "done").count(), 20);
    assert_eq!(outcomes.iter().filter(|answer| answer["outcome"] == "insufficient").count(), 30);
    assert_eq!(balance(user.id).await, 0);
}

#[tokio::test]
async fn fifty_spends_at_once_under_one_key_are_one() {
    let user = user_with_twenty().await;
    let key = format!("spend:{}", user.id);
    let outcomes = join_all((0..50).map(|_| spend(user.id, 3, &key))).await;
    assert_eq!(outcomes.iter().filter(|answer| answer["outcome"] == "done").count(), 1);
    assert_eq!(outcomes.iter().filter(|answer| answer["outcome"] == "duplicate").count(), 49);
    assert_eq!(balance(user.id).await, 17);
}

#[tokio::test]
async fn a_spend_that_cannot_be_paid_moves_nothing_and_says_what_there_is() {
    let user = User::new().await;
    let key = format!("spend:{}", user.id);
    assert_eq!(spend(user.id, 5, &key).await, json!({ "outcome": "insufficient", "balance": 4 }));
    assert_eq!(balance(user.id).await, 4);
    assert_eq!(spend(user.id, 4, &key).await["outcome"], "done", "the key is still free");
    assert_eq!(spend(Uuid::new_v4(), 1, "nobody's").await, json!({ "outcome": "no_user" }));
}

#[tokio::test]
async fn a_spend_is_refunded_whole_and_once() {
    let user = user_with_twenty().await;
    let key = format!("spend:{}", user.id);
    assert_eq!(refund(&key).await, json!({ "outcome": "not_spent" }));
    spend(user.id, 7, &key).await;
    let outcomes = join_all((0..20).map(|_| refund(&key))).await;
    assert_eq!(outcomes.iter().filter(|answer| answer["outcome"] == "done").count(), 1);
    assert_eq!(balance(user.id).await, 20);
    assert_eq!(spend(user.id, 7, &key).await["outcome"], "duplicate", "what was refunded is not spent again");
}

#[tokio::test]
async fn a_key_that_was_used_for_something_else_is_a_conflict() {
    let (user, other) = (user_with_twenty().await, user_with_twenty().await);
    let key = format!("key:{}", user.id);
    assert_eq!(spend(user.id, 3, &key).await["outcome"], "done");
    assert_eq!(spend(user.id, 4, &key).await["outcome"], "conflict");
    assert_eq!(spend(other.id, 3, &key).await["outcome"], "conflict");
    assert_eq!(grant(user.id, 3, &key).await["outcome"], "conflict");
    assert_eq!((balance(user.id).await, balance(other.id).await), (17, 20));
}

#[tokio::test]
async fn the_ledger_only_grows_and_balances_follow_it_whoever_writes() {
    let user = user_with_twenty().await;
    let id = user.id;
    let line = |amount: i32, kind: &str, key: &str| {
        format!(
            "insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
             values ('{id}', '{kind}', {amount}, '{key}:{id}', 'd')"
        )
    };
    let two = format!("{}, ('{id}', 'bonus', 1, 'b:{id}', 'd')", line(1, "bonus", "a"));
    for role in ["service_role", "postgres"] {
        for refused in [
            format!("update public.credits_ledger set amount = 1000 where user_id = '{id}'"),
            format!("delete from public.credits_ledger where user_id = '{id}'"),
            "truncate public.credits_ledger".to_owned(),
            line(-21, "spend", "too-much"),
            line(-1, "purchase", "wrong-sign"),
            line(1, "spend", "wrong-sign"),
            line(0, "adjustment", "nothing"),
            line(5, "gift", "no-such-type"),
            two.clone(),
        ] {
            assert!(as_role(role, &refused).await.is_err(), "{role}: {refused}");
        }
    }
    let balances = format!("update public.credit_balances set balance = 1000 where user_id = '{id}'");
    assert!(as_role("service_role", &balances).await.is_err());
    assert_eq!(balance(id).await, 20);

    as_role("service_role", &line(5, "bonus", "by-hand")).await.unwrap();
    // A line that is not written does not count.
    as_role("service_role", &format!("{} on conflict do nothing", line(5, "bonus", "by-hand"))).await.unwrap();
    as_role("service_role", &line(-30, "adjustment", "correction")).await.unwrap();
    assert_eq!(balance(id).await, -5, "only an adjustment goes below zero");
    assert!(as_role("service_role", &line(-1, "spend", "in-debt")).await.is_err());
    as_role("service_role", &line(3, "purchase", "pays-debt")).await.unwrap();
    assert_eq!(balance(id).await, -2);
}

/// Runs a statement as a role of the database.
async fn as_role(role: &str, statement: &str) -> Result<(), tokio_postgres::Error> {
    let db = database().await;
    if role != "postgres" {
        db.batch_execute(&format!("set role {role}")).await.unwrap();
    }
    db.batch_execute(statement).await
}

#[tokio::test]
async fn the_ledger_outlives_the_account_and_nobody_is_welcomed_twice() {
    let user = User::new().await;
    spend(user.id, 3, &format!("spend:{}", user.id)).await;
    let db = database().await;
    db.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    let lines: i64 = db
        .query_one("select count(*) from public.credits_ledger where user_id = $1", &[&user.id])
        .await
        .unwrap()
        .get(0);
    assert_eq!(lines, 2);
    assert_eq!(grant(user.id, 1, "too late").await, json!({ "outcome": "no_user" }));

    db.execute("insert into auth.users (id, email) values ($1, $2)", &[&user.id, &user.email]).await.unwrap();
    assert_eq!(balance(user.id).await, 1);
}
