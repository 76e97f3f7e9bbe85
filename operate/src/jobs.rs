//! `jobs`: how generation jobs stand, what was bought today, and which jobs failed. Prints no prompt.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use lambda_kit::Settings;
use supabase_client::{FailedJob, Service};

use crate::End;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Failed jobs that are printed.
const MOST: usize = 100;

/// Prints the three of them.
pub(crate) async fn show(settings: &Settings, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<End> {
    let (url, key) = (settings.url("SUPABASE_URL")?, settings.secret("SUPABASE_SECRET_KEY")?);
    let database = Service::new(http_client::client(TIMEOUT)?, url, key);

    let states = database.jobs_by_status().await?;
    let states: Vec<String> = states.iter().map(|state| format!("{} {}", state.jobs, state.status)).collect();
    say(&if states.is_empty() { "No jobs yet.".to_owned() } else { format!("Jobs: {}.", states.join(", ")) });

    let bought = database.credit_purchases_today().await?;
    let bought = bought.context("the database does not know this key as the server's")?;
    say(&format!("In the last 24 hours: {} credits bought, in {} purchases.", bought.credits, bought.purchases));

    let failed = database.failed_jobs(MOST).await?;
    if failed.is_empty() {
        say("No job of the last 7 days failed.");
        return Ok(End::Well);
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for job in &failed {
        *reasons.entry(&job.failure_code).or_default() += 1;
    }
    let reasons: Vec<String> = reasons.iter().map(|(code, count)| format!("{count} {code}")).collect();
    let newest = if failed.len() == MOST { format!(", the newest {MOST}") } else { String::new() };
    say(&format!("Failed in the last 7 days{newest}: {}.", reasons.join(", ")));
    for job in &failed {
        say(&sentence(job));
    }
    Ok(End::Well)
}

fn sentence(job: &FailedJob) -> String {
    let FailedJob { id, user_id, failure_code, provider, model, prediction_id, created_at } = job;
    let prediction = prediction_id.as_deref().map(|id| format!(", prediction {id}")).unwrap_or_default();
    format!("  {id} of user {user_id}, {created_at:.0}: {failure_code} ({provider} {model}{prediction})")
}
