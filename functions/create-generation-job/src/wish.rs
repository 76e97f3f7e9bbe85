//! What the user asks for.

use domain::{
    id::{AssetId, InfluencerId},
    text::ImagePrompt,
};
use lambda_http::{Request, http::HeaderMap};
use lambda_kit::{ApiError, FieldError};
use serde_json::{Map, Value};
use supabase_client::GenerationWish;
use uuid::Uuid;

/// A parsed request.
#[derive(Debug)]
pub(crate) struct Wish {
    /// The client's, or one of the request's own. Marked, so that none is mistaken for a retry's.
    pub(crate) request_key: String,
    pub(crate) generation: GenerationWish,
}

/// What is wrong with a field: a stable code and a phrase.
type Wrong = (&'static str, String);

impl Wish {
    /// Parses key and body; names every bad field at once.
    pub(crate) fn parse(request: &Request) -> Result<Self, ApiError> {
        let object = serde_json::from_slice(request.body()).map_err(|error| ApiError::malformed_json(&error))?;
        let mut fields = Fields { object, errors: Vec::new() };
        let key = match key(request.headers()) {
            Ok(key) => Some(key),
            Err(error) => {
                fields.errors.push(error);
                None
            }
        };
        let prompt = fields.required("prompt", prompt);
        let input_asset_id = fields.optional("input_asset_id", uuid).map(AssetId);
        let influencer_id = fields.optional("influencer_id", uuid).map(InfluencerId);
        if fields.has("input_asset_id") && fields.has("influencer_id") {
            fields.bad("influencer_id", ("not_allowed", "cannot go with input_asset_id".to_owned()));
        }
        let model_preset = fields.required("model_preset", id);
        let pose_preset = fields.required("pose_preset", id);
        let scene_preset = fields.required("scene_preset", id);
        let generation_type = fields.required("generation_type", id);
        match (key, prompt, model_preset, pose_preset, scene_preset, generation_type) {
            (
                Some(key),
                Some(prompt),
                Some(model_preset),
                Some(pose_preset),
                Some(scene_preset),
                Some(generation_type),
            ) if fields.errors.is_empty() => {
                let prompt = prompt.as_str().to_owned();
                let generation = GenerationWish {
                    prompt,
                    input_asset_id,
                    influencer_id,
                    model_preset,
                    pose_preset,
                    scene_preset,
                    generation_type,
                };
                Ok(Self { request_key: format!("key:{key}"), generation })
            }
            _ => Err(ApiError::invalid_fields(fields.errors)),
        }
    }
}

fn key(headers: &HeaderMap) -> Result<String, FieldError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(Uuid::new_v4().to_string()) };
    match key.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) && key.chars().all(|c| c.is_ascii_graphic()) => Ok(key.to_owned()),
        _ => {
            let detail = "must be 1 to 255 visible ASCII characters".to_owned();
            Err(FieldError { pointer: "Idempotency-Key".to_owned(), code: "invalid", detail })
        }
    }
}

fn prompt(text: &str) -> Result<ImagePrompt, Wrong> {
    ImagePrompt::parse(text).map_err(|error| (error.code(), error.to_string()))
}

fn uuid(text: &str) -> Result<Uuid, Wrong> {
    text.parse().map_err(|_| ("invalid", "is no id".to_owned()))
}

fn id(text: &str) -> Result<String, Wrong> {
    let well_formed = (1..=100).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if well_formed { Ok(text.to_owned()) } else { Err(("invalid", "is no id".to_owned())) }
}

/// A body, and what is wrong with it so far.
struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    fn required<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        if !self.has(name) {
            self.bad(name, ("missing", "is missing".to_owned()));
        }
        self.optional(name, parse)
    }

    fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let wrong = match self.object.get(name) {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) => match parse(text) {
                Ok(value) => return Some(value),
                Err(wrong) => wrong,
            },
            Some(_) => ("not_a_string", "must be a text".to_owned()),
        };
        self.bad(name, wrong);
        None
    }

    fn bad(&mut self, name: &str, (code, detail): Wrong) {
        self.errors.push(FieldError { pointer: format!("#/{name}"), code, detail });
    }
}
