//! By the clock, every hour: asks the database which invariants its rows contradict, and what happened in the last hour that no
//! function can count.
//!
//! - Trigger: EventBridge Scheduler.
//! - Effects: log lines and metrics, by which alarms ring. It changes nothing and mends nothing.
//! - Once only: asked twice, the answer is the same. The metrics are values for a whole hour, so their maximum is read, not their
//!   sum.

mod config;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use lambda_kit::metrics;
use serde::de::IgnoredAny;
use supabase_client::Service;

pub use config::Config;

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    supabase: Service,
}

impl Deps {
    /// Builds the client; opens no connection.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(20))?;
        Ok(Self { supabase: Service::new(http, config.supabase_url, config.supabase_secret_key) })
    }
}

/// Serves one tick.
///
/// # Errors
/// When the database does not answer.
pub async fn handle(deps: Arc<Deps>, _: IgnoredAny) -> anyhow::Result<()> {
    let broken = deps.supabase.broken_invariants().await.context("failed to check the invariants")?;
    for found in &broken {
        let (invariant, sample) = (found.invariant.name(), found.sample.join(", "));
        tracing::error!(invariant, what = found.what, count = found.count, sample, "invariant broken");
        metrics::count_of("BrokenInvariants", ("Invariant", invariant), found.count);
    }
    // None is a number, too: an alarm rings where it is missing.
    metrics::count("BrokenInvariants", broken.iter().map(|found| found.count).sum());

    let hour = deps.supabase.last_hour().await.context("failed to ask for the last hour")?;
    for (kind, credits) in hour.credits() {
        metrics::count_of("CreditsMoved", ("Kind", kind), credits);
    }
    metrics::count("InfluencersTimedOut", hour.timed_out);
    tracing::info!(broken = broken.len(), ?hour, "invariants checked");
    Ok(())
}
