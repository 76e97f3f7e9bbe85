//! Who signs in elsewhere than at Supabase: the database knows which user she is.

use domain::id::UserId;
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::{
    AsCaller,
    rest::{SupabaseError, request, send},
};

/// What `enter` says.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum EnterOutcome {
    /// She is this user.
    Ok {
        /// Hers, in every table.
        user_id: UserId,
    },
    /// The token is nobody's, or she deleted her account after it was made.
    NoUser,
}

impl AsCaller {
    /// The user whose `token` it is, made when she comes for the first time. Again, it finds the same.
    ///
    /// # Errors
    /// As [`AsCaller::dashboard`].
    pub async fn enter(&self, token: &SecretString) -> Result<EnterOutcome, SupabaseError> {
        let request = request(&self.http, Method::POST, &self.url, "/rest/v1/rpc/enter", &self.key, Some(token));
        send(request.json(&json!({}))).await
    }
}
