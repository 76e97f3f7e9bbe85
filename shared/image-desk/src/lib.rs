//! Where pictures of the grid are published, liked, reported and hidden: how a path and a body name what is meant, and what is
//! answered where there is no such picture.
//!
//! It decides nothing: what may be is the database's to say.

use domain::id::ImageId;
use lambda_http::{
    Body, Request, RequestExt,
    http::{Method, StatusCode},
};
use lambda_kit::{ApiError, FieldError};
use serde_json::{Map, Value};

/// The picture that the path names as `{id}`.
///
/// # Errors
/// 404 `image_not_found` when that is no id.
pub fn image_id(request: &Request) -> Result<ImageId, ApiError> {
    let id = request.path_parameters_ref().and_then(|parameters| parameters.first("id")?.parse().ok());
    id.map(ImageId).ok_or_else(image_not_found)
}

/// 404: there is no such picture, or none that the caller may know of.
#[must_use]
pub fn image_not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "image_not_found", "There is no such picture.")
}

/// Whether something is to be so (`PUT`), or not (`DELETE`, the only other method of these routes).
pub fn is_wanted(request: &Request) -> bool {
    request.method() == Method::PUT
}

/// The body's only field, `reason`. `parse` answers what is wrong with it as a stable code and a phrase.
///
/// # Errors
/// 400 `malformed_json`, 422 `invalid_fields`.
pub fn reason<T>(body: &Body, parse: impl Fn(&str) -> Result<T, (&'static str, String)>) -> Result<T, ApiError> {
    let body: Map<String, Value> = serde_json::from_slice(body).map_err(|error| ApiError::malformed_json(&error))?;
    let parsed = match body.get("reason") {
        None | Some(Value::Null) => Err(("missing", "is missing".to_owned())),
        Some(Value::String(reason)) => parse(reason),
        Some(_) => Err(("not_a_string", "must be a text".to_owned())),
    };
    parsed.map_err(|(code, detail)| {
        ApiError::invalid_fields(vec![FieldError { pointer: "#/reason".to_owned(), code, detail }])
    })
}
