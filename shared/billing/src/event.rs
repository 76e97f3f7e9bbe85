//! Stripe's events as they come by webhook (<https://docs.stripe.com/api/events/object>).

use lambda_kit::json_cause;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// A snapshot event: something happened, and this is the object as it then was, in the version of the endpoint.
#[derive(Clone, Debug)]
pub struct Event {
    raw: Value,
    fields: Fields,
}

#[derive(Clone, Debug, Deserialize)]
struct Fields {
    id: String,
    r#type: String,
    livemode: bool,
    #[expect(dead_code, reason = "the database wants it, as a time: an event without one is none")]
    created: u32,
    data: Data,
}

#[derive(Clone, Debug, Deserialize)]
struct Data {
    object: Value,
}

/// Why a text is no event that we can read.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON, or not an event.
    #[error("no Stripe event: {0}")]
    Malformed(String),
    /// A thin event, which carries no object. Our endpoint has to be one for snapshot events.
    #[error("a thin event: the endpoint has to be set up for snapshot events")]
    Thin,
}

impl Event {
    /// Reads the body of a webhook, whose signature was checked.
    ///
    /// # Errors
    /// When it is no snapshot event.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        Self::from_value(serde_json::from_slice(body).map_err(malformed)?)
    }

    /// Reads an event that was kept.
    ///
    /// # Errors
    /// When it is no snapshot event.
    pub fn from_value(raw: Value) -> Result<Self, EventError> {
        match raw["object"].as_str() {
            Some("event") => Ok(Self { fields: Fields::deserialize(&raw).map_err(malformed)?, raw }),
            Some(other) if other.starts_with("v2.") => Err(EventError::Thin),
            _ => Err(EventError::Malformed("its object is no event".to_owned())),
        }
    }

    /// `evt_…`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.fields.id
    }

    /// What happened: `invoice.paid` and the like.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.fields.r#type
    }

    /// Whether it is about real money.
    #[must_use]
    pub fn livemode(&self) -> bool {
        self.fields.livemode
    }

    /// The whole event.
    #[must_use]
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The object that it is about.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<T, EventError> {
        T::deserialize(&self.fields.data.object).map_err(malformed)
    }
}

fn malformed(error: serde_json::Error) -> EventError {
    // Not serde's own words: they would quote what stands there.
    EventError::Malformed(json_cause(&error).to_string())
}
