//! Where users ask for pictures and after them: what create- and retry-generation-job answer, how get- and
//! list-generation-jobs show a job, and how a path names one.
//!
//! It decides nothing: what may be is the database's to say, what is done the worker's.

mod asked;
mod shown;

use domain::id::JobId;
use lambda_http::{Request, RequestExt, http::StatusCode};
use lambda_kit::ApiError;

pub use asked::answer;
pub use shown::shown;

/// The job that the path names as `{id}`.
///
/// # Errors
/// 404 `no_such_job` when that is no id.
pub fn job_id(request: &Request) -> Result<JobId, ApiError> {
    let id = request.path_parameters_ref().and_then(|parameters| parameters.first("id")?.parse().ok());
    id.map(JobId).ok_or_else(no_such_job)
}

/// 404: the caller has no such job, whether or not somebody else has.
#[must_use]
pub fn no_such_job() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_such_job", "You have no such picture.")
}
