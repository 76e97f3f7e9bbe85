//! What a user sees of herself, in one round trip, as herself.

use domain::{
    id::{InfluencerId, UserId},
    influencer::State,
};
use jiff::Timestamp;
use reqwest::{Client, Method};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::rest::{SupabaseError, request, send};

/// Reads as the user whose token is given: row-level security decides what she sees.
#[derive(Clone, Debug)]
pub struct AsCaller {
    pub(crate) http: Client,
    pub(crate) url: Url,
    pub(crate) key: SecretString,
}

/// Who the user is, what she has, what she may buy, and her influencer.
#[derive(Debug, Deserialize)]
pub struct Dashboard {
    /// Who.
    pub id: UserId,
    /// The plan that counts now, by its id.
    pub plan: String,
    /// What it is called.
    pub plan_name: String,
    /// What she can spend; below zero only after money was returned.
    pub credits: i32,
    /// Her live subscription, else her newest.
    pub subscription: Option<OwnSubscription>,
    /// She has a Stripe customer.
    pub can_manage_billing: bool,
    /// What is for sale.
    pub offers: Offers,
    /// Her character, if she asked for one.
    pub influencer: Option<OwnInfluencer>,
}

/// A subscription as its owner may read it.
#[derive(Debug, Deserialize)]
pub struct OwnSubscription {
    /// Its plan's id; `None` when no plan knows its price.
    pub plan: Option<String>,
    /// What that plan is called.
    pub plan_name: Option<String>,
    /// Stripe's word.
    pub status: String,
    /// It gives its plan now.
    pub live: bool,
    /// When the paid period ends.
    pub current_period_end: Timestamp,
    /// When it will end, if it was cancelled.
    pub cancel_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// While a payment is overdue: until when the plan stays.
    pub grace_until: Option<Timestamp>,
}

/// What is for sale, in the order in which to show it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Offers {
    /// To subscribe to.
    pub plans: Vec<PlanOffer>,
    /// To buy once.
    pub packs: Vec<PackOffer>,
}

/// A plan that can be subscribed to.
#[derive(Debug, Deserialize, Serialize)]
pub struct PlanOffer {
    /// Its id, for `POST /checkout-sessions`.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Credits for each period.
    pub credits: i32,
    /// Price in the currency's smallest unit.
    pub amount: i64,
    /// Three lower-case letters.
    pub currency: String,
    /// `day`, `week`, `month` or `year`.
    pub interval: String,
}

/// Credits that can be bought once.
#[derive(Debug, Deserialize, Serialize)]
pub struct PackOffer {
    /// Its id, for `POST /checkout-sessions`.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// How many.
    pub credits: i32,
    /// Price in the currency's smallest unit.
    pub amount: i64,
    /// Three lower-case letters.
    pub currency: String,
}

/// One line of the ledger, as its owner may read it.
#[derive(Debug, Deserialize)]
pub struct LedgerLine {
    /// Its id; later lines have greater ones.
    pub id: i64,
    /// `purchase`, `spend`, `refund`, `bonus` or `adjustment`.
    pub tx_type: String,
    /// By how much the balance moved.
    pub amount: i32,
    /// The balance after it.
    pub balance_after: i32,
    /// What it was for.
    pub description: String,
    /// When.
    pub created_at: Timestamp,
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
        let request = request(&self.http, Method::POST, &self.url, "/rest/v1/rpc/dashboard", &self.key, Some(token));
        send(request.json(&json!({ "p_user_id": user_id }))).await
    }

    /// At most `limit` lines of the ledger of the user whose `token` it is, newest first, older than the line `before`.
    ///
    /// # Errors
    /// As [`AsCaller::dashboard`].
    pub async fn credit_history(
        &self,
        user_id: UserId,
        token: &SecretString,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<LedgerLine>, SupabaseError> {
        let columns = "id,tx_type,amount,balance_after,description,created_at";
        let request = request(&self.http, Method::GET, &self.url, "/rest/v1/credits_ledger", &self.key, Some(token))
            .query(&[("select", columns), ("user_id", &format!("eq.{user_id}")), ("order", "id.desc")])
            .query(&[("limit", limit)]);
        send(match before {
            Some(before) => request.query(&[("id", format!("lt.{before}"))]),
            None => request,
        })
        .await
    }
}
