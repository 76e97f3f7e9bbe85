//! The house as a flow meets it: functions as warm processes, and queues as they are served.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    sync::{Mutex, mpsc, oneshot},
};
use url::Url;
use uuid::Uuid;

use crate::{
    listener::{listen, told},
    stack::{User, claims, user_token},
};

/// How often a queue hands a message out, as in template.yaml.
const MOST_RECEIVES: u32 = 4;

/// Somebody whose token names no project, as functions know it by the address of a proxy.
pub async fn caller() -> User {
    let user = User::new().await;
    let mut claims = claims(user.id, &user.email);
    claims.as_object_mut().unwrap().remove("iss");
    User { token: user_token(&claims), ..user }
}

/// What a function is called with, and who waits for what it returns.
type Call = (String, oneshot::Sender<Result<Value, Value>>);

/// One process, as the runtime API sees it.
struct Slot {
    calls: Mutex<mpsc::UnboundedReceiver<Call>>,
    waits: Mutex<Option<oneshot::Sender<Result<Value, Value>>>>,
}

/// Lambda's runtime API, for all processes of a test.
pub struct Lambda {
    origin: Url,
    slots: Arc<Mutex<HashMap<String, Arc<Slot>>>>,
}

impl Lambda {
    pub async fn start() -> Self {
        let slots = Arc::<Mutex<HashMap<String, Arc<Slot>>>>::default();
        let known = Arc::clone(&slots);
        let origin = listen(move |asked| {
            let known = Arc::clone(&known);
            async move {
                let path = asked.uri().path().to_owned();
                let slot = known.lock().await.get(path.split('/').nth(1).unwrap()).cloned();
                let Some(slot) = slot else { return told(403, "{}") };
                if path.ends_with("/invocation/next") {
                    let Some((event, answer)) = slot.calls.lock().await.recv().await else {
                        // Nobody calls it any more: it is about to be killed.
                        return std::future::pending().await;
                    };
                    *slot.waits.lock().await = Some(answer);
                    let mut next = told(200, event);
                    for (name, value) in [
                        ("lambda-runtime-aws-request-id", "r"),
                        ("lambda-runtime-deadline-ms", "9999999999999"),
                        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:0:function:f"),
                    ] {
                        next.headers_mut().insert(name, value.parse().unwrap());
                    }
                    return next;
                }
                let body = serde_json::from_slice(asked.body()).unwrap_or(Value::Null);
                if let Some(answer) = slot.waits.lock().await.take() {
                    let _ = answer.send(if path.ends_with("/response") { Ok(body) } else { Err(body) });
                }
                told(202, "{}")
            }
        })
        .await;
        Self { origin, slots }
    }

    /// A process of a function, with `environment` on top of the test's own.
    pub async fn function(&self, name: &'static str, environment: &[(&str, String)]) -> Function {
        let id = Uuid::new_v4().to_string();
        let (events, calls) = mpsc::unbounded_channel();
        let slot = Arc::new(Slot { calls: Mutex::new(calls), waits: Mutex::default() });
        self.slots.lock().await.insert(id.clone(), slot);
        let binary = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join(name);
        let process = Command::new(binary)
            .env("AWS_LAMBDA_RUNTIME_API", format!("{}{id}", self.origin))
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Function { name, events, _process: process }
    }
}

/// A warm process of a function: what it is called with goes to the same one, with its open connections.
pub struct Function {
    pub name: &'static str,
    events: mpsc::UnboundedSender<Call>,
    _process: Child,
}

/// What a client of an HTTP function hears.
#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    pub headers: Value,
    pub body: Value,
}

impl Function {
    /// What it returned; `Err` is what Lambda counts as an error. It is a failure of the test if that takes longer than
    /// template.yaml gives it.
    async fn call(&self, event: &Value) -> Result<Value, Value> {
        let (sender, answer) = oneshot::channel();
        let begun = Instant::now();
        self.events.send((event.to_string(), sender)).unwrap();
        let time = time_of(self.name);
        let answer = tokio::time::timeout(time, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("{} would be killed after {time:?}", self.name));
        answer.unwrap_or_else(|_| panic!("{} ended after {:?}", self.name, begun.elapsed()))
    }

    /// Calls it as the HTTP API or a function URL does.
    pub async fn http(&self, event: &Value) -> Heard {
        let answer = self.call(event).await.unwrap_or_else(|error| panic!("{} crashed: {error}", self.name));
        let body = answer["body"].as_str().unwrap_or_default();
        Heard {
            status: answer["statusCode"].as_u64().unwrap() as u16,
            body: serde_json::from_str(body).unwrap_or_else(|_| panic!("{}: {body}", self.name)),
            headers: answer["headers"].clone(),
        }
    }

    /// Calls it as the scheduler does; whether it says that all is done.
    pub async fn tick(&self, input: &Value) -> bool {
        self.call(input).await.is_ok()
    }
}

