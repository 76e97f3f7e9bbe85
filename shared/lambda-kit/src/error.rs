//! Errors as clients see them: `application/problem+json` (RFC 9457) with a stable `code`.

use std::collections::BTreeMap;

use lambda_http::{
    Body, Response,
    http::{StatusCode, header},
};
use serde::Serialize;
use serde_json::Value;

/// What was wrong with a JSON text, for the log: serde's own words would quote the text, and with it personal data.
pub fn json_cause(error: &serde_json::Error) -> anyhow::Error {
    anyhow::anyhow!("{:?} error in JSON at line {} column {}", error.classify(), error.line(), error.column())
}

/// What is wrong with one field of a request body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer into the body, as a fragment: `#/name`.
    pub pointer: String,
    /// Stable code.
    pub code: &'static str,
    /// A phrase for people.
    pub detail: String,
}

/// A refusal or a failure: what the client gets to know, and the cause that only the log does.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    extensions: BTreeMap<&'static str, Value>,
    retry_after: Option<u32>,
    cause: Option<anyhow::Error>,
}

impl ApiError {
    /// An error with a status, a stable code and a sentence that says what to do.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let (errors, extensions) = (Vec::new(), BTreeMap::new());
        Self { status, code, detail: detail.into(), errors, extensions, retry_after: None, cause: None }
    }

    /// 400: the body is not the JSON object that it should be.
    pub fn malformed_json(error: &serde_json::Error) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_json", "The body must be a JSON object.")
            .because(json_cause(error))
    }

    /// 401: nobody we know is calling.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// 401: the token is good, and its user is gone.
    pub fn account_gone() -> Self {
        Self::unauthenticated("This account no longer exists.")
    }

    /// 422: fields are wrong, each of them named.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = "Some fields need another look.";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", detail) }
    }

    /// 503: a part that we need does not answer; the same request may work soon.
    pub fn unavailable(code: &'static str, cause: impl Into<anyhow::Error>) -> Self {
        let detail = "We cannot do this right now. Please try again in a moment.";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        error.retry_after(5).because(cause)
    }

    /// Adds a member of its own to the problem (RFC 9457, section 3.2): what the client needs to go on.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.insert(member, value.into());
        self
    }

    /// Says after how many seconds the same request may be answered otherwise (`Retry-After`).
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn because(self, cause: impl Into<anyhow::Error>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The bad fields of an [`invalid_fields`](Self::invalid_fields) error; else empty.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// What was added by [`with`](Self::with).
    pub fn extensions(&self) -> &BTreeMap<&'static str, Value> {
        &self.extensions
    }

    /// The whole chain of causes in one line; empty when the error is the client's own.
    pub fn causes(&self) -> String {
        self.cause.as_ref().map(|cause| format!("{cause:#}")).unwrap_or_default()
    }

    /// The response, with the id under which the log line can be found.
    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            detail: &'a str,
            code: &'static str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldError],
            #[serde(flatten)]
            extensions: &'a BTreeMap<&'static str, Value>,
        }
        let problem = Problem {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
            errors: &self.errors,
            extensions: &self.extensions,
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = Response::new(Body::Text(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<anyhow::Error> for ApiError {
    /// Whatever nobody expected: 500, and the cause goes to the log.
    fn from(cause: anyhow::Error) -> Self {
        let detail = "Something went wrong on our side. Please try again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).because(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_its_own_members_and_those_that_were_added() {
        let error = ApiError::new(StatusCode::CONFLICT, "already_subscribed", "You are.");
        let error = error.with("portal_url", "https://billing.example/p").with("credits", 3).retry_after(60);
        let response = error.into_response("r-1");
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()["retry-after"], "60");
        let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Conflict", "status": 409, "detail": "You are.", "code": "already_subscribed",
            "request_id": "r-1", "portal_url": "https://billing.example/p", "credits": 3,
        });
        assert_eq!(problem, expected);
    }
}
