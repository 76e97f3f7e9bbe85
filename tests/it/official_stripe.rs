//! Stripe's own Python library (<https://pypi.org/project/stripe/>) signs what stripe-webhook must take and refuse, and writes
//! events as they are today and as they were before 2025-03-31 (`tests/stripe/signed_events.py`).

use std::{collections::BTreeMap, process::Stdio};

use lambda_http::request::from_str;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use uuid::Uuid;

use crate::{
    credits::balance,
    localstripe::python,
    stack::{Answer, User, database, stripe_webhook},
};

/// A call of the function URL, as Lambda hands it over.
fn envelope(case: &Value) -> String {
    let mut headers = BTreeMap::from([("content-type", "application/json; charset=utf-8"), ("host", "a.example")]);
    headers.extend(case["header"].as_str().map(|header| ("stripe-signature", header)));
    let http =
        json!({ "method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "" });
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "", "headers": headers, "body": case["body"],
        "isBase64Encoded": case["as_base64"],
        "requestContext": { "accountId": "1", "apiId": "a", "domainName": "a.example", "domainPrefix": "a", "http": http,
            "requestId": "r", "routeKey": "$default", "stage": "$default", "time": "21/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_262_400_000_u64 },
    })
    .to_string()
}

/// Her ledger, without what is different for everybody.
async fn lines(user: &User) -> Vec<(String, i32, i32, String)> {
    let select =
        "select tx_type, amount, balance_after, description from public.credits_ledger where user_id = $1 order by id";
    let rows = database().await.query(select, &[&user.id]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

#[tokio::test]
async fn the_webhook_takes_and_refuses_what_stripes_own_library_does() {
    let (secret, previous) = ("whsec_of_today", "whsec_of_yesterday");
    let webhook = stripe_webhook(|config| {
        config.stripe_webhook_secret = secret.into();
        config.stripe_webhook_secret_previous = Some(previous.into());
    });
    let users = [User::new().await, User::new().await, User::new().await];
    let known =
        users.each_ref().map(|user| json!({ "id": user.id, "customer": format!("cus_{}", Uuid::new_v4().simple()) }));

    let mut program = python("signed_events.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ask = program.stdin.take().unwrap();
    let mut cases = BufReader::new(program.stdout.take().unwrap()).lines();
    let given = json!({ "secret": secret, "previous": previous, "users": known });
    ask.write_all(format!("{given}\n").as_bytes()).await.unwrap();

    let mut seen = 0;
    loop {
        ask.write_all(b"\n").await.unwrap();
        let case = cases.next_line().await.unwrap().expect("the library has the same opinion of every case");
        let case: Value = serde_json::from_str(&case).unwrap();
        let Some(name) = case["name"].as_str() else { break };
        let request = from_str(&envelope(&case)).unwrap();
        let answer = Answer::from(stripe_webhook::handle(webhook.clone(), request).await);
        assert_eq!(
            (json!(answer.status), json!(answer.code)),
            (case["status"].clone(), case["code"].clone()),
            "{name}"
        );
        seen += 1;
    }
    assert!(program.wait().await.unwrap().success());
    assert!(seen > 30, "{seen}");

    let balances = [balance(users[0].id).await, balance(users[1].id).await, balance(users[2].id).await];
    assert_eq!(balances, [20, 20, 14]);
    assert_eq!(lines(&users[0]).await, lines(&users[1]).await, "both shapes of an invoice are the same grant");
}
