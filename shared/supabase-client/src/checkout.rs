//! Who is which Stripe customer, and what can be bought (`infra/supabase/migrations/*_checkout.sql`).

use domain::id::UserId;
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::{
    dashboard::AsCaller,
    influencers::Service,
    rest::{SupabaseError, request, send},
};

/// What somebody wants to buy, by our ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A plan to subscribe to.
    Plan(String),
    /// Credits.
    Pack(String),
}

/// What came of [`Service::checkout_context`].
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CheckoutContext {
    /// It can be bought.
    Ok {
        /// Stripe's customer, if the user has one.
        customer_id: Option<String>,
        /// Stripe's price.
        price_id: String,
        /// What it brings.
        credits: i32,
    },
    /// There is no such user (any more).
    NoUser,
    /// There is no such plan or pack, or it is not for sale.
    Unknown,
    /// She has a subscription, which is to be managed and not bought once more.
    AlreadySubscribed {
        /// Stripe's customer who has it.
        customer_id: String,
    },
}

/// What came of [`Service::keep_stripe_customer`].
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum KeepOutcome {
    /// There is one now.
    Kept {
        /// The one that counts: the given one, or one that was there before.
        customer_id: String,
    },
    /// There is no such user (any more).
    NoUser,
}

impl Service {
    /// What a checkout page for a plan or a pack is made of. Changes nothing.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn checkout_context(&self, user_id: UserId, wanted: &Wanted) -> Result<CheckoutContext, SupabaseError> {
        let (plan, pack) = match wanted {
            Wanted::Plan(id) => (Some(id), None),
            Wanted::Pack(id) => (None, Some(id)),
        };
        let arguments = json!({ "p_user_id": user_id, "p_plan_id": plan, "p_pack_id": pack });
        self.rpc("checkout_context", &arguments).await
    }

    /// Keeps who a user is at Stripe, unless there is one already that is not `gone`. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn keep_stripe_customer(
        &self,
        user_id: UserId,
        customer_id: &str,
        gone: Option<&str>,
    ) -> Result<KeepOutcome, SupabaseError> {
        let arguments = json!({ "p_user_id": user_id, "p_customer_id": customer_id, "p_gone": gone });
        self.rpc("keep_stripe_customer", &arguments).await
    }
}

impl AsCaller {
    /// The Stripe customer of the user whose `token` it is, if she has one.
    ///
    /// # Errors
    /// [`SupabaseError::Unauthenticated`] for a token that is not accepted; else when there is no usable answer.
    pub async fn stripe_customer(
        &self,
        user_id: UserId,
        token: &SecretString,
    ) -> Result<Option<String>, SupabaseError> {
        #[derive(Deserialize)]
        struct Row {
            customer_id: String,
        }
        let request = request(&self.http, Method::GET, &self.url, "/rest/v1/stripe_customers", &self.key, Some(token));
        let rows: Vec<Row> =
            send(request.query(&[("select", "customer_id"), ("user_id", &format!("eq.{user_id}"))])).await?;
        Ok(rows.into_iter().next().map(|row| row.customer_id))
    }
}
