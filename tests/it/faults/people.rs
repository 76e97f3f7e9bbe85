//! People: the grid in which they show pictures, and how they take all that is theirs and leave.

use serde_json::json;
use uuid::Uuid;

use super::{
    AT_ONCE, Bucket, CLOCK, Database, Flow, Outcome, Queue, Stripe, Trial,
    house::{Line, by, caller},
    money::at_checkout,
};
use crate::{
    checkout::{act, at_stripe},
    credits::rpc,
    grid::{self, published},
    stack::{User, database, setting, sweep_generation_jobs},
};

pub const FLOWS: &[Flow] = &[
    ("Look at the grid", &["list-images"], &[Database], |trial| Box::pin(looked_at(trial))),
    ("Take out of the grid", &["publish-image"], &[Database], |trial| Box::pin(taken_out(trial))),
    ("Like", &["like-image"], &[Database], |trial| Box::pin(liked(trial))),
    ("Report", &["report-image"], &[Database], |trial| Box::pin(reported(trial))),
    ("Hide", &["hide-image"], &[Database], |trial| Box::pin(hidden(trial))),
    ("Export all that is hers", &["export-account"], &[Database, Bucket], |trial| Box::pin(exported(trial))),
    ("Leave", &["delete-account"], &[Database, Queue], |trial| Box::pin(left(trial))),
    ("Erase who left", &["erase-account"], &[Database, Stripe, Bucket], |trial| Box::pin(erased(trial))),
    ("Check the invariants", &["check-invariants"], &[Database], |trial| Box::pin(checked(trial))),
];

async fn looked_at(trial: Trial) -> Outcome {
    let user = caller().await;
    let image = published(&user).await;
    let function = trial.function("list-images", &[]).await;
    let (seen, outcome) = trial.ask(&function, &by(&user, "GET", "/images", None, None), &[200]).await;
    let images = seen.body["images"].as_array().unwrap();
    assert!(images.iter().any(|one| one["id"] == json!(image) && one["mine"] == true), "{}", trial.case);
    outcome
}

async fn taken_out(trial: Trial) -> Outcome {
    let user = caller().await;
    let image = published(&user).await;
    let function = trial.function("publish-image", &[]).await;
    let event = by(&user, "DELETE", "/images/{id}/published", Some(image), None);
    let (_, outcome) = trial.ask(&function, &event, &[200]).await;
    assert!(grid::row(image).await["published_at"].is_null(), "{}", trial.case);
    trial.is_whole(&[], &[user.id]).await;
    outcome
}

async fn liked(trial: Trial) -> Outcome {
    let (user, owner) = (caller().await, User::new().await);
    let image = published(&owner).await;
    let function = trial.function("like-image", &[]).await;
    let (_, outcome) = trial.ask(&function, &by(&user, "PUT", "/images/{id}/like", Some(image), None), &[200]).await;
    assert_eq!(grid::row(image).await["likes_count"], 1, "{}", trial.case);
    trial.is_whole(&[], &[user.id, owner.id]).await;
    outcome
}

async fn reported(trial: Trial) -> Outcome {
    let (user, owner) = (caller().await, User::new().await);
    let image = published(&owner).await;
    let function = trial.function("report-image", &[]).await;
    let event = by(&user, "POST", "/images/{id}/reports", Some(image), Some(json!({ "reason": "person" })));
    let (_, outcome) = trial.ask(&function, &event, &[201]).await;
    let reports = "select count(*) from public.image_reports where image_id = $1 and user_id = $2";
    let reports = database().await.query_one(reports, &[&image, &user.id]).await.unwrap();
    assert_eq!(reports.get::<_, i64>(0), 1, "{}", trial.case);
    outcome
}

async fn hidden(trial: Trial) -> Outcome {
    let (admin, owner) = (caller().await, User::new().await);
    let role = "insert into public.user_roles (user_id, role) values ($1, 'admin')";
    database().await.execute(role, &[&admin.id]).await.unwrap();
    let image = published(&owner).await;
    let function = trial.function("hide-image", &[]).await;
    let event = by(&admin, "PUT", "/images/{id}/hidden", Some(image), Some(json!({ "reason": "Shows somebody real" })));
    let (_, outcome) = trial.ask(&function, &event, &[200]).await;
    assert!(grid::row(image).await["hidden_at"].is_string(), "{}", trial.case);
    outcome
}

