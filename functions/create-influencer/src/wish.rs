//! What the user asks for.

use domain::text::{Bio, CharacterName, TextError, Vibe};
use lambda_http::Body;
use lambda_kit::{ApiError, FieldError};
use serde_json::{Map, Value};

/// A parsed request body.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) name: CharacterName,
    pub(crate) bio: Bio,
    pub(crate) vibe: Vibe,
}

impl Wish {
    /// Parses the body; names every bad field at once.
    pub(crate) fn parse(body: &Body) -> Result<Self, ApiError> {
        let object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| ApiError::malformed_json(&error))?;
        let mut errors = Vec::new();
        let name = field(&object, "name", CharacterName::parse, &mut errors);
        let bio = field(&object, "bio", Bio::parse, &mut errors);
        let vibe = field(&object, "vibe", Vibe::parse, &mut errors);
        match (name, bio, vibe) {
            (Some(name), Some(bio), Some(vibe)) => Ok(Self { name, bio, vibe }),
            _ => Err(ApiError::invalid_fields(errors)),
        }
    }
}

fn field<T>(
    object: &Map<String, Value>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, TextError>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let (code, detail) = match object.get(name) {
        None | Some(Value::Null) => ("missing", "is missing".to_owned()),
        Some(Value::String(text)) => match parse(text) {
            Ok(value) => return Some(value),
            Err(error) => (error.code(), error.to_string()),
        },
        Some(_) => ("not_a_string", "must be a text".to_owned()),
    };
    errors.push(FieldError { pointer: format!("#/{name}"), code, detail });
    None
}