/// The `Timeout` of template.yaml; and nobody hears what comes after 30 s through the HTTP API.
fn time_of(function: &str) -> Duration {
    static TEMPLATE: LazyLock<String> =
        LazyLock::new(|| std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")).unwrap());
    let block = TEMPLATE.split_once(&format!("CodeUri: target/lambda/{function}/")).unwrap().1;
    let seconds = block.split_once("Timeout: ").unwrap().1;
    let seconds = seconds.split(|other: char| !other.is_ascii_digit()).next().unwrap();
    Duration::from_secs(seconds.parse().unwrap())
}

/// A call as the HTTP API hands it over; `id` is the path's parameter.
pub fn event(method: &str, path: &str, id: Option<Uuid>, headers: Value, body: Option<Value>) -> Value {
    let now = jiff::Timestamp::now().as_millisecond();
    json!({
        "version": "2.0", "routeKey": format!("{method} {path}"), "rawPath": path, "rawQueryString": "", "headers": headers,
        "pathParameters": id.map(|id| json!({ "id": id })),
        "requestContext": {
            "accountId": "0", "apiId": "a", "domainName": "a.example", "domainPrefix": "a", "requestId": "r",
            "routeKey": format!("{method} {path}"), "stage": "$default", "time": "21/Nov/2026:10:00:00 +0000", "timeEpoch": now,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "t" },
        },
        "body": body.map(|body| match body {
            Value::String(text) => text,
            other => other.to_string(),
        }),
        "isBase64Encoded": false,
    })
}

/// A call by a signed-in user.
pub fn by(user: &User, method: &str, path: &str, id: Option<Uuid>, body: Option<Value>) -> Value {
    event(method, path, id, json!({ "authorization": format!("Bearer {}", user.token) }), body)
}

/// A queue of one flow's own, with its dead letters.
pub struct Line {
    sqs: aws_sdk_sqs::Client,
    pub url: String,
    dead: String,
}

impl Line {
    pub async fn new(sqs: &aws_sdk_sqs::Client) -> Self {
        let name = format!("faults-{}", Uuid::new_v4());
        let dead = sqs.create_queue().queue_name(format!("{name}-dlq")).send().await.unwrap().queue_url.unwrap();
        let arn = sqs.get_queue_attributes().queue_url(&dead).attribute_names(QueueAttributeName::QueueArn);
        let arn = arn.send().await.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
        let redrive = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": MOST_RECEIVES }).to_string();
        let queue = sqs.create_queue().queue_name(&name).attributes(QueueAttributeName::RedrivePolicy, redrive);
        let url =
            queue.attributes(QueueAttributeName::VisibilityTimeout, "600").send().await.unwrap().queue_url.unwrap();
        Self { sqs: sqs.clone(), url, dead }
    }

    pub async fn send(&self, body: &Value) {
        self.sqs.send_message().queue_url(&self.url).message_body(body.to_string()).send().await.unwrap();
    }

    /// What the event source mapping does with what lies here: hands it over, message by message, deletes what is done, and lets
    /// the rest come again. Ends when nothing is left, or with the first message that is not done: whether all was. Messages
    /// that do not tell of `about` are others', which a sweep brought here.
    pub async fn deliver(&self, function: &Function, about: Uuid) -> bool {
        loop {
            let receive = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(1);
            let received =
                receive.message_system_attribute_names(MessageSystemAttributeName::All).send().await.unwrap();
            let Some(message) = received.messages.unwrap_or_default().pop() else { return true };
            let (body, handle) = (message.body.unwrap(), message.receipt_handle.unwrap());
            if body.contains(&about.to_string()) {
                let attributes: HashMap<String, String> = message
                    .attributes
                    .unwrap()
                    .into_iter()
                    .map(|(name, value)| (name.as_str().to_owned(), value))
                    .collect();
                let record = json!({ "messageId": message.message_id, "receiptHandle": handle, "body": body,
                    "attributes": attributes, "messageAttributes": {} });
                let answer = function.call(&json!({ "Records": [record] })).await;
                if answer != Ok(json!({ "batchItemFailures": [] })) {
                    let failures = json!({ "batchItemFailures": [{ "itemIdentifier": message.message_id }] });
                    assert_eq!(answer, Ok(failures), "{}", function.name);
                    let again = self.sqs.change_message_visibility().queue_url(&self.url).receipt_handle(handle);
                    again.visibility_timeout(0).send().await.unwrap();
                    return false;
                }
            }
            self.sqs.delete_message().queue_url(&self.url).receipt_handle(handle).send().await.unwrap();
        }
    }

    /// Nothing waits here, is under way or lies among the dead letters.
    pub async fn is_empty(&self) -> bool {
        let numbers = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        for url in [&self.url, &self.dead] {
            let asked = self.sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(numbers.to_vec()));
            let attributes = asked.send().await.unwrap().attributes.unwrap();
            if numbers.iter().any(|number| attributes[number] != "0") {
                return false;
            }
        }
        true
    }
}
