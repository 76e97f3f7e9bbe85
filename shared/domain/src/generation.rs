//! Pictures that a user has made: how far one has come, and why it may come to nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{AssetId, ImageId, InfluencerId, JobId};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Asked for; not in the queue yet.
    Pending,
    /// In the queue.
    Queued,
    /// Somebody works on it.
    Processing,
    /// The picture is in the bucket.
    Completed,
    /// It came to nothing, and the credits are back.
    Failed,
    /// The user took it back in time, and the credits are back.
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Queued, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled];

    /// Whether a job may go from here to `next`. The database has the same rule (`is_legal_move`).
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Queued | Self::Cancelled | Self::Failed),
            Self::Queued => matches!(next, Self::Processing | Self::Cancelled | Self::Failed),
            Self::Processing => matches!(next, Self::Completed | Self::Failed),
            Self::Completed | Self::Failed | Self::Cancelled => false,
        }
    }

    /// Nothing comes after it.
    #[must_use]
    pub fn is_final(self) -> bool {
        Self::ALL.iter().all(|next| !self.may_become(*next))
    }
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The model would not: its safety rules.
    Refused,
    /// The model tried and could not.
    ModelFailed,
    /// What the model made is no picture that we can show, or its link no longer leads to one.
    OutputInvalid,
    /// Every try to ask the model or to fetch and store its picture failed.
    Unavailable,
    /// It was not done in time.
    TimedOut,
}

impl Failure {
    /// The stable code that clients may rely on.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ModelFailed => "model_failed",
            Self::OutputInvalid => "output_invalid",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
        }
    }

    /// What the user reads.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Refused => "The image model declined this description. Your credits are back; try other words.",
            Self::ModelFailed => "The image model could not make this picture. Your credits are back.",
            Self::OutputInvalid => "What came back was not a picture. Your credits are back.",
            Self::Unavailable => "The picture could not be made right now. Your credits are back.",
            Self::TimedOut => "It took too long. Your credits are back.",
        }
    }
}

/// A job as its user sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// Its id.
    pub id: JobId,
    /// How far it has come.
    pub status: Status,
    /// What the picture is to show.
    pub prompt: String,
    /// The upload that it starts from.
    pub input_asset_id: Option<AssetId>,
    /// The character that it shows.
    pub influencer_id: Option<InfluencerId>,
    /// By their ids.
    pub model_preset: String,
    /// By their ids.
    pub pose_preset: String,
    /// By their ids.
    pub scene_preset: String,
    /// By their ids.
    pub generation_type: String,
    /// What was reserved for it.
    pub cost_credits: i32,
    /// Percent, where the model says.
    pub progress: Option<i16>,
    /// Why it came to nothing.
    pub failure: Option<ShownFailure>,
    /// The picture.
    pub output: Option<ShownOutput>,
    /// How it stands in the public grid.
    pub image: Option<ShownImage>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When somebody first worked on it.
    pub started_at: Option<Timestamp>,
    /// When it ended, whichever way.
    pub finished_at: Option<Timestamp>,
}

/// Why a job failed, as its user sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ShownFailure {
    /// Stable code.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// How a picture stands in the public grid, as its owner sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownImage {
    /// Its id there.
    pub id: ImageId,
    /// She shows it there.
    pub published: bool,
    /// How many like it.
    pub likes_count: i32,
    /// Why an admin keeps it out all the same.
    pub hidden_reason: Option<String>,
}

/// A finished picture, by links that work for a while.
#[derive(Clone, Debug, Serialize)]
pub struct ShownOutput {
    /// Its id among the assets.
    pub asset_id: AssetId,
    /// For the screen, 2:3.
    pub screen_url: String,
    /// For grids, 2:3.
    pub thumb_url: String,
    /// As the model made it; a browser saves it as a file.
    pub original_url: String,
    /// When the links stop working.
    pub expires_at: Option<Timestamp>,
    /// Pixels of the original.
    pub width: i32,
    /// Pixels of the original.
    pub height: i32,
    /// What to show until it is loaded (<https://blurha.sh>).
    pub blurhash: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_stays_ended() {
        for status in Status::ALL {
            assert_eq!(
                status.is_final(),
                matches!(status, Status::Completed | Status::Failed | Status::Cancelled),
                "{status:?}"
            );
        }
    }
}
