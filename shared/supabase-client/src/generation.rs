//! Generation jobs and their RPCs (`infra/supabase/migrations/*_generation*.sql`).

use domain::{
    generation::{ShownImage, Status},
    id::{AssetId, InfluencerId, JobId, UserId},
};
use jiff::Timestamp;
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    dashboard::AsCaller,
    influencers::Service,
    rest::{SupabaseError, request, send},
};

/// What a user asks for.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationWish {
    /// What the picture is to show.
    pub prompt: String,
    /// The upload to start from.
    pub input_asset_id: Option<AssetId>,
    /// The character to show.
    pub influencer_id: Option<InfluencerId>,
    /// By its id.
    pub model_preset: String,
    /// By its id.
    pub pose_preset: String,
    /// By its id.
    pub scene_preset: String,
    /// By its id.
    pub generation_type: String,
}

/// A job as the RPCs tell of it.
#[derive(Clone, Debug, Deserialize)]
pub struct JobSummary {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub user_id: UserId,
    /// How far it has come.
    pub status: Status,
    /// What was reserved for it.
    pub cost_credits: i32,
}

/// What came of [`Service::create_generation_job`] and [`Service::retry_generation_job`].
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CreateJobOutcome {
    /// The credits are reserved.
    Created {
        /// The job.
        job: JobSummary,
        /// What is left to spend.
        remaining_credits: i32,
    },
    /// The same request made it before.
    Repeated {
        /// The job, as it is now.
        job: JobSummary,
        /// What is left to spend.
        remaining_credits: i32,
    },
    /// She has too few.
    InsufficientCredits {
        /// What she has.
        balance: i32,
        /// What it costs.
        cost: i32,
    },
    /// Too many within an hour.
    RateLimited {
        /// Seconds until the next one.
        retry_after: u32,
    },
    /// Fields name nothing that there is, or nothing of hers.
    Invalid {
        /// Which.
        fields: Vec<String>,
    },
    /// There is no such user (any more).
    NoUser,
    /// There is no such job of hers.
    NotFound,
    /// Only a failed one is tried again.
    NotFailed {
        /// How it is.
        status: Status,
    },
}

/// What came of [`Service::cancel_generation_job`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CancelOutcome {
    /// It is, and the credits are back; also when it was before.
    Cancelled {
        /// What there is to spend now.
        remaining_credits: i32,
        /// By this call; a database that does not say so was not migrated yet.
        #[serde(default)]
        now: bool,
    },
    /// Somebody works on it already.
    Started,
    /// It has ended.
    Finished {
        /// How.
        status: Status,
    },
    /// There is no such job of hers.
    NotFound,
}

/// What came of [`Service::claim_generation_job`].
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ClaimOutcome {
    /// It is ours until the lease ends.
    Claimed {
        /// All that the work needs.
        job: Box<ClaimedJob>,
    },
    /// Somebody else is at it.
    Busy,
    /// It has ended.
    Finished {
        /// How.
        status: Status,
    },
    /// There is no such job (any more).
    NotFound,
}

/// What the work on a job needs.
#[derive(Clone, Debug, Deserialize)]
pub struct ClaimedJob {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub user_id: UserId,
    /// Whose models: `replicate` or `fal`.
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
    /// The user's words.
    pub prompt: String,
    /// Those of model, pose and scene.
    pub preset_prompts: Vec<String>,
    /// The character's, that is part of every picture of her.
    pub base_prompt: Option<String>,
    /// The character's.
    pub base_seed: Option<i64>,
    /// Our own URL of her first image.
    pub base_image_url: Option<String>,
    /// The upload to start from.
    pub input_asset_id: Option<AssetId>,
    /// The prediction that works on it.
    pub prediction_id: Option<String>,
    /// How many there were, that one included.
    pub predictions: i32,
    /// Since then an earlier worker may have asked the provider and died before it could say so.
    pub submitted_before: Option<Timestamp>,
    /// What is not done by now has to be given up.
    pub past_deadline: bool,
}

/// A finished picture, as the database keeps it.
#[derive(Clone, Debug, Serialize)]
pub struct JobOutput {
    /// Where the original lies; the other sizes lie beside it.
    pub object_key: String,
    /// Our own URL of the original.
    pub image_url: String,
    /// Of the original.
    pub content_type: String,
    /// Of the original.
    pub bytes: u64,
    /// Of the original, in pixels.
    pub width: u32,
    /// Of the original, in pixels.
    pub height: u32,
    /// What to show until it is loaded.
    pub blurhash: String,
    /// The seed that made it.
    pub seed: Option<i64>,
}

