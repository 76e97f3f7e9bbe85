//! What the user wants to buy, and where she comes back to.

use lambda_http::Body;
use lambda_kit::{ApiError, FieldError};
use serde_json::{Map, Value};
use stripe_client::Site;
use supabase_client::Wanted;
use url::Url;

/// A parsed request body.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) wanted: Wanted,
    pub(crate) success_url: Url,
    pub(crate) cancel_url: Url,
}

/// What is wrong with a field: a stable code and a phrase.
type Wrong = (&'static str, String);

impl Order {
    /// Parses the body; names every bad field at once.
    pub(crate) fn parse(body: &Body, site: &Site) -> Result<Self, ApiError> {
        let object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| ApiError::malformed_json(&error))?;
        let mut errors = Vec::new();
        let plan_id = field(&object, "plan_id", id, &mut errors);
        let pack_id = field(&object, "pack_id", id, &mut errors);
        let url = |text: &str| site.parse(text).map_err(|error| (error.code(), error.to_string()));
        let success_url = field(&object, "success_url", url, &mut errors);
        let cancel_url = field(&object, "cancel_url", url, &mut errors);

        let given = |name| object.get(name).is_some_and(|value| !value.is_null());
        match (given("plan_id"), given("pack_id")) {
            (false, false) => errors.push(bad("plan_id", ("missing", "is missing, and so is pack_id".to_owned()))),
            (true, true) => errors.push(bad("pack_id", ("not_allowed", "cannot go with plan_id".to_owned()))),
            _ => {}
        }
        match plan_id.map(Wanted::Plan).or(pack_id.map(Wanted::Pack)) {
            Some(wanted) if errors.is_empty() => Ok(Self {
                wanted,
                success_url: success_url.unwrap_or_else(|| site.page("/dashboard", Some("checkout=success"))),
                cancel_url: cancel_url.unwrap_or_else(|| site.page("/dashboard", Some("checkout=cancelled"))),
            }),
            _ => Err(ApiError::invalid_fields(errors)),
        }
    }

    /// The error where there is no such thing, or it is not for sale.
    pub(crate) fn unknown(&self) -> ApiError {
        let name = match self.wanted {
            Wanted::Plan(_) => "plan_id",
            Wanted::Pack(_) => "pack_id",
        };
        ApiError::invalid_fields(vec![bad(name, ("unknown", "is nothing that can be bought".to_owned()))])
    }
}

fn id(text: &str) -> Result<String, Wrong> {
    let well_formed = (1..=100).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if well_formed { Ok(text.to_owned()) } else { Err(("invalid", "is no id".to_owned())) }
}

fn field<T>(
    object: &Map<String, Value>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, Wrong>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let wrong = match object.get(name) {
        None | Some(Value::Null) => return None,
        Some(Value::String(text)) => match parse(text) {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        },
        Some(_) => ("invalid", "must be a text".to_owned()),
    };
    errors.push(bad(name, wrong));
    None
}

fn bad(name: &str, (code, detail): Wrong) -> FieldError {
    FieldError { pointer: format!("#/{name}"), code, detail }
}
