//! `invariants`: asks the database which invariants its rows contradict, as check-invariants does every hour.

use std::time::Duration;

use lambda_kit::Settings;
use supabase_client::{Broken, Service};

use crate::End;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Prints them; ends with something wanting when there is one.
pub(crate) async fn show(settings: &Settings, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<End> {
    let (url, key) = (settings.url("SUPABASE_URL")?, settings.secret("SUPABASE_SECRET_KEY")?);
    let database = Service::new(http_client::client(TIMEOUT)?, url, key);

    let broken = database.broken_invariants().await?;
    if broken.is_empty() {
        say("No invariant is broken in what was looked at.");
    }
    for found in &broken {
        say(&sentence(found));
    }
    Ok(End::well_if(broken.is_empty()))
}

fn sentence(found: &Broken) -> String {
    let Broken { invariant, what, count, sample } = found;
    let more = if *count > sample.len() as u64 { ", …" } else { "" };
    format!("{}: {what}: {count} ({}{more})", invariant.name(), sample.join(", "))
}