/// What came of the other moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum JobMove {
    /// [`Service::note_prediction`].
    Noted,
    /// [`Service::release_generation_job`].
    Released,
    /// Either of those, and there may be news: look again at once.
    Poked,
    /// [`Service::complete_generation_job`].
    Completed,
    /// [`Service::fail_generation_job`].
    Failed,
    /// It had ended before.
    Finished,
    /// Another worker has it, or it is over.
    Lost,
    /// There is no such job (any more).
    NotFound,
}

/// What is to be looked at again.
#[derive(Clone, Debug, Deserialize)]
pub struct Swept {
    /// These belong into the queue.
    pub due: Vec<JobId>,
    /// So many were given up.
    pub failed: u32,
}

/// A job as its owner may read it.
#[derive(Debug, Deserialize)]
pub struct OwnJob {
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
    /// By its id.
    pub model_preset: String,
    /// By its id.
    pub pose_preset: String,
    /// By its id.
    pub scene_preset: String,
    /// By its id.
    pub generation_type: String,
    /// What was reserved for it.
    pub cost_credits: i32,
    /// Percent, where the model says.
    pub progress: Option<i16>,
    /// Why it failed, for programs.
    pub failure_code: Option<String>,
    /// Why it failed, for people.
    pub failure_message: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When somebody first worked on it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The picture.
    pub output: Option<OwnOutput>,
    /// How it stands in the public grid.
    pub image: Option<ShownImage>,
}

/// A finished picture as its owner may read it.
#[derive(Debug, Deserialize)]
pub struct OwnOutput {
    /// Its id among the assets.
    pub asset_id: AssetId,
    /// Where the original lies.
    pub object_key: String,
    /// Pixels of the original.
    pub width: i32,
    /// Pixels of the original.
    pub height: i32,
    /// What to show until it is loaded.
    pub blurhash: Option<String>,
}

/// What a job can be made of.
#[derive(Debug, Deserialize)]
pub struct GenerationOptions {
    /// The caller's newest uploads, also those that were not looked at yet or were refused.
    pub uploads: Vec<OwnUpload>,
    /// What she can spend; `None` when she has no balance, and so no account (any more).
    pub credits: Option<i32>,
    /// `models`, `poses`, `scenes`, `types` and her `influencer`: handed on as they are.
    #[serde(flatten)]
    pub choices: Map<String, Value>,
}

/// An upload as its owner may read it.
#[derive(Debug, Deserialize, Serialize)]
pub struct OwnUpload {
    /// Its id.
    pub id: AssetId,
    /// What she called it.
    pub filename: String,
    /// Pixels, once it was looked at.
    pub width: Option<i32>,
    /// Pixels, once it was looked at.
    pub height: Option<i32>,
    /// What to show until it is loaded.
    pub blurhash: Option<String>,
    /// It may be used.
    pub verified: bool,
    /// Why it may not, and never will.
    pub rejected_code: Option<String>,
    /// When it was announced.
    pub created_at: Timestamp,
}

