//! How every function runs: settings, logging, metrics, traces, errors that become responses, HTTP, queue and clock handlers, room
//! on the disk.
//!
//! It knows Lambda and HTTP, and nothing of what Sweetheart is about.

mod error;
mod http;
pub mod metrics;
mod queue;
mod schedule;
mod settings;
mod spool;
pub mod trace;

pub use error::{ApiError, FieldError, json_cause};
pub use http::{http_service, json, serve_http};
pub use lambda_runtime::Error;
pub use queue::{Message, run_batch, serve_queue};
pub use schedule::serve_schedule;
pub use settings::{SettingError, Settings};
pub use spool::Spool;

/// Starts logging: JSON lines in the cloud (`AWS_LAMBDA_LOG_FORMAT`), readable lines elsewhere; level by
/// `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG`, INFO when neither is set.
pub fn start_logging() {
    lambda_runtime::tracing::init_default_subscriber();
}
