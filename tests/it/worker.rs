//! A function as Lambda runs it: a process of its own.

use std::{process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{path, path_regex},
};

use crate::stack::User;

/// A batch of one message with this body, received for the first time.
pub fn queued(body: &Value) -> Value {
    let attributes = json!({ "ApproximateReceiveCount": "1" });
    json!({ "Records": [{ "messageId": "m", "body": body.to_string(), "attributes": attributes, "messageAttributes": {} }] })
}

/// A real process of a function on a runtime API that hands it one event.
pub struct Worker {
    pub process: Child,
    runtime: MockServer,
}

impl Worker {
    /// Starts fetch-image with one message, and `environment` on top of the test's own.
    pub async fn start(user: &User, id: uuid::Uuid, image_url: &url::Url, environment: &[(&str, &str)]) -> Self {
        let body = json!({ "influencer_id": id, "user_id": user.id, "attempt": 1, "image_url": image_url });
        let environment = [environment, &[("LOCAL_IMAGE_ORIGIN", image_url.as_str())]].concat();
        Self::run("fetch-image", &queued(&body), &environment).await
    }

    /// Starts `function` with `event`, and `environment` on top of the test's own.
    pub async fn run(function: &str, event: &Value, environment: &[(&str, &str)]) -> Self {
        let runtime = MockServer::start().await;
        let invocation = ResponseTemplate::new(200)
            .insert_header("lambda-runtime-aws-request-id", "r")
            .insert_header("lambda-runtime-deadline-ms", "9999999999999")
            .insert_header(
                "lambda-runtime-invoked-function-arn",
                format!("arn:aws:lambda:eu-central-1:0:function:{function}"),
            )
            .set_body_json(event);
        let next = Mock::given(path("/2018-06-01/runtime/invocation/next"));
        next.respond_with(invocation).up_to_n_times(1).mount(&runtime).await;
        let idle = ResponseTemplate::new(200).set_delay(Duration::from_secs(3600));
        Mock::given(path("/2018-06-01/runtime/invocation/next")).respond_with(idle).mount(&runtime).await;
        Mock::given(path_regex("response|error")).respond_with(ResponseTemplate::new(202)).mount(&runtime).await;

        let binary = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join(function);
        let process = Command::new(binary)
            .env("AWS_LAMBDA_RUNTIME_API", runtime.address().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { process, runtime }
    }

    /// What the function returned.
    pub async fn answer(&self) -> Value {
        let asking = async {
            loop {
                let calls = self.runtime.received_requests().await.unwrap();
                if let Some(call) = calls.iter().find(|call| call.url.path().ends_with("/response")) {
                    return serde_json::from_slice(&call.body).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asking).await.expect("the function never answered")
    }

    /// The most memory that the process ever had, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}