impl Service {
    /// Checks, reserves and queues. Atomic; the same `request_key` again is the same job.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn create_generation_job(
        &self,
        user_id: UserId,
        request_key: &str,
        wish: &GenerationWish,
    ) -> Result<CreateJobOutcome, SupabaseError> {
        let arguments =
            json!({ "p_user_id": user_id, "p_request_key": request_key, "p_wish": json!(wish).to_string() });
        self.rpc("create_generation_job", &arguments).await
    }

    /// Asks again for what failed, as a new job; twice is one.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn retry_generation_job(
        &self,
        user_id: UserId,
        job_id: JobId,
    ) -> Result<CreateJobOutcome, SupabaseError> {
        self.rpc("retry_generation_job", &json!({ "p_user_id": user_id, "p_job_id": job_id })).await
    }

    /// Cancels what has not been started. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn cancel_generation_job(&self, user_id: UserId, job_id: JobId) -> Result<CancelOutcome, SupabaseError> {
        self.rpc("cancel_generation_job", &json!({ "p_user_id": user_id, "p_job_id": job_id })).await
    }

    /// Takes a job to work on it, for `lease_seconds`. `token` tells this worker from all others.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it with the same token then.
    pub async fn claim_generation_job(
        &self,
        job_id: JobId,
        token: Uuid,
        lease_seconds: u32,
    ) -> Result<ClaimOutcome, SupabaseError> {
        let arguments = json!({ "p_job_id": job_id, "p_token": token, "p_lease_seconds": lease_seconds });
        self.rpc("claim_generation_job", &arguments).await
    }

    /// Notes which prediction works on a job and lets go of it; the sweeper looks after `look_seconds`.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn note_prediction(
        &self,
        job_id: JobId,
        token: Uuid,
        prediction_id: &str,
        look_seconds: u32,
    ) -> Result<JobMove, SupabaseError> {
        let arguments = json!({
            "p_job_id": job_id, "p_token": token, "p_prediction_id": prediction_id, "p_look_seconds": look_seconds,
        });
        self.rpc("note_prediction", &arguments).await
    }

    /// Lets go of a job that is still being made. `again`: its prediction came to nothing, another is to be asked for.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn release_generation_job(
        &self,
        job_id: JobId,
        token: Uuid,
        look_seconds: u32,
        progress: Option<u8>,
        again: bool,
    ) -> Result<JobMove, SupabaseError> {
        let arguments = json!({
            "p_job_id": job_id, "p_token": token, "p_look_seconds": look_seconds, "p_progress": progress, "p_again": again,
        });
        self.rpc("release_generation_job", &arguments).await
    }

    /// Ends a job with its picture, which is in the bucket. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn complete_generation_job(&self, job_id: JobId, output: &JobOutput) -> Result<JobMove, SupabaseError> {
        let arguments = json!({ "p_job_id": job_id, "p_output": json!(output).to_string() });
        self.rpc("complete_generation_job", &arguments).await
    }

    /// Ends a job that cannot be, and gives its credits back. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn fail_generation_job(
        &self,
        job_id: JobId,
        token: Uuid,
        code: &str,
        message: &str,
    ) -> Result<JobMove, SupabaseError> {
        let arguments = json!({ "p_job_id": job_id, "p_token": token, "p_code": code, "p_message": message });
        self.rpc("fail_generation_job", &arguments).await
    }

    /// Gives up what is far past its deadline and names what belongs into the queue again, at most `limit` of each.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn sweep_generation_jobs(&self, limit: u32) -> Result<Swept, SupabaseError> {
        self.rpc("sweep_generation_jobs", &json!({ "p_limit": limit })).await
    }
}

impl Service {
    /// Deletes at most `limit` uploads that are older than 30 days; answers how many.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn delete_old_uploads(&self, limit: u32) -> Result<u32, SupabaseError> {
        self.rpc("delete_old_uploads", &json!({ "p_limit": limit })).await
    }

    /// Deletes at most `limit` events of jobs that are older than 90 days; answers how many.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn delete_old_job_events(&self, limit: u32) -> Result<u32, SupabaseError> {
        self.rpc("delete_old_job_events", &json!({ "p_limit": limit })).await
    }

    /// At most `limit` keys of objects that nobody needs any more; one that ends in a slash stands for all below it.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn orphaned_object_keys(&self, limit: u32) -> Result<Vec<String>, SupabaseError> {
        self.rpc("orphaned_object_keys", &json!({ "p_limit": limit })).await
    }

    /// Forgets keys whose objects are removed.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn forget_orphaned_objects(&self, keys: &[String]) -> Result<u32, SupabaseError> {
        self.rpc("forget_orphaned_objects", &json!({ "p_keys": json!(keys).to_string() })).await
    }
}

impl AsCaller {
    /// Jobs of the user whose `token` it is, newest first: the one with `job_id`, or at most `limit` older than `before`.
    ///
    /// # Errors
    /// As [`AsCaller::dashboard`].
    pub async fn generation_jobs(
        &self,
        user_id: UserId,
        token: &SecretString,
        job_id: Option<JobId>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<OwnJob>, SupabaseError> {
        let arguments = json!({ "p_user_id": user_id, "p_job_id": job_id, "p_before": before, "p_limit": limit });
        let path = "/rest/v1/rpc/generation_jobs_of";
        send(request(&self.http, Method::POST, &self.url, path, &self.key, Some(token)).json(&arguments)).await
    }

    /// What a job can be made of, for the user whose `token` it is.
    ///
    /// # Errors
    /// As [`AsCaller::dashboard`].
    pub async fn generation_options(
        &self,
        user_id: UserId,
        token: &SecretString,
    ) -> Result<GenerationOptions, SupabaseError> {
        let path = "/rest/v1/rpc/generation_options";
        let arguments = json!({ "p_user_id": user_id });
        send(request(&self.http, Method::POST, &self.url, path, &self.key, Some(token)).json(&arguments)).await
    }
}
