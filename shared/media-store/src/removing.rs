//! Taking objects away.

use anyhow::Context;

use crate::MediaStore;

impl MediaStore {
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
            for object in page.context("failed to list objects")?.contents() {
                self.remove(object.key().context("an object without a key")?).await?;
            }
        }
        Ok(())
    }
}
