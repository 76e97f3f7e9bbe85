//! All that lies below a prefix: what there is, and taking it away.

use anyhow::{Context, ensure};
use aws_sdk_s3::types::{Delete, Object, ObjectIdentifier};
use domain::id::UserId;

use crate::MediaStore;

/// An object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Where it lies.
    pub key: String,
    /// How long it is.
    pub bytes: i64,
}

impl MediaStore {
    /// The prefixes below which everything of a user lies, and nothing of anybody else.
    #[must_use]
    pub fn folders_of(user_id: UserId) -> [String; 4] {
        ["users", "uploads", "assets", "outputs"].map(|folder| format!("{folder}/{user_id}/"))
    }

    /// What lies below `prefix`.
    ///
    /// # Errors
    /// When the bucket cannot be reached or refuses.
    pub async fn list(&self, prefix: &str) -> anyhow::Result<Vec<Stock>> {
        let client = self.client().await;
        let mut pages = client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.context("failed to list objects")?.contents() {
                found.push(Stock { key: key(object)?, bytes: object.size().unwrap_or_default() });
            }
        }
        Ok(found)
    }

    /// Removes the object at `key`; with a slash at its end, all that lies below. What is not there is removed already.
    ///
    /// # Errors
    /// When the bucket cannot be reached or refuses; try again later.
    pub async fn remove_all(&self, key: &str) -> anyhow::Result<()> {
        if !key.ends_with('/') {
            return self.remove(key).await;
        }
        let client = self.client().await;
        let mut pages = client.list_objects_v2().bucket(&self.bucket).prefix(key).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.context("failed to list objects")?;
            if page.contents().is_empty() {
                break;
            }
            // A page has a thousand at most, and so may a request to delete.
            let objects =
                page.contents().iter().map(|object| Ok(ObjectIdentifier::builder().key(self::key(object)?).build()?));
            let objects = objects.collect::<anyhow::Result<Vec<_>>>()?;
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build()?;
            let deleted = client.delete_objects().bucket(&self.bucket).delete(delete).send().await;
            let refused = deleted.context("failed to remove objects")?.errors.unwrap_or_default();
            ensure!(
                refused.is_empty(),
                "the bucket keeps {} objects: {:?}",
                refused.len(),
                refused.first().map(|one| one.code())
            );
        }
        Ok(())
    }
}

fn key(object: &Object) -> anyhow::Result<String> {
    object.key().map(str::to_owned).context("an object without a key")
}
