//! By the clock: throws away what has had its time. Weekly, uploads of 30 days and the objects of all that was deleted; monthly,
//! events of jobs of 90 days.
//!
//! - Trigger: EventBridge Scheduler, with [`Task`] as input.
//! - Effects: rows go in batches; their objects' keys stay in `orphaned_objects` until the objects are gone.
//! - Once only: what is gone is gone. Killed anywhere, the next tick finds what is left.

mod config;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use media_store::MediaStore;
use serde::Deserialize;
use supabase_client::Service;

pub use config::Config;

/// Rows or keys of one round trip.
const BATCH: u32 = 500;

/// Keys that are removed at the same time.
const REMOVING: usize = 10;

/// What is to be thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Uploads that are older than 30 days, and objects whose rows are gone.
    Uploads,
    /// Events of jobs that are older than 90 days.
    JobEvents,
}

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    supabase: Service,
    media: MediaStore,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(20))?;
        Ok(Self {
            supabase: Service::new(http, config.supabase_url, config.supabase_secret_key),
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
        })
    }
}

/// Serves one tick.
///
/// # Errors
/// When database or bucket do not answer: the next tick goes on.
pub async fn handle(deps: Arc<Deps>, task: Task) -> anyhow::Result<()> {
    match task {
        Task::Uploads => {
            let mut rows = 0;
            loop {
                let deleted = deps.supabase.delete_old_uploads(BATCH).await.context("failed to delete uploads")?;
                rows += deleted;
                if deleted < BATCH {
                    break;
                }
            }
            let objects = remove_orphans(&deps).await?;
            tracing::info!(rows, objects, "uploads cleaned up");
        }
        Task::JobEvents => {
            let mut rows = 0;
            loop {
                let deleted = deps.supabase.delete_old_job_events(BATCH).await.context("failed to delete events")?;
                rows += deleted;
                if deleted < BATCH {
                    break;
                }
            }
            tracing::info!(rows, "events cleaned up");
        }
    }
    Ok(())
}

/// Objects first, then their keys: killed in between, they are removed once more.
async fn remove_orphans(deps: &Deps) -> anyhow::Result<usize> {
    let mut all = 0;
    loop {
        let keys = deps.supabase.orphaned_object_keys(BATCH).await.context("failed to read orphaned keys")?;
        let removing = stream::iter(keys.clone()).map(|key| async move { deps.media.remove_all(&key).await });
        removing.buffer_unordered(REMOVING).try_collect::<()>().await?;
        deps.supabase.forget_orphaned_objects(&keys).await.context("failed to forget orphaned keys")?;
        all += keys.len();
        if keys.len() < BATCH as usize {
            return Ok(all);
        }
    }
}
