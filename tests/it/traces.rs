//! One trace joins what comes of one request: every line of every function that worked on it carries its id. Real function
//! processes, the sandbox's n8n and Replicate, real messages; read from the log that they write.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    generation::until,
    stack::{User, row, setting, wish},
};

/// A line that a function logged.
#[derive(Debug)]
struct Line {
    function: String,
    text: String,
    trace: Option<String>,
}

/// Those that hold `word`, of all functions.
fn lines(word: &str) -> Vec<Line> {
    let log = std::fs::read_to_string(setting("STACK_LOG")).unwrap();
    let lines = log.lines().filter(|line| line.contains(word)).filter_map(|line| {
        let (function, said) = line.split_once('│')?;
        let said: Value = serde_json::from_str(said.trim()).ok()?;
        let text = said["fields"]["message"].as_str()?.to_owned();
        let trace = said["span"]["trace_id"].as_str().map(str::to_owned);
        Some(Line { function: function.trim().to_owned(), text, trace })
    });
    lines.collect()
}

/// In which trace `function` said so about `word`, as soon as it has.
async fn trace_of(function: &str, says: &str, word: &str) -> String {
    let line = until(says, async || {
        lines(word).into_iter().find(|line| line.function == function && line.text.starts_with(says))
    });
    line.await.trace.unwrap_or_else(|| panic!("{function} said {says} in no trace"))
}

/// Waits until all of this was said in the trace, each by its function.
async fn are_said_in(trace: &str, expected: &[(&str, &str)]) {
    let mut missing = BTreeSet::new();
    let all = async || {
        let said = lines(trace);
        let lacks = |(function, says): &&(&str, &str)| {
            !said.iter().any(|line| {
                line.function == *function && line.text.starts_with(says) && line.trace.as_deref() == Some(trace)
            })
        };
        expected.iter().filter(lacks).copied().collect::<BTreeSet<_>>()
    };
    for _ in 0..200 {
        missing = all().await;
        if missing.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("never said in trace {trace}: {missing:?}");
}

async fn post(path: &str, user: &User, body: String) -> Value {
    let http = http_client::client(std::time::Duration::from_secs(30)).unwrap();
    let url = format!("{}{path}", setting("FUNCTIONS_URL"));
    let answer = http.post(url).bearer_auth(&user.token).body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_request_its_callback_and_the_fetch_of_its_image_are_one_trace() {
    let user = User::new().await;
    let answer = post("/influencers", &user, wish()).await;
    let id = answer["influencer"]["id"].as_str().unwrap();
    until("her image", async || (row(&user).await["state"] == "ready").then_some(())).await;

    let trace = trace_of("create-influencer", "influencer requested", id).await;
    let expected = [
        ("create-influencer", "influencer requested"),
        ("create-influencer", "request served"),
        ("n8n-callback", "callback recorded"),
        ("n8n-callback", "request served"),
        ("fetch-image", "image stored"),
        ("fetch-image", "message done"),
    ];
    are_said_in(&trace, &expected).await;
    for line in lines(&format!("\"influencer.id\":\"{id}\"")) {
        assert_eq!(line.trace.as_ref(), Some(&trace), "{line:?}");
    }
}

#[tokio::test]
async fn a_job_its_prediction_and_the_webhook_are_one_trace() {
    let user = User::new().await;
    let wish = json!({ "prompt": "A woman in a red coat", "model_preset": "fashion_model_v1", "pose_preset": "standing",
        "scene_preset": "street", "generation_type": "standard" });
    let answer = post("/generation-jobs", &user, wish.to_string()).await;
    let id: Uuid = answer["job_id"].as_str().unwrap().parse().unwrap();
    until("the picture", async || (crate::generation::row(id).await["status"] == "completed").then_some(())).await;

    let trace = trace_of("create-generation-job", "picture asked for", &id.to_string()).await;
    let expected = [
        ("create-generation-job", "picture asked for"),
        ("create-generation-job", "request served"),
        ("process-generation-job", "prediction under way"),
        ("process-generation-job", "message done"),
        ("replicate-webhook", "prediction is done"),
        ("replicate-webhook", "request served"),
        ("process-generation-job", "picture stored"),
    ];
    are_said_in(&trace, &expected).await;
    for line in lines(&format!("\"job.id\":\"{id}\"")) {
        assert_eq!(line.trace.as_ref(), Some(&trace), "{line:?}");
    }
}
