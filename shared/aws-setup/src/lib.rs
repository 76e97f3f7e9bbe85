//! How our AWS clients are configured: region, credentials and endpoint from the environment, TLS by rustls with ring.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// The configuration for an AWS client. Reads the environment (`AWS_REGION`, the credentials that Lambda sets, and
/// `AWS_ENDPOINT_URL` on one machine); opens no connection.
pub async fn sdk_config() -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}
