//! Wires list-images; what it does is in lib.rs.

use lambda_kit::{Settings, serve_http, start_logging};
use list_images::{Config, Deps, handle};

#[tokio::main]
async fn main() -> Result<(), lambda_kit::Error> {
    start_logging();
    let config = Config::read(&Settings::from_env())?;
    serve_http(Deps::new(config)?, handle).await
}
