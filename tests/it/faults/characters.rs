//! A character: asked for, made by n8n, brought into the bucket, seen.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    AT_ONCE, Bucket, Database, Flow, N8n, Outcome, Pictures, Queue, Trial,
    house::{by, caller, event},
};
use crate::{
    doubles::{Mode, Proxy},
    generation::until,
    stack::{
        User, callback_token, create, create_influencer, dashboard, database, image_pending, requested, row, setting,
        wish,
    },
};

pub const FLOWS: &[Flow] = &[
    ("Create a character", &["create-influencer"], &[Database, N8n], |trial| Box::pin(asked_for(trial))),
    ("n8n reports", &["n8n-callback"], &[Database, Queue], |trial| Box::pin(reported(trial))),
    ("Fetch her image", &["fetch-image"], &[Database, Pictures, Bucket], |trial| Box::pin(fetched(trial))),
    ("Dashboard", &["get-dashboard"], &[Database], |trial| Box::pin(seen(trial))),
];

async fn is_ready(user: &User) {
    until("her image", async || (row(user).await["state"] == "ready").then_some(())).await;
}

/// The ten minutes of a set-up are over, and she is seen to have timed out.
async fn out_of_time(user: &User) {
    let over = "update public.influencers set deadline_at = now() - interval '1 second' where user_id = $1";
    database().await.execute(over, &[&user.id]).await.unwrap();
    assert_eq!(dashboard(user).await["influencer"]["state"], "timed_out");
}

/// How many orders n8n took for her.
async fn orders(user: &User) -> usize {
    let her = row(user).await["id"].as_str().unwrap().to_owned();
    let http = http_client::client(Duration::from_secs(10)).unwrap();
    let url = format!("{}/n8n/executions.json?influencer_id={her}", setting("SANDBOX_URL"));
    let taken: Value = http.get(url).send().await.unwrap().json().await.unwrap();
    taken["executions"].as_array().unwrap().len()
}

async fn asked_for(trial: Trial) -> Outcome {
    let user = caller().await;
    // n8n's report comes when its caller has heard.
    let door = Proxy::that(Mode::ServerError, &setting("CALLBACK_URL"));
    let function = trial.function("create-influencer", &[("CALLBACK_URL", door.origin.as_str())]).await;
    let event = by(&user, "POST", "/influencers", None, Some(Value::String(wish())));
    let heard = function.http(&event).await;
    let mut whole = if trial.accepts(&event, &heard, &[202]) { AT_ONCE } else { "again" };
    trial.lift();
    if whole != AT_ONCE {
        let again = function.http(&event).await;
        if again.status != 202 {
            // She is there, and nobody told n8n.
            assert_eq!(again.body["code"], "influencer_exists", "{}: {again:?}", trial.case);
            whole = "again after 10 min";
        }
    } else if (trial.upstream, trial.fault) == (N8n, Mode::Garbage) {
        whole = "again after 10 min";
    }
    if whole == "again after 10 min" {
        out_of_time(&user).await;
        assert_eq!(function.http(&event).await.status, 202, "{}", trial.case);
    }
    door.set(Mode::Pass);
    is_ready(&user).await;
    let orders = orders(&user).await;
    assert!(orders == 1 || trial.upstream == N8n, "{}: {orders} orders for one character", trial.case);
    trial.is_whole(&[], &[user.id]).await;
    Outcome { heard: heard.status.to_string(), whole }
}

async fn reported(trial: Trial) -> Outcome {
    let (user, id) = requested().await;
    let line = trial.house.line().await;
    let function = trial.function("n8n-callback", &[("IMAGE_QUEUE_URL", &line.url)]).await;
    let body = json!({ "influencer_id": id, "base_prompt": "p", "seed": 1, "image_url": trial.house.pictures.origin });
    let token = json!({ "authorization": format!("Bearer {}", callback_token(id, 1)) });
    let event = event("POST", "/lambda-url/n8n-callback/", None, token, Some(body));
    let (_, outcome) = trial.ask(&function, &event, &[200, 202]).await;
    let images = [("LOCAL_IMAGE_ORIGIN", trial.house.pictures.origin.as_str())];
    let fetch = trial.house.function("fetch-image", &images).await;
    assert!(line.deliver(&fetch, id).await, "{}", trial.case);
    assert_eq!(row(&user).await["state"], "ready", "{}", trial.case);
    trial.is_whole(&[&line], &[user.id]).await;
    outcome
}

async fn fetched(trial: Trial) -> Outcome {
    let (user, id): (User, Uuid) = image_pending().await;
    let line = trial.house.line().await;
    let origin = if trial.upstream == Pictures { &trial.proxy.origin } else { &trial.house.pictures.origin };
    let function = trial.function("fetch-image", &[("LOCAL_IMAGE_ORIGIN", origin.as_str())]).await;
    line.send(&json!({ "influencer_id": id, "user_id": user.id, "attempt": 1, "image_url": origin })).await;
    let mut outcome = trial.deliver(&line, &function, id, async {}).await;
    if (trial.upstream, trial.fault) == (Pictures, Mode::Garbage) {
        assert_eq!(dashboard(&user).await["influencer"]["failure"]["code"], "image_invalid", "{}", trial.case);
        assert_eq!(create(&create_influencer(|_| {}), &user).await.status, 202, "{}", trial.case);
        is_ready(&user).await;
        outcome = outcome.whole("told why, starts again");
    }
    assert_eq!(row(&user).await["state"], "ready", "{}", trial.case);
    trial.is_whole(&[&line], &[user.id]).await;
    outcome
}

async fn seen(trial: Trial) -> Outcome {
    let user = caller().await;
    let function = trial.function("get-dashboard", &[]).await;
    let (seen, outcome) = trial.ask(&function, &by(&user, "GET", "/dashboard", None, None), &[200]).await;
    assert_eq!((&seen.body["credits"], &seen.body["user"]["id"]), (&json!(4), &json!(user.id)), "{}", trial.case);
    outcome
}
