//! localstripe (<https://pypi.org/project/localstripe/>), a Stripe that this project did not write, speaks to a process of
//! stripe-webhook: it signs and sends its own events, in the shape of the API of 2017, and is asked for its objects.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use lambda_http::http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot},
};
use url::Url;
use uuid::Uuid;

use crate::{
    credits::{balance, rpc},
    listener::{Asked, Told, listen, told},
    stack::{User, dashboard, database, setting},
};

const SECRET: &str = "whsec_that_localstripe_signs_its_events_with";

/// A program of `tests/stripe/`, run by the Python that has its packages.
pub fn python(program: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("../local/.venv/bin/python"));
    command.arg(root.join("stripe").join(program)).kill_on_drop(true);
    command
}

struct LocalStripe {
    origin: String,
    _process: Child,
}

impl LocalStripe {
    async fn start() -> Self {
        let mut process = python("localstripe_server.py").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let origin = lines.next_line().await.unwrap().expect("localstripe says where it is");
        Self { origin, _process: process }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let http = http_client::client(Duration::from_secs(20)).unwrap();
        let request = http.request(method, format!("{}{path}", self.origin)).bearer_auth(setting("STRIPE_SECRET_KEY"));
        let response = request.json(&body).send().await.unwrap();
        let (status, answer) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap_or_default()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, body).await
    }
}

/// A process of stripe-webhook behind a function URL of its own.
struct Function {
    url: Url,
    /// What was sent to it and answered: event type and status.
    answered: mpsc::UnboundedReceiver<(String, u16)>,
    _process: Child,
}

/// What both sides of the function meet at: AWS.
struct Aws {
    calls: tokio::sync::Mutex<mpsc::UnboundedReceiver<(String, Value)>>,
    call: mpsc::UnboundedSender<(String, Value)>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    answered: mpsc::UnboundedSender<(String, u16)>,
}

impl Function {
    async fn start(stripe: &LocalStripe) -> Self {
        let (call, calls) = mpsc::unbounded_channel();
        let (tell, answered) = mpsc::unbounded_channel();
        let aws = Arc::new(Aws { calls: calls.into(), call, waiting: Mutex::default(), answered: tell });
        let url = listen(move |request| aws.clone().serve(request)).await;
        let binary = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("stripe-webhook");
        let process = Command::new(binary)
            .env("AWS_LAMBDA_RUNTIME_API", url.authority())
            .env("AWS_LAMBDA_FUNCTION_NAME", "stripe-webhook")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("STRIPE_API_URL", &stripe.origin)
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { url, answered, _process: process }
    }

    /// Waits until each of these types was sent so often, and taken each time.
    async fn takes(&mut self, mut wanted: BTreeMap<&str, usize>) {
        while !wanted.is_empty() {
            let patience = Duration::from_secs(30);
            let next = tokio::time::timeout(patience, self.answered.recv()).await;
            let (kind, status) = next.unwrap_or_else(|_| panic!("never sent: {wanted:?}")).unwrap();
            assert_eq!(status, 200, "{kind}");
            if let Some(left) = wanted.get_mut(kind.as_str()) {
                *left -= 1;
                wanted.retain(|_, left| *left > 0);
            }
        }
    }
}

impl Aws {
    async fn serve(self: Arc<Self>, request: Asked) -> Told {
        let steps: Vec<&str> = request.uri().path().split('/').collect();
        match steps[..] {
            ["", "2018-06-01", "runtime", "invocation", "next"] => {
                let (id, event) = self.calls.lock().await.recv().await.unwrap();
                let mut next = told(200, event.to_string());
                next.headers_mut().insert("lambda-runtime-aws-request-id", id.parse().unwrap());
                next.headers_mut().insert("lambda-runtime-deadline-ms", "9999999999999".parse().unwrap());
                let arn = "arn:aws:lambda:eu-central-1:0:function:stripe-webhook";
                next.headers_mut().insert("lambda-runtime-invoked-function-arn", arn.parse().unwrap());
                next
            }
            ["", "2018-06-01", "runtime", "invocation", id, "response"] => {
                let waiting = self.waiting.lock().unwrap().remove(id).unwrap();
                waiting.send(serde_json::from_slice(request.body()).unwrap()).unwrap();
                told(202, "{}")
            }
            [_, ""] => self.invoke(request).await,
            _ => panic!("{}", request.uri()),
        }
    }

