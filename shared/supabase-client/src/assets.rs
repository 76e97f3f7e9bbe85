//! The table `assets` and the RPCs of uploads (`infra/supabase/migrations/*_uploads.sql`).

use domain::id::{AssetId, UserId};
use serde::Deserialize;
use serde_json::json;

use crate::{
    influencers::Service,
    rest::{SupabaseError, send},
};

/// What came of [`Service::announce_upload`].
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AnnounceOutcome {
    /// Its row is there.
    Announced {
        /// Its id.
        asset_id: AssetId,
        /// Where its bytes belong.
        object_key: String,
    },
    /// Too many of hers are not finished.
    TooMany {
        /// Seconds until the next one.
        retry_after: u32,
    },
    /// There is no such user (any more).
    NoUser,
}

/// How an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum UploadStanding {
    /// Nobody has looked at its bytes yet.
    Announced,
    /// It may be used.
    Verified,
    /// It may not, ever.
    Rejected,
    /// There is no such upload (any more).
    NotFound,
}

/// An upload, for who looks at its bytes.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Where its bytes belong.
    pub object_key: String,
    /// What it claims to be.
    pub content_type: String,
    /// How it stands; never [`UploadStanding::NotFound`].
    pub standing: UploadStanding,
}

/// What an upload was found to be.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A picture.
    Good {
        /// How long the file is.
        bytes: u64,
        /// In pixels, the right way up.
        width: u32,
        /// In pixels, the right way up.
        height: u32,
        /// What to show until it is loaded.
        blurhash: String,
    },
    /// Nothing that may be used; carries a stable code.
    Rejected(&'static str),
}

impl Service {
    /// Announces a file, unless `most` of those of the last `seconds` are not finished. Atomic; twice is two files.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn announce_upload(
        &self,
        user_id: UserId,
        filename: &str,
        content_type: &str,
        most: u32,
        seconds: u64,
    ) -> Result<AnnounceOutcome, SupabaseError> {
        let arguments = json!({
            "p_user_id": user_id, "p_filename": filename, "p_content_type": content_type, "p_most": most,
            "p_seconds": seconds,
        });
        self.rpc("announce_upload", &arguments).await
    }

    /// An upload; `None` when there is no such asset.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn upload(&self, asset_id: AssetId) -> Result<Option<Upload>, SupabaseError> {
        #[derive(Deserialize)]
        struct Row {
            object_key: String,
            content_type: String,
            verified_at: Option<String>,
            rejected_code: Option<String>,
        }
        let columns = "object_key,content_type,verified_at,rejected_code";
        let rows: Vec<Row> = send(self.read("assets", columns).query(&[("id", format!("eq.{asset_id}"))])).await?;
        Ok(rows.into_iter().next().map(|row| Upload {
            object_key: row.object_key,
            content_type: row.content_type,
            standing: match (row.verified_at, row.rejected_code) {
                (Some(_), _) => UploadStanding::Verified,
                (None, Some(_)) => UploadStanding::Rejected,
                (None, None) => UploadStanding::Announced,
            },
        }))
    }

    /// Records what an upload was found to be, and says how it stands: what was recorded first stays. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn settle_upload(&self, asset_id: AssetId, verdict: &Verdict) -> Result<UploadStanding, SupabaseError> {
        let arguments = match verdict {
            Verdict::Good { bytes, width, height, blurhash } => json!({
                "p_asset_id": asset_id, "p_rejected_code": null, "p_bytes": bytes, "p_width": width, "p_height": height,
                "p_blurhash": blurhash,
            }),
            Verdict::Rejected(code) => json!({
                "p_asset_id": asset_id, "p_rejected_code": code, "p_bytes": null, "p_width": null, "p_height": null,
                "p_blurhash": null,
            }),
        };
        self.rpc("settle_upload", &arguments).await
    }
}
