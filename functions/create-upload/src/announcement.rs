//! What the user says of the file that she is going to upload.

use lambda_http::Body;
use lambda_kit::{ApiError, FieldError};
use serde_json::{Map, Value};

/// Most bytes of a file.
pub(crate) const MAX_BYTES: u64 = 10 << 20;

/// What a file may claim to be.
const CONTENT_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/gif"];

/// Most characters of a file's name.
const MAX_NAME: usize = 200;

/// A parsed request body.
#[derive(Debug)]
pub(crate) struct Announcement {
    /// For showing, and nothing else.
    pub(crate) filename: String,
    pub(crate) content_type: &'static str,
}

/// What is wrong with a field: a stable code and a phrase.
type Wrong = (&'static str, String);

impl Announcement {
    /// Parses the body; names every bad field at once.
    pub(crate) fn parse(body: &Body) -> Result<Self, ApiError> {
        let object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| ApiError::malformed_json(&error))?;
        let mut errors = Vec::new();
        let filename = field(&object, "filename", filename, &mut errors);
        let content_type = field(&object, "content_type", content_type, &mut errors);
        let size = field(&object, "size", size, &mut errors);
        match (filename, content_type, size) {
            (Some(filename), Some(content_type), Some(())) => Ok(Self { filename, content_type }),
            _ => Err(ApiError::invalid_fields(errors)),
        }
    }
}

/// The last part of a path, without what cannot be seen and what turns the rest around.
fn filename(value: &Value) -> Result<String, Wrong> {
    let name = text(value)?.rsplit(['/', '\\']).next().unwrap_or_default();
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let name: String = name.chars().filter(|c| !c.is_control() && !turns(*c)).collect();
    let name = name.trim();
    if name.is_empty() {
        Err(("too_short", "must not be empty".to_owned()))
    } else if name.chars().nth(MAX_NAME).is_some() {
        Err(("too_long", format!("must have at most {MAX_NAME} characters")))
    } else {
        Ok(name.to_owned())
    }
}

fn content_type(value: &Value) -> Result<&'static str, Wrong> {
    let claimed = text(value)?;
    let known = CONTENT_TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(claimed));
    known.ok_or(("unsupported", "must be a JPEG, PNG, WebP or GIF picture".to_owned()))
}

fn size(value: &Value) -> Result<(), Wrong> {
    match value.as_u64() {
        None => Err(("not_a_size", "must be a number of bytes".to_owned())),
        Some(0) => Err(("too_small", "must not be empty".to_owned())),
        Some(1..=MAX_BYTES) => Ok(()),
        Some(_) => Err(("too_large", format!("must be at most {} MB", MAX_BYTES >> 20))),
    }
}

fn text(value: &Value) -> Result<&str, Wrong> {
    value.as_str().ok_or(("not_a_string", "must be a text".to_owned()))
}

fn field<'a, T>(
    object: &'a Map<String, Value>,
    name: &str,
    parse: impl Fn(&'a Value) -> Result<T, Wrong>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let parsed = match object.get(name) {
        None | Some(Value::Null) => Err(("missing", "is missing".to_owned())),
        Some(value) => parse(value),
    };
    parsed.map_err(|(code, detail)| errors.push(FieldError { pointer: format!("#/{name}"), code, detail })).ok()
}
