//! A whole account: what is kept about a user, and its end (`infra/supabase/migrations/*_leaving.sql`).

use domain::id::UserId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{influencers::Service, rest::SupabaseError};

/// What came of [`Service::begin_account_deletion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum LeaveOutcome {
    /// Her rows are gone, now or before; the rest is not finished.
    Leaving,
    /// There is no such user (any more).
    NoUser,
}

/// How far the end of an account is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Deletion {
    /// There may be something of hers at Stripe or in the bucket.
    Leaving {
        /// Who she is, or was, at Stripe.
        customer_ids: Vec<String>,
    },
    /// There is nothing of hers any more.
    Finished,
    /// She never asked for it.
    Unknown,
}

impl Service {
    /// All rows about a user, by table; `None` when there is no such user.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn export_account(&self, user_id: UserId) -> Result<Option<Map<String, Value>>, SupabaseError> {
        self.rpc("export_account", &json!({ "p_user_id": user_id })).await
    }

    /// Takes a user's rows away and notes that the rest is to follow. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn begin_account_deletion(&self, user_id: UserId) -> Result<LeaveOutcome, SupabaseError> {
        self.rpc("begin_account_deletion", &json!({ "p_user_id": user_id })).await
    }

    /// How far the end of an account is.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn account_deletion(&self, user_id: UserId) -> Result<Deletion, SupabaseError> {
        self.rpc("account_deletion", &json!({ "p_user_id": user_id })).await
    }

    /// Notes that nothing of hers is left. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn finish_account_deletion(&self, user_id: UserId) -> Result<Deletion, SupabaseError> {
        self.rpc("finish_account_deletion", &json!({ "p_user_id": user_id })).await
    }

    /// Whose message is to be sent again, at most `limit`; each of them once an hour.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn sweep_account_deletions(&self, limit: u32) -> Result<Vec<UserId>, SupabaseError> {
        self.rpc("sweep_account_deletions", &json!({ "p_limit": limit })).await
    }
}
