//! What an admin looks at (`infra/supabase/migrations/*_admin.sql`), read by the secret key.

use domain::id::{JobId, UserId};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    influencers::Service,
    rest::{SupabaseError, send},
};

/// How many jobs are in one state.
#[derive(Clone, Debug, Deserialize)]
pub struct JobsInState {
    /// Which.
    pub status: String,
    /// How many.
    pub jobs: u64,
}

/// What was bought in the last 24 hours.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Bought {
    /// Credits.
    pub credits: i64,
    /// In how many purchases.
    pub purchases: u64,
}

/// A job of the last seven days that failed.
#[derive(Clone, Debug, Deserialize)]
pub struct FailedJob {
    /// Which.
    pub id: JobId,
    /// Whose.
    pub user_id: UserId,
    /// Why, as a code.
    pub failure_code: String,
    /// Which provider made it.
    pub provider: String,
    /// The provider's name for its model.
    pub model: String,
    /// The last prediction, if there was one.
    pub prediction_id: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl Service {
    /// Jobs by state, as many as there are.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn jobs_by_status(&self) -> Result<Vec<JobsInState>, SupabaseError> {
        send(self.read("admin_jobs_by_status", "status,jobs").query(&[("order", "status")])).await
    }

    /// Purchases of the last 24 hours.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn credit_purchases_today(&self) -> Result<Option<Bought>, SupabaseError> {
        let rows: Vec<Bought> = send(self.read("admin_credit_purchases_today", "credits,purchases")).await?;
        Ok(rows.into_iter().next())
    }

    /// The newest jobs of the last seven days that failed, at most `limit`.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn failed_jobs(&self, limit: usize) -> Result<Vec<FailedJob>, SupabaseError> {
        let columns = "id,user_id,failure_code,provider,model,prediction_id,created_at";
        let newest = [("order", "created_at.desc"), ("limit", &limit.to_string())];
        send(self.read("admin_failed_jobs", columns).query(&newest)).await
    }
}
