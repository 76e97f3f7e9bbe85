//! A job as its user sees it.

use domain::generation::{Shown, ShownFailure, ShownOutput};
use jiff::Timestamp;
use media_store::MediaStore;
use supabase_client::{OwnJob, OwnOutput};

/// The job, with links to its picture that work for an hour.
///
/// # Errors
/// When there are no credentials to sign with.
pub async fn shown(media: &MediaStore, job: OwnJob, now: Timestamp) -> anyhow::Result<Shown> {
    let output = match job.output {
        Some(output) => Some(shown_output(media, output, now).await?),
        None => None,
    };
    Ok(Shown {
        id: job.id,
        status: job.status,
        prompt: job.prompt,
        input_asset_id: job.input_asset_id,
        influencer_id: job.influencer_id,
        model_preset: job.model_preset,
        pose_preset: job.pose_preset,
        scene_preset: job.scene_preset,
        generation_type: job.generation_type,
        cost_credits: job.cost_credits,
        progress: job.progress,
        failure: job.failure_code.zip(job.failure_message).map(|(code, message)| ShownFailure { code, message }),
        output,
        image: job.image,
        created_at: job.created_at,
        started_at: job.started_at,
        finished_at: job.finished_at,
    })
}

async fn shown_output(media: &MediaStore, output: OwnOutput, now: Timestamp) -> anyhow::Result<ShownOutput> {
    let (folder, original) = output.object_key.rsplit_once('/').unwrap_or(("", &output.object_key));
    let link = async |name: &str| media.link(&media.url(&format!("{folder}/{name}")), now).await;
    let saved_as = original.replacen("original", &format!("sweetheart-{}", output.asset_id), 1);
    let original = media.download(&output.object_key, &saved_as, now).await?;
    Ok(ShownOutput {
        asset_id: output.asset_id,
        screen_url: link("screen.webp").await?.url,
        thumb_url: link("thumb.webp").await?.url,
        original_url: original.url,
        expires_at: original.expires_at,
        width: output.width,
        height: output.height,
        blurhash: output.blurhash,
    })
}
