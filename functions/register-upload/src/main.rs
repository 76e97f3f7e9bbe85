//! Wires register-upload; what it does is in lib.rs.

use lambda_kit::{Settings, serve_queue, start_logging};
use register_upload::{Config, Deps, handle};

#[tokio::main]
async fn main() -> Result<(), lambda_kit::Error> {
    start_logging();
    let config = Config::read(&Settings::from_env())?;
    serve_queue(Deps::new(config)?, handle).await
}
