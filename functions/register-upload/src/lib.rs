//! SQS: looks at the bytes of an upload and makes the copies that are used of it.
//!
//! - Trigger: what S3 tells of new objects below `uploads/`.
//! - Effects: two clean copies in the bucket, the right way up and without metadata, then one RPC that makes the asset usable.
//!   What is no picture, or another one than it claims, is rejected with a code and removed. So is what nobody announced.
//! - Once only: events come twice, late and out of order, and an upload may be overwritten, or removed by its user, at any moment.
//!   An event is therefore no more than a hint to look. The first clean copy that gets into the bucket stays, and all else is made
//!   of it; the first verdict that gets into the database stays, and what does not fit it is removed. Killed anywhere, the message
//!   comes again and goes on from what it finds.
//! - What cannot be looked at now goes back to the queue, and in the end lies among the dead letters.

mod config;
mod notification;
mod pictures;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use lambda_kit::Message;
use media_store::{Got, MediaStore, Source};
use supabase_client::{Service, Upload, UploadStanding, Verdict};

pub use config::Config;
pub use notification::Notification;
use pictures::{COPY, Pictures, Refusal, THUMB};

/// The form that create-upload signs takes no more; this is for whatever else brought the object.
const MAX_BYTES: u64 = 10 << 20;

/// What clean copies are.
const WEBP: &str = "image/webp";

/// All that is done for one message. The function has 60 s.
const TOTAL: Duration = Duration::from_secs(50);

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    supabase: Service,
    media: MediaStore,
    pictures: Pictures,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(5))?;
        Ok(Self {
            supabase: Service::new(http, config.supabase_url, config.supabase_secret_key),
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
            pictures: Pictures::new(),
        })
    }
}

/// Serves one message.
///
/// # Errors
/// When it may succeed later, so that the message goes back to the queue.
pub async fn handle(deps: Arc<Deps>, message: Message<Notification>) -> anyhow::Result<()> {
    let Notification::Made { records } = message.body else {
        tracing::info!("S3 has found the queue");
        return Ok(());
    };
    let all = async {
        for record in records {
            register(&deps, &record.key()).await?;
        }
        Ok(())
    };
    tokio::time::timeout(TOTAL, all).await.context("it takes too long")?
}

/// Brings the upload at `key` to its end.
async fn register(deps: &Deps, key: &str) -> anyhow::Result<()> {
    let Some((user_id, asset_id)) = MediaStore::upload_at(key) else {
        tracing::warn!(key, "not an upload of ours: removed");
        return deps.media.remove(key).await;
    };
    let copy_key = MediaStore::clean_copy_key(user_id, asset_id);
    let thumb_key = MediaStore::clean_thumb_key(user_id, asset_id);

    let upload = deps.supabase.upload(asset_id).await.context("failed to read the upload")?;
    let standing = match upload {
        None => UploadStanding::NotFound,
        Some(upload) if upload.object_key != key => {
            tracing::warn!(key, "not what was announced: removed");
            return deps.media.remove(key).await;
        }
        Some(upload) if upload.standing == UploadStanding::Announced => {
            let verdict = match judge(deps, &upload, &copy_key, &thumb_key).await {
                Ok(Some(verdict)) => verdict,
                Ok(None) => {
                    tracing::info!(user.id = %user_id, asset.id = %asset_id, "upload gone");
                    return Ok(());
                }
                Err(Refusal::Never(code, cause)) => {
                    let cause = format!("{cause:#}");
                    tracing::info!(user.id = %user_id, asset.id = %asset_id, code, cause, "upload rejected");
                    Verdict::Rejected(code)
                }
                Err(Refusal::Later(error)) => return Err(error),
            };
            deps.supabase.settle_upload(asset_id, &verdict).await.context("failed to settle the upload")?
        }
        Some(upload) => upload.standing,
    };
    if standing != UploadStanding::Verified {
        // A copy may be there of what lay here at another moment.
        for key in [&thumb_key, &copy_key, key] {
            deps.media.remove(key).await?;
        }
    }
    tracing::info!(user.id = %user_id, asset.id = %asset_id, ?standing, "upload registered");
    Ok(())
}

/// Finds out what an upload is, and makes its clean copies. `None` when nothing lies there (any more).
async fn judge(deps: &Deps, upload: &Upload, copy_key: &str, thumb_key: &str) -> Result<Option<Verdict>, Refusal> {
    let mut copy = deps.media.get(copy_key, u64::MAX).await?;
    if matches!(copy, Got::Gone) {
        let (file, bytes) = match deps.media.get(&upload.object_key, MAX_BYTES).await? {
            Got::Whole { file, bytes, .. } => (file, bytes),
            Got::TooLarge => {
                return Err(Refusal::Never("image_too_large", anyhow!("it has more than {MAX_BYTES} bytes")));
            }
            Got::Gone => return Ok(None),
        };
        let made = deps.pictures.make(file, &upload.content_type, COPY).await?;
        let source = Source { bytes, width: made.width, height: made.height };
        deps.media.put_clean_copy(copy_key, &made.path, &source).await?;
        // Ours, or that of somebody who was quicker, perhaps with other bytes.
        copy = deps.media.get(copy_key, u64::MAX).await?;
    }
    let Got::Whole { file, source: Some(Source { bytes, width, height }), .. } = copy else {
        return Err(anyhow!("the clean copy is gone again, or does not say what it was made of").into());
    };
    // What we made ourselves is no reason to reject anything.
    let thumb = deps.pictures.make(file, WEBP, THUMB).await.map_err(|refusal| Refusal::Later(refusal.into()))?;
    deps.media.put(thumb_key, &thumb.path, WEBP).await?;
    Ok(Some(Verdict::Good { bytes, width, height, blurhash: thumb.blurhash }))
}
