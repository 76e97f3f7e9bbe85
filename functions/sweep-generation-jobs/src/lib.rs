//! Every five minutes: puts jobs into the queue again whose message or webhook got lost, and gives up those that are far past
//! their deadline, so that credits come back in bounded time (invariant I7). Likewise ends of accounts that were not reached.
//!
//! - Trigger: EventBridge Scheduler.
//! - Effects: what `sweep_generation_jobs` says, and a message for each job and each leaving user that is due.
//! - Once only: a job is swept by one call, and again four minutes later if nobody looked at it (an account after an hour);
//!   workers bear messages twice.

mod config;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use job_queue::{EraseAccount, GenerateImage, Queue};
use lambda_kit::metrics;
use serde::de::IgnoredAny;
use supabase_client::Service;

pub use config::Config;

/// Jobs, or accounts, of one round trip.
const BATCH: u32 = 100;
/// Messages on their way at the same time.
const SENDING: usize = 10;
/// Round trips of one tick: what is left over waits for the next one.
const ROUNDS: usize = 20;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    supabase: Service,
    queue: Queue,
    erasures: Queue,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(10))?;
        Ok(Self {
            supabase: Service::new(http, config.supabase_url, config.supabase_secret_key),
            queue: Queue::new(config.generation_queue_url),
            erasures: Queue::new(config.erasure_queue_url),
        })
    }
}

/// Serves one tick.
///
/// # Errors
/// When database or queue do not answer: a later tick finds the same jobs and accounts.
pub async fn handle(deps: Arc<Deps>, _: IgnoredAny) -> anyhow::Result<()> {
    let (mut queued, mut failed) = (0, 0);
    for _ in 0..ROUNDS {
        let swept = deps.supabase.sweep_generation_jobs(BATCH).await.context("failed to sweep")?;
        (queued, failed) = (queued + swept.due.len(), failed + swept.failed);
        if swept.failed > 0 {
            metrics::count_of("GenerationJobsFailed", ("Reason", "timed_out"), swept.failed.into());
        }
        let more = swept.due.len() == BATCH as usize || swept.failed == BATCH;
        let sending = stream::iter(swept.due).map(|job_id| {
            let deps = &deps;
            async move { deps.queue.send(&GenerateImage { job_id }).await }
        });
        sending.buffer_unordered(SENDING).try_collect::<()>().await?;
        if !more {
            break;
        }
    }
    tracing::info!(queued, failed, "jobs swept");

    let leaving = deps.supabase.sweep_account_deletions(BATCH).await.context("failed to sweep accounts")?;
    for user_id in leaving {
        tracing::warn!(user.id = %user_id, "account not erased yet");
        deps.erasures.send(&EraseAccount { user_id }).await?;
    }
    Ok(())
}
