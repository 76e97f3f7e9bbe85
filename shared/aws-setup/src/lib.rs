//! How our AWS clients are configured: region, credentials and endpoint from the environment, TLS by rustls with ring.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// The configuration for an AWS client. Reads the environment (`AWS_REGION`, the credentials that Lambda sets, and
/// `AWS_ENDPOINT_URL` on one machine); opens no connection.
pub async fn sdk_config() -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    // Two tries fit in, and the whole into any function's time.
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(6))
        .operation_timeout(Duration::from_secs(12))
        .build();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(timeouts).load().await
}
