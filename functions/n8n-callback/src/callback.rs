//! What n8n sends.

use domain::{id::InfluencerId, influencer::Failure};
use lambda_http::Body;
use lambda_kit::{ApiError, FieldError};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Most characters of a base prompt.
const MAX_PROMPT: usize = 8000;
/// Most characters of an image's URL.
const MAX_URL: usize = 2048;
/// The largest seed: beyond it JavaScript, and so n8n, rounds.
const MAX_SEED: i64 = 9_007_199_254_740_991;
/// Most characters of the workflow's own sentence that a user is shown.
const MAX_ERROR: usize = 300;

/// A parsed request body.
#[derive(Debug)]
pub(crate) struct Callback {
    pub(crate) influencer_id: InfluencerId,
    /// Which start of the set-up it answers; a caller with a token need not say.
    pub(crate) attempt: Option<i32>,
    /// What was made, or the sentence that says why nothing was.
    pub(crate) result: Result<Made, String>,
}

/// What the workflow made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) base_prompt: String,
    pub(crate) seed: i64,
    /// Anything that may be a URL: whether it may be fetched is for fetch-image to say, and for the user to know.
    pub(crate) image_url: String,
}

impl Callback {
    /// Parses the body; names every bad field at once.
    pub(crate) fn parse(body: &Body) -> Result<Self, ApiError> {
        let object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| ApiError::malformed_json(&error))?;
        let mut errors = Vec::new();
        let influencer_id: Option<InfluencerId> =
            field(&object, "influencer_id", "must be a UUID", |_| true, &mut errors);

        let attempt = match object.get("attempt") {
            None | Some(Value::Null) => Some(None),
            Some(_) => {
                field(&object, "attempt", "must be an integer, 1 or more", |n: &i32| *n >= 1, &mut errors).map(Some)
            }
        };

        let result = match object.get("error") {
            Some(error) if !error.is_null() => Some(Err(sentence(error.as_str().unwrap_or_default()))),
            _ => {
                let fits = |text: &String, max: usize| {
                    // Postgres keeps no NUL in a text.
                    !text.trim().is_empty() && text.chars().nth(max).is_none() && !text.contains('\0')
                };
                let prompt = "must be a text of 1 to 8000 characters";
                let base_prompt = field(&object, "base_prompt", prompt, |text| fits(text, MAX_PROMPT), &mut errors);
                let number = "must be an integer from 0 to 9007199254740991";
                let seed = field(&object, "seed", number, |seed| (0..=MAX_SEED).contains(seed), &mut errors);
                let url = "must be a URL of at most 2048 characters";
                let image_url = field(&object, "image_url", url, |text| fits(text, MAX_URL), &mut errors);
                match (base_prompt, seed, image_url) {
                    (Some(base_prompt), Some(seed), Some(image_url)) => Some(Ok(Made { base_prompt, seed, image_url })),
                    _ => None,
                }
            }
        };
        match (influencer_id, attempt, result) {
            (Some(influencer_id), Some(attempt), Some(result)) => Ok(Self { influencer_id, attempt, result }),
            _ => Err(ApiError::invalid_fields(errors)),
        }
    }
}

fn field<T: DeserializeOwned>(
    object: &Map<String, Value>,
    name: &str,
    expected: &str,
    fits: impl Fn(&T) -> bool,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let (code, detail) = match object.get(name) {
        None | Some(Value::Null) => ("missing", "is missing"),
        Some(value) => match T::deserialize(value) {
            Ok(value) if fits(&value) => return Some(value),
            _ => ("invalid", expected),
        },
    };
    errors.push(FieldError { pointer: format!("#/{name}"), code, detail: detail.to_owned() });
    None
}

/// The workflow's sentence, fit to be shown: one line, of bounded length, never empty.
fn sentence(error: &str) -> String {
    let line: String = error
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .fold(String::new(), |line, word| if line.is_empty() { word.to_owned() } else { line + " " + word });
    if line.is_empty() {
        Failure::WorkflowFailed.message().to_owned()
    } else if line.chars().nth(MAX_ERROR).is_some() {
        line.chars().take(MAX_ERROR - 1).chain(['…']).collect()
    } else {
        line
    }
}
