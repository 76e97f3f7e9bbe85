//! What a user sees of herself, in one round trip, as herself.

use domain::{
    id::{InfluencerId, UserId},
    influencer::State,
};
use jiff::Timestamp;
use reqwest::{Client, Method};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::rest::{SupabaseError, request, send};

/// Reads as the user whose token is given: row-level security decides what she sees.
#[derive(Clone, Debug)]
pub struct AsCaller {
    http: Client,
    url: Url,
    key: SecretString,
}

/// A user's row of `users` and her influencer.
#[derive(Debug, Deserialize)]
pub struct Dashboard {
    /// Who.
    pub id: UserId,
    /// `free` or `pro`.
    pub plan: String,
    /// What she can spend.
    pub credits: i32,
    /// Her character, if she asked for one.
    pub influencer: Option<OwnInfluencer>,
}

/// The columns of `influencers` that its owner may read.
#[derive(Debug, Deserialize)]
pub struct OwnInfluencer {
    /// Her id.
    pub id: InfluencerId,
    /// What she is called.
    pub name: String,
    /// Who she is.
    pub bio: String,
    /// How she comes across.
    pub vibe: String,
    /// As kept; see [`State::at`].
    pub state: State,
    /// When the set-up was requested.
    pub requested_at: Timestamp,
    /// When an unfinished set-up counts as timed out.
    pub deadline_at: Timestamp,
    /// Why it failed, for programs.
    pub failure_code: Option<String>,
    /// Why it failed, for people.
    pub failure_message: Option<String>,
    /// Our own URL of her first image.
    pub initial_image_url: Option<String>,
    /// When she was complete.
    pub created_at: Option<Timestamp>,
}

// The foreign key is named, because a project may have another one between the same tables.
const COLUMNS: &str = "id,plan,credits,influencer:influencers!influencers_belong_to_a_user(id,name,bio,vibe,state,requested_at,deadline_at,\
                       failure_code,failure_message,initial_image_url,created_at)";

impl AsCaller {
    /// Access to the project at `url` by its publishable key.
    pub fn new(http: Client, url: Url, publishable_key: SecretString) -> Self {
        Self { http, url, key: publishable_key }
    }

    /// The dashboard of the user whose `token` it is; `None` when she has no row.
    ///
    /// # Errors
    /// [`SupabaseError::Unauthenticated`] for a token that is not accepted; else when there is no usable answer.
    pub async fn dashboard(&self, user_id: UserId, token: &SecretString) -> Result<Option<Dashboard>, SupabaseError> {
        let rows: Vec<Dashboard> = send(
            request(&self.http, Method::GET, &self.url, "/rest/v1/users", &self.key, Some(token))
                .query(&[("select", COLUMNS), ("id", &format!("eq.{user_id}"))]),
        )
        .await?;
        Ok(rows.into_iter().next())
    }
}
