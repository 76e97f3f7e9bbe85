//! The table `influencers` and its RPCs (`infra/supabase/migrations/*_influencer_rpcs.sql`).

use domain::{
    id::{InfluencerId, UserId},
    influencer::{Failure, State},
    text::{Bio, CharacterName, Vibe},
};
use jiff::Timestamp;
use reqwest::{Client, Method, RequestBuilder};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::rest::{SupabaseError, request, send};

/// The server's own access, by the secret key: it passes row-level security, so it only calls RPCs and reads by id.
#[derive(Clone, Debug)]
pub struct Service {
    http: Client,
    url: Url,
    key: SecretString,
}

/// An influencer as the RPCs tell of her.
#[derive(Clone, Debug, Deserialize)]
pub struct Influencer {
    /// Her id.
    pub id: InfluencerId,
    /// Whose she is.
    pub user_id: UserId,
    /// What she is called.
    pub name: String,
    /// Who she is.
    pub bio: String,
    /// How she comes across.
    pub vibe: String,
    /// How far her set-up has come, as kept: never [`State::TimedOut`].
    pub state: State,
    /// Which start of the set-up this is, from 1.
    pub attempt: i32,
    /// When this start was requested.
    pub requested_at: Timestamp,
    /// When an unfinished set-up counts as timed out.
    pub deadline_at: Timestamp,
}

/// Where a set-up stands, for who is to go on with it.
#[derive(Clone, Debug, Deserialize)]
pub struct SetUp {
    /// As kept.
    pub state: State,
    /// Which start of the set-up is the current one.
    pub attempt: i32,
    /// Why it failed, if it did.
    pub failure_code: Option<String>,
}

/// What came of [`Service::request_influencer`].
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RequestOutcome {
    /// A set-up begins, the first or the next one.
    Started {
        /// Her, as she now is.
        influencer: Influencer,
    },
    /// The user has one that is finished or still being set up.
    Exists {
        /// Her, unchanged.
        influencer: Influencer,
    },
    /// There is no such user (any more).
    NoUser,
}

/// What came of [`Service::record_callback`].
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CallbackOutcome {
    /// Prompt and seed are stored; the image is to be fetched.
    Recorded {
        /// Her, as she now is.
        influencer: Influencer,
    },
    /// The very same callback was recorded before.
    Duplicate {
        /// Her, unchanged.
        influencer: Influencer,
    },
    /// She is complete.
    Locked,
    /// The set-up was started again since.
    Superseded,
    /// Something else was recorded before.
    Conflict,
    /// There is no such influencer.
    NotFound,
}

/// What came of [`Service::fail_influencer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum FailOutcome {
    /// The failure is recorded.
    Failed,
    /// The very same failure was recorded before.
    Duplicate,
    /// She is complete.
    Locked,
    /// The set-up was started again since.
    Superseded,
    /// The set-up is at another step.
    Conflict,
    /// There is no such influencer.
    NotFound,
}

/// What came of [`Service::lock_influencer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum LockOutcome {
    /// She is complete now.
    Locked,
    /// She was before.
    Duplicate,
    /// The set-up was started again since.
    Superseded,
    /// Her image is not being waited for.
    Conflict,
    /// There is no such influencer.
    NotFound,
}

impl Service {
    /// Access to the project at `url` by its secret key.
    pub fn new(http: Client, url: Url, secret_key: SecretString) -> Self {
        Self { http, url, key: secret_key }
    }

    pub(crate) async fn rpc<T: DeserializeOwned>(
        &self,
        name: &str,
        arguments: &impl Serialize,
    ) -> Result<T, SupabaseError> {
        let path = format!("/rest/v1/rpc/{name}");
        send(request(&self.http, Method::POST, &self.url, &path, &self.key, None).json(arguments)).await
    }

    /// A read of these columns of a table, to be narrowed down and sent.
    pub(crate) fn read(&self, table: &str, columns: &str) -> RequestBuilder {
        let path = format!("/rest/v1/{table}");
        request(&self.http, Method::GET, &self.url, &path, &self.key, None).query(&[("select", columns)])
    }

    /// Starts a user's set-up, or starts it again where it failed or timed out. Atomic, and repeatable with the same
    /// `request_id`.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn request_influencer(
        &self,
        user_id: UserId,
        request_id: Uuid,
        name: &CharacterName,
        bio: &Bio,
        vibe: &Vibe,
        deadline_seconds: u32,
    ) -> Result<RequestOutcome, SupabaseError> {
        let arguments = json!({
            "p_user_id": user_id, "p_request_id": request_id, "p_name": name, "p_bio": bio, "p_vibe": vibe,
            "p_deadline_seconds": deadline_seconds,
        });
        self.rpc("request_influencer", &arguments).await
    }

    /// Stores what the workflow made. Atomic and repeatable. `attempt` `None` means the first one.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn record_callback(
        &self,
        influencer_id: InfluencerId,
        attempt: Option<i32>,
        base_prompt: &str,
        seed: i64,
        image_url: &str,
    ) -> Result<CallbackOutcome, SupabaseError> {
        let arguments = json!({
            "p_influencer_id": influencer_id, "p_attempt": attempt, "p_base_prompt": base_prompt, "p_seed": seed,
            "p_image_url": image_url,
        });
        self.rpc("record_callback", &arguments).await
    }

    /// Records that the set-up failed, if it still stands at `at`. Atomic and repeatable. `message` is what the user reads.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn fail_influencer(
        &self,
        influencer_id: InfluencerId,
        attempt: Option<i32>,
        at: State,
        failure: Failure,
        message: &str,
    ) -> Result<FailOutcome, SupabaseError> {
        let arguments = json!({
            "p_influencer_id": influencer_id, "p_attempt": attempt, "p_at_state": at, "p_code": failure.code(),
            "p_message": message,
        });
        self.rpc("fail_influencer", &arguments).await
    }

    /// Finishes the set-up: stores our URL of the image and locks her. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn lock_influencer(
        &self,
        influencer_id: InfluencerId,
        attempt: i32,
        image_url: &str,
    ) -> Result<LockOutcome, SupabaseError> {
        let arguments = json!({ "p_influencer_id": influencer_id, "p_attempt": attempt, "p_image_url": image_url });
        self.rpc("lock_influencer", &arguments).await
    }

    /// Where a set-up stands; `None` when there is no such influencer.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn set_up(&self, influencer_id: InfluencerId) -> Result<Option<SetUp>, SupabaseError> {
        let rows: Vec<SetUp> = send(
            self.read("influencers", "state,attempt,failure_code").query(&[("id", format!("eq.{influencer_id}"))]),
        )
        .await?;
        Ok(rows.into_iter().next())
    }
}
