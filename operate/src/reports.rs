//! `reports`: pictures of the grid that somebody reported and no admin has hidden. Prints no prompt.

use std::time::Duration;

use lambda_kit::Settings;
use supabase_client::{ReportedImage, Service};

use crate::End;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Pictures that are printed.
const MOST: usize = 100;

/// Prints them; ends with something wanting as long as one of them is in the grid.
pub(crate) async fn show(settings: &Settings, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<End> {
    let (url, key) = (settings.url("SUPABASE_URL")?, settings.secret("SUPABASE_SECRET_KEY")?);
    let database = Service::new(http_client::client(TIMEOUT)?, url, key);

    let reported = database.reported_images(MOST).await?;
    if reported.is_empty() {
        say("No picture is reported that is not hidden.");
        return Ok(End::Well);
    }
    let newest = if reported.len() == MOST { format!(", the last reported {MOST}") } else { String::new() };
    say(&format!("Reported and not hidden{newest}:"));
    for image in &reported {
        say(&sentence(image));
    }
    Ok(End::well_if(reported.iter().all(|image| image.published_at.is_none())))
}

fn sentence(image: &ReportedImage) -> String {
    let ReportedImage { id, user_id, reports, reasons, last_reported_at, published_at } = image;
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let place = if published_at.is_some() { "in the grid" } else { "not published" };
    format!("  {id} of user {user_id}, {place}: {reports} reports ({}), last {last_reported_at:.0}", reasons.join(", "))
}
