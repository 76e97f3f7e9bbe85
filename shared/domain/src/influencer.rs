//! How far the set-up of a character has come.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::InfluencerId;

/// Where a set-up stands, as the database keeps it and as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The workflow was asked and has not answered yet.
    Requested,
    /// The workflow answered; the image is being fetched.
    ImagePending,
    /// The image is in the bucket; she never changes again.
    Ready,
    /// A step failed; she may be requested again.
    Failed,
    /// Not kept but seen: unfinished past its deadline; she may be requested again.
    TimedOut,
}

impl State {
    /// What this state amounts to at `now`: an unfinished set-up past its deadline has timed out.
    pub fn at(self, now: Timestamp, deadline: Timestamp) -> Self {
        match self {
            Self::Requested | Self::ImagePending if deadline < now => Self::TimedOut,
            other => other,
        }
    }
}

/// A character as her user sees her.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// Her id.
    pub id: InfluencerId,
    /// What she is called.
    pub name: String,
    /// Who she is.
    pub bio: String,
    /// How she comes across.
    pub vibe: String,
    /// How far her set-up has come.
    pub state: State,
    /// When the set-up was requested.
    pub requested_at: Timestamp,
    /// Why it failed or timed out.
    pub failure: Option<ShownFailure>,
    /// Where her image can be read, for a while.
    pub image_url: Option<String>,
    /// When `image_url` stops working.
    pub image_url_expires_at: Option<Timestamp>,
    /// When her set-up was complete.
    pub created_at: Option<Timestamp>,
}

/// Why a set-up failed, as its user sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ShownFailure {
    /// Stable code.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// Why a set-up failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// n8n did not take the request.
    WorkflowUnavailable,
    /// The workflow itself reported an error; its own sentence is shown.
    WorkflowFailed,
    /// The vendor's URL no longer leads to the image.
    ImageNotFound,
    /// What came is not an image that we can show.
    ImageInvalid,
    /// More bytes or pixels than we take.
    ImageTooLarge,
    /// The URL is not one that we may fetch.
    ImageHostNotAllowed,
    /// Every try to fetch or store the image failed.
    ImageUnavailable,
    /// Nothing was heard before the deadline.
    TimedOut,
}

impl Failure {
    /// The stable code, kept in `influencers.failure_code`.
    pub fn code(self) -> &'static str {
        match self {
            Self::WorkflowUnavailable => "workflow_unavailable",
            Self::WorkflowFailed => "workflow_failed",
            Self::ImageNotFound => "image_not_found",
            Self::ImageInvalid => "image_invalid",
            Self::ImageTooLarge => "image_too_large",
            Self::ImageHostNotAllowed => "image_host_not_allowed",
            Self::ImageUnavailable => "image_unavailable",
            Self::TimedOut => "timed_out",
        }
    }

    /// A sentence for the user: what happened, and that she may try again.
    pub fn message(self) -> &'static str {
        match self {
            Self::WorkflowUnavailable => "Our studio could not be reached. Nothing was lost; please try again.",
            Self::WorkflowFailed => "Our studio could not finish her. Please try again.",
            Self::ImageNotFound => "Her picture was gone before we could save it. Please try again.",
            Self::ImageInvalid => "What our studio sent was not a picture that we can show. Please try again.",
            Self::ImageTooLarge => "Her picture turned out too large to keep. Please try again.",
            Self::ImageHostNotAllowed => "Her picture came from a place that we do not trust. Please try again.",
            Self::ImageUnavailable => {
                "Her picture could not be saved, though we tried several times. Please try again."
            }
            Self::TimedOut => "This took longer than it should. Please try again.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unfinished_set_up_times_out() {
        let deadline: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let later = deadline + jiff::SignedDuration::from_secs(1);
        for (state, then) in [
            (State::Requested, State::TimedOut),
            (State::ImagePending, State::TimedOut),
            (State::Ready, State::Ready),
            (State::Failed, State::Failed),
        ] {
            assert_eq!(state.at(later, deadline), then);
            assert_eq!(state.at(deadline, deadline), state);
        }
    }
}
