//! How our AWS clients are configured: region, credentials and endpoint from the environment, requests by `http-client`.
//!
//! The SDK's own HTTP client would be a second stack in each function: with HTTP/2, and a TLS that reads the system's certificates.

use std::{env, sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::body::SdkBody;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use reqwest::{Body, Client, Request};

/// The longest that a request may take with its answer's last byte; most end by the [`timeouts`] before.
const LONGEST: Duration = Duration::from_secs(120);

/// The configuration for an AWS client of a function. Reads the environment (`AWS_REGION`, the credentials that Lambda sets, and on
/// one machine `AWS_ENDPOINT_URL` or a service's own, such as `AWS_ENDPOINT_URL_S3`), and neither files nor metadata services;
/// opens no connection.
pub async fn sdk_config() -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(setting("AWS_REGION").map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .service_config(OfOneService)
        .http_client(OurStack::new())
        .timeout_config(timeouts());
    config.set_endpoint_url(setting("AWS_ENDPOINT_URL"));
    config.build()
}

#[expect(clippy::disallowed_methods, reason = "the SDK's own settings, read as it reads them")]
fn setting(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Settings that the environment has for one service alone.
#[derive(Debug)]
struct OfOneService;

impl LoadServiceConfig for OfOneService {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        setting(&format!("{}_{}", key.env(), key.service_id().to_uppercase().replace(' ', "_")))
    }
}

/// The same for a person's shell: region and credentials from wherever the AWS tools look for them.
pub async fn sdk_config_of_a_shell() -> SdkConfig {
    let config = aws_config::defaults(BehaviorVersion::latest());
    config.http_client(OurStack::new()).timeout_config(timeouts()).load().await
}

/// Two tries fit in, and the whole into any function's time.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(6))
        .operation_timeout(Duration::from_secs(12))
        .build()
}

/// `http-client`, as the SDK wants it.
#[derive(Clone, Debug)]
struct OurStack(Arc<anyhow::Result<Client>>);

impl OurStack {
    fn new() -> Self {
        Self(Arc::new(http_client::client(LONGEST)))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let other = |error: BoxError| ConnectorError::other(error, None);
        let http = self.0.as_ref().as_ref().map_err(|error| other(format!("{error:#}").into()))?;
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let request = Request::try_from(request.map(Body::wrap)).map_err(|error| ConnectorError::user(error.into()))?;
        let response = http.execute(request).await.map_err(|error| {
            // A URL may carry a signature.
            let error = error.without_url();
            if error.is_timeout() { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
        })?;
        let response = http::Response::from(response);
        HttpResponse::try_from(response.map(SdkBody::from_body_1_x)).map_err(|error| other(error.into()))
    }
}

impl HttpConnector for OurStack {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let ours = self.clone();
        HttpConnectorFuture::new(async move { ours.send(request).await })
    }
}

impl HttpClient for OurStack {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
