//! Wires check-invariants; what it does is in lib.rs.

use check_invariants::{Config, Deps, handle};
use lambda_kit::{Settings, serve_schedule, start_logging};

#[tokio::main]
async fn main() -> Result<(), lambda_kit::Error> {
    start_logging();
    let config = Config::read(&Settings::from_env())?;
    serve_schedule(Deps::new(config)?, handle).await
}
