//! fal's queue: <https://fal.ai/docs/api-reference/inference-api>. Polled only; its webhooks are not used.

use http_client::Upstream;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::{
    Order, Standing,
    reading::{failure, links, progress},
    rest::{Answer, CLOCKS_DIFFER, MOST_PAGES, ModelError, ask, below, client, would_be_listed},
};

/// Seconds within which a request begins to run, or is given up.
const START_WITHIN: &str = "100";

/// fal lists a request when it has ended, which none has to by any time; a picture takes seconds.
const LISTED_AFTER: SignedDuration = SignedDuration::from_secs(180);

/// How long what was made lies where anybody with its link may see it.
const KEEP: &str = r#"{"expiration_duration_seconds":3600}"#;

/// Models that take a picture to start from at an endpoint of its own.
const FROM_IMAGE: [(&str, &str); 1] = [("fal-ai/flux/dev", "fal-ai/flux/dev/image-to-image")];

/// fal's queue, and its list of requests.
#[derive(Clone, Debug)]
pub struct Fal {
    http: Client,
    queue: Url,
    platform: Url,
    key: SecretString,
}

impl Fal {
    /// The queue at `api_url` and the list at `platform_url`, as the account whose `key` it is.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(api_url: Url, platform_url: Url, key: SecretString) -> anyhow::Result<Self> {
        Ok(Self { http: client()?, queue: api_url, platform: platform_url, key })
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url).header("authorization", format!("Key {}", self.key.expose_secret()))
    }

    /// What lies at `path` of the queue. The id of a request is such a path: its bare id says nothing of its model.
    fn at(&self, method: Method, path: &str, below_it: Option<&str>) -> RequestBuilder {
        self.request(method, below(&self.queue, path.split('/').chain(below_it)))
    }

    pub(crate) async fn submit(&self, order: &Order<'_>) -> Result<String, ModelError> {
        #[derive(Deserialize)]
        struct Submitted {
            request_id: String,
        }
        let request = self
            .at(Method::POST, endpoint(order), None)
            .header("idempotency-key", order.job_id.to_string())
            .header("x-fal-request-timeout", START_WITHIN)
            .header("x-fal-object-lifecycle-preference", KEEP)
            .json(&input(order));
        let Submitted { request_id } = ask(Upstream::Fal, request).await?.read()?;
        Ok(path_of(order.model, &request_id))
    }

    pub(crate) async fn standing(&self, id: &str) -> Result<Standing, ModelError> {
        #[derive(Deserialize)]
        struct Status {
            status: String,
            #[serde(default)]
            logs: Option<Vec<Line>>,
        }
        #[derive(Deserialize)]
        struct Line {
            #[serde(default)]
            message: String,
        }
        let answer = ask(Upstream::Fal, self.at(Method::GET, id, Some("status")).query(&[("logs", "1")])).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Standing::Unknown);
        }
        let Status { status, logs } = answer.read()?;
        match status.as_str() {
            "IN_QUEUE" => Ok(Standing::Running { progress: None }),
            "IN_PROGRESS" => {
                let lines: Vec<_> = logs.unwrap_or_default().into_iter().map(|line| line.message).collect();
                Ok(Standing::Running { progress: progress(&lines.join("\n")) })
            }
            "COMPLETED" => result(ask(Upstream::Fal, self.at(Method::GET, id, None)).await?),
            _ => Err(ModelError::Garbled(anyhow::anyhow!("a status that we do not know"))),
        }
    }

    pub(crate) async fn find(&self, order: &Order<'_>, since: Timestamp) -> Result<Option<String>, ModelError> {
        #[derive(Deserialize)]
        struct Page {
            items: Vec<Item>,
            next_cursor: Option<String>,
            #[serde(default)]
            has_more: bool,
        }
        #[derive(Deserialize)]
        struct Item {
            request_id: String,
            #[serde(default)]
            json_input: Value,
        }
        let asked_at = Timestamp::now();
        let start = (since - CLOCKS_DIFFER).to_string();
        let mut cursor = None;
        for _ in 0..MOST_PAGES {
            let url = below(&self.platform, ["v1", "models", "requests", "by-endpoint"]);
            let query = [("endpoint_id", endpoint(order)), ("start", &start), ("expand", "payloads"), ("limit", "100")];
            let request = self.request(Method::GET, url).query(&query);
            let page: Page =
                ask(Upstream::Fal, request.query(&cursor.map(|cursor| ("cursor", cursor)).as_slice())).await?.read()?;
            if let Some(item) = page.items.iter().find(|item| order.is_like(&item.json_input)) {
                return Ok(Some(path_of(order.model, &item.request_id)));
            }
            cursor = page.next_cursor.filter(|_| page.has_more);
            if cursor.is_none() {
                return would_be_listed(asked_at, since, LISTED_AFTER).and(Err(ModelError::Lost));
            }
        }
        Err(ModelError::Garbled(anyhow::anyhow!("a list without end")))
    }

    pub(crate) async fn cancel(&self, id: &str) -> Result<(), ModelError> {
        let answer = ask(Upstream::Fal, self.at(Method::PUT, id, Some("cancel"))).await?;
        // 400: it has ended already.
        let over = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST);
        if over || answer.status.is_success() { Ok(()) } else { Err(answer.into_error()) }
    }
}

