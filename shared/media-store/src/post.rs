//! Presigned POST: a form by which a browser puts one file into the bucket
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html>). The SDK has none, so its policy is signed here.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use aws_sdk_s3::{
    config::{Credentials, ProvideCredentials},
    presigning::PresigningConfig,
};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::json;

use crate::{Connection, MediaStore};

/// How long an upload may begin.
pub const FORM_LIFETIME: Duration = Duration::from_secs(600);

/// A form for a browser: all `fields` and then the file, sent to `url` as `multipart/form-data`.
#[derive(Clone, Debug)]
pub struct Form {
    /// Where it goes.
    pub url: String,
    /// What has to stand before the file.
    pub fields: BTreeMap<&'static str, String>,
    /// When S3 stops taking it.
    pub expires_at: Timestamp,
}

impl MediaStore {
    /// A form that puts a file at exactly `key`, of exactly this content type, of 1 to `max_bytes` bytes.
    ///
    /// # Errors
    /// When there are no credentials to sign with.
    pub async fn upload_form(
        &self,
        key: &str,
        content_type: &str,
        max_bytes: u64,
        now: Timestamp,
    ) -> anyhow::Result<Form> {
        let Connection { client, credentials } = self.connection().await;
        let region = client.config().region().context("there is no region to sign for")?.as_ref();
        let credentials = credentials.as_ref().context("there are no credentials to sign with")?;
        let credentials = credentials.provide_credentials().await.context("there are no credentials to sign with")?;
        // The SDK knows how a bucket is addressed, in the cloud and on one machine; a signed request of its own says it.
        let presigning = PresigningConfig::expires_in(FORM_LIFETIME)?;
        let request = client.list_object_versions().bucket(&self.bucket).presigned(presigning).await;
        let request = request.context("failed to find the bucket's address")?;
        let url = request.uri().split('?').next().unwrap_or_default().to_owned();

        let expires_at = now + FORM_LIFETIME;
        let mut fields = BTreeMap::from([("key", key.to_owned()), ("Content-Type", content_type.to_owned())]);
        sign(&mut fields, &self.bucket, max_bytes, expires_at, &credentials, region, now);
        Ok(Form { url, fields, expires_at })
    }
}

/// Adds the policy, which allows these fields as they are and no other, and its signature.
fn sign(
    fields: &mut BTreeMap<&'static str, String>,
    bucket: &str,
    max_bytes: u64,
    expires_at: Timestamp,
    credentials: &Credentials,
    region: &str,
    now: Timestamp,
) {
    let scope = format!("{}/{}/{region}/s3/aws4_request", credentials.access_key_id(), now.strftime("%Y%m%d"));
    fields.insert("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned());
    fields.insert("x-amz-credential", scope);
    fields.insert("x-amz-date", now.strftime("%Y%m%dT%H%M%SZ").to_string());
    if let Some(token) = credentials.session_token() {
        fields.insert("x-amz-security-token", token.to_owned());
    }
    let exactly = fields.iter().map(|(name, value)| json!({ *name: value }));
    let others = [json!({ "bucket": bucket }), json!(["content-length-range", 1, max_bytes])];
    let expiration = expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let conditions: Vec<_> = exactly.chain(others).collect();
    let policy = BASE64_STANDARD.encode(json!({ "expiration": expiration, "conditions": conditions }).to_string());

    let key = generate_signing_key(credentials.secret_access_key(), now.into(), region, "s3");
    fields.insert("x-amz-signature", calculate_signature(key, policy.as_bytes()));
    fields.insert("policy", policy);
}
