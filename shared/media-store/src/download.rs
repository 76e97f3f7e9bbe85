//! Links by which a browser saves a file: it heeds the `download` of a link only within one origin.

use anyhow::Context;
use aws_sdk_s3::presigning::PresigningConfig;
use jiff::Timestamp;

use crate::{LINK_LIFETIME, Link, MediaStore};

impl MediaStore {
    /// A link that saves the object `key` as `filename`, which needs no quoting.
    ///
    /// # Errors
    /// When there are no credentials to sign with.
    pub async fn download(&self, key: &str, filename: &str, now: Timestamp) -> anyhow::Result<Link> {
        let presigning = PresigningConfig::builder().start_time(now.into()).expires_in(LINK_LIFETIME).build()?;
        let request = self.client().await.get_object().bucket(&self.bucket).key(key);
        let request = request.response_content_disposition(format!("attachment; filename=\"{filename}\""));
        let request = request.presigned(presigning).await.context("failed to sign a link")?;
        Ok(Link { url: request.uri().to_owned(), expires_at: Some(now + LINK_LIFETIME) })
    }
}