fn endpoint<'a>(order: &Order<'a>) -> &'a str {
    let from_image = FROM_IMAGE.iter().find(|(model, _)| order.image_url.is_some() && *model == order.model);
    from_image.map_or(order.model, |(_, endpoint)| endpoint)
}

/// Where a request lies: below the owner and name of its model, without what follows.
fn path_of(model: &str, request_id: &str) -> String {
    let app: Vec<_> = model.split('/').take(2).collect();
    format!("{}/requests/{request_id}", app.join("/"))
}

fn input(order: &Order<'_>) -> Value {
    let mut input = json!({ "prompt": order.prompt, "image_size": { "width": 832, "height": 1248 }, "num_images": 1 });
    if let Some(seed) = order.seed {
        input["seed"] = json!(seed);
    }
    if let Some(image) = order.image_url {
        input["image_url"] = json!(image);
    }
    input
}

/// What a request that is over has come to: the model's own answer, with the model's own status
/// (<https://fal.ai/docs/documentation/model-apis/errors>, <https://fal.ai/docs/documentation/model-apis/request-errors>).
fn result(answer: Answer) -> Result<Standing, ModelError> {
    let body = answer.json();
    if answer.status.is_success() {
        let flags = &body["has_nsfw_concepts"];
        let decent = |at: usize| flags[at] != true;
        let images = match &body["images"] {
            Value::Array(images) => images
                .iter()
                .enumerate()
                .filter(|(at, _)| decent(*at))
                .flat_map(|(_, image)| links(&image["url"]))
                .collect(),
            _ => links(&body["image"]["url"]),
        };
        return match (images.is_empty(), body) {
            (false, body) => Ok(Standing::Succeeded { images, seed: body["seed"].as_i64() }),
            (true, Value::Null) => Err(ModelError::Garbled(anyhow::anyhow!("a result that is no JSON"))),
            (true, body) if body["has_nsfw_concepts"].to_string().contains("true") => {
                Ok(failure("NSFW content detected", false))
            }
            (true, _) => Ok(failure("it made no picture", true)),
        };
    }
    if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Ok(Standing::Unknown);
    }
    let retryable = answer.status.is_server_error()
        || answer.headers.get("x-fal-retryable").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    match (&body["detail"], body["error_type"].as_str()) {
        (_, Some("client_cancelled")) => Ok(Standing::Cancelled),
        (Value::String(message), Some(_)) => Ok(failure(message, retryable)),
        (Value::Array(errors), _) if !errors.is_empty() => {
            let say = |error: &Value| {
                let part = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
                format!("{}: {}", part("type"), part("msg"))
            };
            Ok(failure(&errors.iter().map(say).collect::<Vec<_>>().join("; "), retryable))
        }
        (Value::String(message), None) if answer.status == StatusCode::UNPROCESSABLE_ENTITY => {
            Ok(failure(message, false))
        }
        // No model wrote this.
        _ => Err(answer.into_error()),
    }
}
