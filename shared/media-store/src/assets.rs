//! Files that users upload, as they came and as they are used: where they lie, and the way to and from there.

use std::path::Path;

use anyhow::Context;
use aws_sdk_s3::primitives::ByteStream;
use domain::id::{AssetId, UserId};
use lambda_kit::Spool;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::{MediaStore, Stored, is_precondition_failed, is_stored};

/// Metadata under which a clean copy says what it was made of.
const SOURCE: &str = "source";

/// The file that a clean copy was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// How long it is.
    pub bytes: u64,
    /// In pixels, the right way up.
    pub width: u32,
    /// In pixels, the right way up.
    pub height: u32,
}

/// What came of [`MediaStore::get`].
#[derive(Debug)]
pub enum Got {
    /// The whole object.
    Whole {
        /// Its file.
        file: Spool,
        /// How long it is.
        bytes: u64,
        /// Of a clean copy: what it was made of.
        source: Option<Source>,
    },
    /// More bytes than allowed.
    TooLarge,
    /// There is no such object (any more).
    Gone,
}

impl MediaStore {
    /// Whose upload lies at `key`, and which; `None` when no upload of ours is named like that.
    pub fn upload_at(key: &str) -> Option<(UserId, AssetId)> {
        let (user, file) = key.strip_prefix("uploads/")?.split_once('/')?;
        let (asset, _) = file.split_once('.')?;
        // As we write it, and no other way that it can be written.
        let id = |text: &str| Uuid::parse_str(text).ok().filter(|id| id.to_string() == text);
        Some((UserId(id(user)?), AssetId(id(asset)?)))
    }

    /// Where the clean copy of an upload lies.
    pub fn clean_copy_key(user_id: UserId, asset_id: AssetId) -> String {
        format!("assets/{user_id}/{asset_id}/image.webp")
    }

    /// Where its small one lies.
    pub fn clean_thumb_key(user_id: UserId, asset_id: AssetId) -> String {
        format!("assets/{user_id}/{asset_id}/thumb.webp")
    }

    /// Brings the object at `key` into a file, unless it has more than `max_bytes`, whatever was said of it before.
    ///
    /// # Errors
    /// When the bucket cannot be reached or refuses, or there is no room; try again later.
    pub async fn get(&self, key: &str, max_bytes: u64) -> anyhow::Result<Got> {
        let client = self.client().await;
        let mut object = match client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(Got::Gone),
            Err(error) => return Err(anyhow::Error::new(error).context("failed to read an object")),
        };
        let source = object.metadata().and_then(|metadata| serde_json::from_str(metadata.get(SOURCE)?).ok());
        let file = Spool::new().context("failed to make room for an object")?;
        let mut sink = file.writer().context("failed to make room for an object")?;
        let mut bytes = 0;
        while let Some(chunk) = object.body.try_next().await.context("failed to read an object")? {
            bytes += chunk.len() as u64;
            if bytes > max_bytes {
                return Ok(Got::TooLarge);
            }
            sink.write_all(&chunk).await.context("failed to keep an object")?;
        }
        sink.flush().await.context("failed to keep an object")?;
        Ok(Got::Whole { file, bytes, source })
    }

    /// Stores the clean copy at `path`, unless one lies there: the first one stays, whatever else comes under the same name.
    ///
    /// # Errors
    /// When the bucket cannot be reached or refuses; try again later.
    pub async fn put_clean_copy(&self, key: &str, path: &Path, source: &Source) -> anyhow::Result<Stored> {
        let body = ByteStream::from_path(path).await.context("failed to read a picture")?;
        let request = self.client().await.put_object().bucket(&self.bucket).key(key).body(body);
        let request = request.content_type("image/webp").metadata(SOURCE, serde_json::to_string(source)?);
        match request.if_none_match("*").send().await {
            Ok(answer) => is_stored(&answer).map(|()| Stored::New),
            Err(error) if is_precondition_failed(&error) => Ok(Stored::AlreadyThere),
            Err(error) => Err(anyhow::Error::new(error).context("failed to store a picture")),
        }
    }

    /// Stores the file at `path`, in place of what lies there.
    ///
    /// # Errors
    /// When the bucket cannot be reached or refuses; try again later.
    pub async fn put(&self, key: &str, path: &Path, content_type: &str) -> anyhow::Result<()> {
        let body = ByteStream::from_path(path).await.context("failed to read a picture")?;
        let request = self.client().await.put_object().bucket(&self.bucket).key(key).body(body);
        let answer = request.content_type(content_type).send().await.context("failed to store a picture")?;
        is_stored(&answer)
    }

    /// Removes an object; one that is not there is removed already.
    ///
    /// # Errors
    /// When the bucket cannot be reached or refuses; try again later.
    pub async fn remove(&self, key: &str) -> anyhow::Result<()> {
        let request = self.client().await.delete_object().bucket(&self.bucket).key(key);
        request.send().await.context("failed to remove an object")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_as_we_write_them_are_uploads() {
        let (user, asset) = (UserId(Uuid::from_u128(1)), AssetId(Uuid::from_u128(0xab)));
        let key = format!("uploads/{user}/{asset}.png");
        assert_eq!(MediaStore::upload_at(&key), Some((user, asset)));
        for strange in [
            key.to_uppercase(),
            key.replace("uploads", "outputs"),
            key.replace('-', ""),
            key.replace(".png", ""),
            format!("/{key}"),
            format!("uploads/{user}/{asset}/x.png"),
            format!("uploads/{user}/../{asset}.png"),
            format!("uploads/{{{user}}}/{asset}.png"),
            format!("uploads/{user}.png"),
            String::new(),
        ] {
            assert_eq!(MediaStore::upload_at(&strange), None, "{strange}");
        }
    }
}
