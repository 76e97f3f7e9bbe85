//! Replicate: <https://replicate.com/docs/reference/http>.

use http_client::Upstream;
use jiff::{SignedDuration, Timestamp};
use lambda_kit::trace;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::{
    Order, Standing,
    reading::{failure, links, progress, seed},
    rest::{CLOCKS_DIFFER, MOST_PAGES, ModelError, ask, below, client, would_be_listed},
    webhook,
};

/// How long a prediction may take until Replicate gives it up; a picture takes seconds, a model that has to start minutes.
const CANCEL_AFTER: &str = "10m";

/// Replicate lists a prediction as soon as it is made; a request that we gave up may take a little longer to arrive.
const LISTED_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// Replicate's API.
#[derive(Clone, Debug)]
pub struct Replicate {
    http: Client,
    url: Url,
    token: SecretString,
}

/// A prediction, as much of it as is read.
#[derive(Deserialize)]
struct Prediction {
    id: String,
    status: String,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Value,
    logs: Option<String>,
    #[serde(default)]
    data_removed: bool,
    webhook: Option<String>,
    created_at: Option<Timestamp>,
}

impl Replicate {
    /// The API at `api_url`, as the account whose `token` it is.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(api_url: Url, token: SecretString) -> anyhow::Result<Self> {
        Ok(Self { http: client()?, url: api_url, token })
    }

    fn request(&self, method: Method, path: &[&str], query: &str) -> RequestBuilder {
        let mut url = below(&self.url, ["v1"].iter().chain(path).copied());
        url.set_query((!query.is_empty()).then_some(query));
        self.http.request(method, url).bearer_auth(self.token.expose_secret())
    }

    pub(crate) async fn submit(&self, order: &Order<'_>) -> Result<String, ModelError> {
        let mut body = json!({ "input": input(order) });
        // Official models have no version that one could name; others have nothing but versions.
        let path = match order.model.split_once('/') {
            Some((owner, name)) if !name.contains(':') => vec!["models", owner, name, "predictions"],
            _ => {
                body["version"] = json!(order.model);
                vec!["predictions"]
            }
        };
        if let Some(url) = order.webhook {
            body["webhook"] = json!(webhook::for_job(url, order.job_id, trace::id()));
            body["webhook_events_filter"] = json!(["completed"]);
        }
        let request = self
            .request(Method::POST, &path, "")
            .header("idempotency-key", order.job_id.to_string())
            .header("cancel-after", CANCEL_AFTER)
            .json(&body);
        let prediction: Prediction = ask(Upstream::Replicate, request).await?.read()?;
        Ok(prediction.id)
    }

    pub(crate) async fn standing(&self, id: &str) -> Result<Standing, ModelError> {
        let answer = ask(Upstream::Replicate, self.request(Method::GET, &["predictions", id], "")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Standing::Unknown);
        }
        let prediction: Prediction = answer.read()?;
        let logs = prediction.logs.unwrap_or_default();
        Ok(match prediction.status.as_str() {
            "starting" | "processing" => Standing::Running { progress: progress(&logs) },
            "succeeded" if prediction.data_removed => Standing::Unknown,
            "succeeded" => match links(&prediction.output) {
                images if images.is_empty() => failure("it made no picture", true),
                images => {
                    Standing::Succeeded { images, seed: seed(&logs).or_else(|| prediction.input["seed"].as_i64()) }
                }
            },
            "failed" => failure(prediction.error.as_str().unwrap_or_default(), true),
            "canceled" => Standing::Cancelled,
            // Its time was over before it began, and it cost nothing.
            "aborted" => failure("it did not start in time", true),
            _ => return Err(ModelError::Garbled(anyhow::anyhow!("a status that we do not know"))),
        })
    }

    pub(crate) async fn find(&self, order: &Order<'_>, since: Timestamp) -> Result<Option<String>, ModelError> {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<Prediction>,
            next: Option<Url>,
        }
        let asked_at = Timestamp::now();
        let start = since - CLOCKS_DIFFER;
        let mut query = format!("created_after={start}");
        for _ in 0..MOST_PAGES {
            let page: Page =
                ask(Upstream::Replicate, self.request(Method::GET, &["predictions"], &query)).await?.read()?;
            // The newest first.
            for prediction in page.results {
                if prediction.created_at.is_some_and(|created_at| created_at < start) {
                    return would_be_listed(asked_at, since, LISTED_AFTER).map(|()| None);
                }
                if prediction.is_of(order) {
                    return Ok(Some(prediction.id));
                }
            }
            // A whole URL: our token goes to no other host, whatever it says.
            match page.next.as_ref().and_then(Url::query) {
                Some(next) => next.clone_into(&mut query),
                None => return would_be_listed(asked_at, since, LISTED_AFTER).map(|()| None),
            }
        }
        Err(ModelError::Garbled(anyhow::anyhow!("a list without end")))
    }

    pub(crate) async fn cancel(&self, id: &str) -> Result<(), ModelError> {
        let answer = ask(Upstream::Replicate, self.request(Method::POST, &["predictions", id, "cancel"], "")).await?;
        let gone = answer.status == StatusCode::NOT_FOUND;
        if gone || answer.status.is_success() { Ok(()) } else { Err(answer.into_error()) }
    }
}

impl Prediction {
    fn is_of(&self, order: &Order<'_>) -> bool {
        match &self.webhook {
            Some(url) => Url::parse(url).is_ok_and(|url| webhook::job_of(url.query()) == Some(order.job_id)),
            // The documentation does not promise that lists show it.
            None => order.is_like(&self.input),
        }
    }
}

/// What models take. The formats of their pictures are left to them: what comes is looked at by its bytes.
fn input(order: &Order<'_>) -> Value {
    let mut input = json!({ "prompt": order.prompt, "aspect_ratio": "2:3" });
    if let Some(seed) = order.seed {
        input["seed"] = json!(seed);
    }
    if let Some(image) = order.image_url {
        // Families of models, and what each calls the picture to start from.
        let (name, image) = match order.model.rsplit('/').next().unwrap_or_default() {
            model if model.contains("kontext") => ("input_image", json!(image)),
            model if model.starts_with("flux-2") => ("input_images", json!([image])),
            model if model.starts_with("flux-1.1-pro") || model.starts_with("flux-pro") => {
                ("image_prompt", json!(image))
            }
            _ => ("image", json!(image)),
        };
        input[name] = image;
    }
    input
}