/// Something of hers in the bucket.
async fn stored(trial: &Trial, user: &User) {
    trial.house.put(&setting("MEDIA_BUCKET"), &format!("outputs/{0}/{0}/original.png", user.id), b"x".to_vec()).await;
}

async fn exported(trial: Trial) -> Outcome {
    let user = caller().await;
    stored(&trial, &user).await;
    let function = trial.function("export-account", &[]).await;
    let (export, outcome) = trial.ask(&function, &by(&user, "GET", "/me/export", None, None), &[200]).await;
    assert_eq!(export.body["files"].as_array().unwrap().len(), 1, "{}", trial.case);
    assert_eq!(export.body["data"]["users"][0]["id"], json!(user.id), "{}", trial.case);
    outcome
}

/// erase-account works off what is there. Answers whether she is gone.
async fn ends(trial: &Trial, line: &Line, user: Uuid) -> bool {
    let erase = trial.house.function("erase-account", &[]).await;
    assert!(line.deliver(&erase, user).await, "{}", trial.case);
    let finished = "select finished_at is not null from public.account_deletions where user_id = $1";
    database().await.query_one(finished, &[&user]).await.unwrap().get(0)
}

async fn left(trial: Trial) -> Outcome {
    let (user, line) = (caller().await, trial.house.line().await);
    stored(&trial, &user).await;
    let function = trial.function("delete-account", &[("ERASURE_QUEUE_URL", &line.url)]).await;
    let (_, mut outcome) = trial.ask(&function, &by(&user, "DELETE", "/me", None, None), &[202]).await;
    if !ends(&trial, &line, user.id).await {
        assert_eq!(outcome.whole, AT_ONCE, "{}", trial.case);
        let _alone = CLOCK.lock().await;
        let due = "update public.account_deletions set look_at = now() - interval '1 second' where user_id = $1";
        database().await.execute(due, &[&user.id]).await.unwrap();
        let sweeper = sweep_generation_jobs(|config| {
            config.generation_queue_url = line.url.parse().unwrap();
            config.erasure_queue_url = line.url.parse().unwrap();
        });
        sweep_generation_jobs::handle(sweeper, serde::de::IgnoredAny).await.unwrap();
        assert!(ends(&trial, &line, user.id).await, "{}", trial.case);
        outcome = outcome.whole("swept");
    }
    trial.is_whole(&[&line], &[user.id]).await;
    outcome
}

async fn erased(trial: Trial) -> Outcome {
    let (user, line) = (User::new().await, trial.house.line().await);
    stored(&trial, &user).await;
    let page = at_checkout(&user, json!({ "plan_id": "pro" })).await;
    let customer = page["customer"].as_str().unwrap();
    let paid = act(&format!("checkout/{}/pay", page["id"].as_str().unwrap()), json!({})).await;
    at_stripe(&format!("/sandbox/stripe/settled?about={customer}")).await;
    at_checkout(&user, json!({ "pack_id": "small" })).await;
    assert_eq!(rpc("begin_account_deletion", json!({ "p_user_id": user.id })).await["outcome"], "leaving");

    line.send(&json!({ "user_id": user.id })).await;
    let function = trial.function("erase-account", &[]).await;
    let outcome = trial.deliver(&line, &function, user.id, async {}).await;
    let subscription = at_stripe(&format!("/v1/subscriptions/{}", paid["subscription"].as_str().unwrap())).await;
    assert_eq!(subscription["status"], "canceled", "{}", trial.case);
    let open = at_stripe(&format!("/v1/checkout/sessions?customer={customer}&status=open")).await;
    assert_eq!(open["data"], json!([]), "{}", trial.case);
    trial.is_whole(&[&line], &[user.id]).await;
    outcome
}

async fn checked(trial: Trial) -> Outcome {
    let function = trial.function("check-invariants", &[]).await;
    trial.tick(&function, &json!({}), async {}).await
}