    /// A call of the function URL.
    async fn invoke(&self, request: Asked) -> Told {
        let body = std::str::from_utf8(request.body()).unwrap();
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let http = json!({ "method": request.method().as_str(), "path": "/", "protocol": "HTTP/1.1",
            "sourceIp": "203.0.113.7", "userAgent": "" });
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "",
            "headers": headers.collect::<BTreeMap<_, _>>(), "body": body, "isBase64Encoded": false,
            "requestContext": { "accountId": "1", "apiId": "a", "domainName": "a.example", "domainPrefix": "a", "http": http,
                "requestId": "r", "routeKey": "$default", "stage": "$default", "time": "21/Nov/2026:12:00:00 +0000",
                "timeEpoch": 1_795_262_400_000_u64 },
        });
        let (id, (answer, answering)) = (Uuid::new_v4().to_string(), oneshot::channel());
        self.waiting.lock().unwrap().insert(id.clone(), answer);
        self.call.send((id, event)).unwrap();
        let answer = answering.await.unwrap();
        let status = answer["statusCode"].as_u64().unwrap() as u16;
        let kind: Value = serde_json::from_str(body).unwrap();
        self.answered.send((kind["type"].as_str().unwrap().to_owned(), status)).unwrap();
        told(status, answer["body"].as_str().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn a_stripe_that_others_wrote_brings_a_subscriber_her_credits_once_and_her_plan() {
    let stripe = LocalStripe::start().await;
    let mut function = Function::start(&stripe).await;
    // Two endpoints with one URL: every event comes twice.
    for endpoint in ["one", "two"] {
        stripe.post(&format!("/_config/webhooks/{endpoint}"), json!({ "url": function.url, "secret": SECRET })).await;
    }

    let plan = format!("plan_{}", Uuid::new_v4().simple());
    let product = json!({ "name": "Pro" });
    let terms = json!({ "id": plan, "amount": 1900, "currency": "usd", "interval": "month", "product": product });
    stripe.post("/v1/plans", terms).await;
    let db = database().await;
    let sells = "update public.plans set earlier_price_ids = array_append(earlier_price_ids, $1) where id = 'pro'";
    db.execute(sells, &[&plan]).await.unwrap();

    let user = User::new().await;
    let person = json!({ "email": user.email, "metadata": { "user_id": user.id } });
    let customer = stripe.post("/v1/customers", person).await["id"].as_str().unwrap().to_owned();
    let keep = json!({ "p_user_id": user.id, "p_customer_id": customer, "p_gone": null });
    assert_eq!(rpc("keep_stripe_customer", keep).await["outcome"], "kept");
    let card = json!({ "number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123" });
    let method = stripe.post("/v1/payment_methods", json!({ "type": "card", "card": card })).await;
    let method = method["id"].as_str().unwrap();
    stripe.post(&format!("/v1/payment_methods/{method}/attach"), json!({ "customer": customer })).await;
    let default = json!({ "invoice_settings": { "default_payment_method": method } });
    stripe.post(&format!("/v1/customers/{customer}"), default).await;

    let order = json!({ "customer": customer, "items": [{ "plan": plan }], "metadata": { "user_id": user.id } });
    let subscription = stripe.post("/v1/subscriptions", order).await;
    let expected =
        ["invoice.created", "payment_intent.succeeded", "invoice.payment_succeeded", "customer.subscription.created"];
    function.takes(expected.map(|kind| (kind, 2)).into()).await;
    let seen = dashboard(&user).await;
    assert_eq!((&seen["plan"], &seen["credits"]), (&json!("pro"), &json!(20)), "{seen}");
    assert_eq!((&seen["subscription"]["status"], &seen["subscription"]["live"]), (&json!("active"), &json!(true)));
    assert_eq!(balance(user.id).await, 20);

    let path = format!("/v1/subscriptions/{}", subscription["id"].as_str().unwrap());
    stripe.ask(Method::DELETE, &path, json!({})).await;
    function.takes([("customer.subscription.deleted", 2)].into()).await;
    let seen = dashboard(&user).await;
    assert_eq!((&seen["plan"], &seen["credits"]), (&json!("free"), &json!(20)), "{seen}");

    let withdraw = "update public.plans set earlier_price_ids = array_remove(earlier_price_ids, $1) where id = 'pro'";
    db.execute(withdraw, &[&plan]).await.unwrap();
}
