//! Wires delete-account; what it does is in lib.rs.

use delete_account::{Config, Deps, handle};
use lambda_kit::{Settings, serve_http, start_logging};

#[tokio::main]
async fn main() -> Result<(), lambda_kit::Error> {
    start_logging();
    let config = Config::read(&Settings::from_env())?;
    serve_http(Deps::new(config)?, handle).await
}
