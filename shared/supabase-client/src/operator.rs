//! What the operator's tool asks (`infra/supabase/migrations/*_operator.sql`), and what it reads by the secret key: pages of a
//! hundred rows, each after the last one of the page before.

use domain::id::UserId;
use jiff::Timestamp;
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    billing::{Applied, Change},
    influencers::Service,
    rest::{SupabaseError, send},
};

/// Rows of a page.
const PAGE: usize = 100;

/// What applying a change would come to.
#[derive(Clone, Debug, Deserialize)]
pub struct Preview {
    /// What would come of it.
    pub outcome: Applied,
    /// What it is about, as it stands; see `books_of_stripe_change`.
    pub before: Option<Map<String, Value>>,
    /// The same when it was applied.
    pub after: Option<Map<String, Value>>,
}

/// An event of Stripe's that was kept.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredEvent {
    /// `evt_…`.
    pub id: String,
    /// What happened.
    pub r#type: String,
    /// What came of it; `None` while nothing has.
    pub outcome: Option<Applied>,
    /// When it came first.
    pub received_at: Timestamp,
    /// All of it.
    pub payload: Value,
}

/// A payment that credits were given for.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredPurchase {
    /// `invoice:<id>`, `payment_intent:<id>` or `checkout_session:<id>`.
    pub key: String,
    /// Who has them.
    pub user_id: UserId,
    /// How many.
    pub credits: i32,
}

/// How much of a payment is gone, as last fetched.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredReversal {
    /// The charge's or the dispute's id.
    pub id: String,
    /// Which purchase it is about.
    pub purchase_key: String,
}

/// A Stripe customer whose metadata names a user who is not known as that customer.
#[derive(Clone, Debug, Deserialize)]
pub struct UnknownCustomer {
    /// `cus_…`.
    pub customer_id: String,
    /// Whom the metadata names.
    pub user_id: UserId,
    /// Whose customer it is here; `None` when it is nobody's, and the user has none.
    pub known_as: Option<UserId>,
}

/// Somebody who pays for a plan more than once.
#[derive(Clone, Debug, Deserialize)]
pub struct SubscribedTwice {
    /// Who.
    pub user_id: UserId,
    /// By which subscriptions, the oldest first.
    pub subscriptions: Vec<String>,
}

/// A page of accounts that were looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Audit {
    /// The last of them; `None` when there was none left.
    pub last: Option<UserId>,
    /// Those whose balance is not what the ledger adds up to.
    pub accounts: Vec<Unbalanced>,
}

/// An account that breaks invariant I5.
#[derive(Clone, Debug, Deserialize)]
pub struct Unbalanced {
    /// Whose.
    pub user_id: UserId,
    /// What she can spend.
    pub balance: i64,
    /// What her lines add up to.
    pub total: i64,
}

/// A plan or a pack, with what it costs as our pages say it.
#[derive(Clone, Debug, Deserialize)]
pub struct Priced {
    /// Its id.
    pub id: String,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// Three letters, lower case.
    pub currency: String,
    /// How often a plan is paid; `None` for a pack.
    pub interval: Option<String>,
    /// What is charged.
    pub stripe_price_id: Option<String>,
}

impl Service {
    /// A ticket for what is about to be fetched.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn stripe_ticket(&self) -> Result<i64, SupabaseError> {
        self.rpc("stripe_ticket", &json!({})).await
    }

    /// Applies a change that no event told of. Atomic and repeatable. `ticket` is for what was fetched.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn apply_stripe_change(&self, change: &Change, ticket: Option<i64>) -> Result<Applied, SupabaseError> {
        let arguments = json!({ "p_change": json!(change).to_string(), "p_ticket": ticket });
        self.rpc("apply_stripe_change", &arguments).await
    }

    /// What applying each of these changes would come to, in their order. Changes nothing.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn preview_stripe_changes(&self, changes: &[Change]) -> Result<Vec<Preview>, SupabaseError> {
        self.rpc("preview_stripe_changes", &json!({ "p_changes": json!(changes).to_string() })).await
    }

    /// An event that was kept.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn stripe_event(&self, id: &str) -> Result<Option<StoredEvent>, SupabaseError> {
        let request = self.read("stripe_events", "id,type,outcome,received_at,payload");
        let rows: Vec<StoredEvent> = send(request.query(&[("id", format!("eq.{id}"))])).await?;
        Ok(rows.into_iter().next())
    }

    /// Events that came since then and have not taken effect, after the one with the id `after`.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn unapplied_events(&self, since: Timestamp, after: &str) -> Result<Vec<StoredEvent>, SupabaseError> {
        let request = self.read("stripe_events", "id,type,outcome,received_at,payload");
        let request = request.query(&[("applied_at", "is.null"), ("received_at", &format!("gte.{since}"))]);
        send(page(request, "id", after)).await
    }

    /// The ids of subscriptions that have not ended as far as we know, after the one with the id `after`.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn open_subscriptions(&self, user: Option<UserId>, after: &str) -> Result<Vec<String>, SupabaseError> {
        #[derive(Deserialize)]
        struct Row {
            id: String,
        }
        let request = of_user(self.read("subscriptions", "id"), user);
        let request = request.query(&[("status", "not.in.(canceled,incomplete_expired)")]);
        let rows: Vec<Row> = send(page(request, "id", after)).await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// The purchases counted since then, after the one with the key `after`.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn purchases(
        &self,
        since: Timestamp,
        user: Option<UserId>,
        after: &str,
    ) -> Result<Vec<StoredPurchase>, SupabaseError> {
        let request = of_user(self.read("credit_purchases", "key,user_id,credits"), user);
        send(page(request.query(&[("created_at", format!("gte.{since}"))]), "key", after)).await
    }

    /// What we know of these charges and disputes.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn reversals(&self, ids: &[&str]) -> Result<Vec<StoredReversal>, SupabaseError> {
        send(self.read("payment_reversals", "id,purchase_key").query(&[("id", one_of(ids))])).await
    }

    /// What took something of these purchases.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn reversals_of(&self, purchase_keys: &[&str]) -> Result<Vec<StoredReversal>, SupabaseError> {
        let request = self.read("payment_reversals", "id,purchase_key");
        send(request.query(&[("purchase_key", one_of(purchase_keys)), ("amount", "gt.0".to_owned())])).await
    }

    /// Which Stripe customer a user is.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn customer_of(&self, user: UserId) -> Result<Option<String>, SupabaseError> {
        #[derive(Deserialize)]
        struct Row {
            customer_id: String,
        }
        let rows: Vec<Row> = send(of_user(self.read("stripe_customers", "customer_id"), Some(user))).await?;
        Ok(rows.into_iter().next().map(|row| row.customer_id))
    }

    /// Which of these customers, with the user that our metadata names, are not known as theirs.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn unknown_stripe_customers(
        &self,
        customers: &[(String, UserId)],
    ) -> Result<Vec<UnknownCustomer>, SupabaseError> {
        let customers: Vec<Value> =
            customers.iter().map(|(id, user)| json!({ "customer_id": id, "user_id": user })).collect();
        self.rpc("unknown_stripe_customers", &json!({ "p_customers": json!(customers).to_string() })).await
    }

    /// Who pays for a plan more than once.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn users_subscribed_twice(&self, user: Option<UserId>) -> Result<Vec<SubscribedTwice>, SupabaseError> {
        self.rpc("users_subscribed_twice", &json!({ "p_user_id": user })).await
    }

    /// Compares balances with the ledger, for some hundred users after that one.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn audit(&self, after: Option<UserId>, user: Option<UserId>) -> Result<Audit, SupabaseError> {
        self.rpc("unbalanced_accounts", &json!({ "p_after": after, "p_user_id": user })).await
    }

    /// Whether there is such a table.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn has_table(&self, name: &str) -> Result<bool, SupabaseError> {
        match send::<Value>(self.read(name, "*").query(&[("limit", "0")])).await {
            Err(SupabaseError::Refused(StatusCode::NOT_FOUND, _)) => Ok(false),
            // It is there, and not for the server.
            Err(SupabaseError::Refused(_, code)) if code == "42501" => Ok(true),
            answer => answer.map(|_| true),
        }
    }

    /// All plans but the free ones, which nobody pays for.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn paid_plans(&self) -> Result<Vec<Priced>, SupabaseError> {
        let request = self.read("plans", "id,amount,currency,interval,stripe_price_id");
        send(request.query(&[("or", "(amount.gt.0,stripe_price_id.not.is.null)"), ("order", "position,id")])).await
    }

    /// All packs.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn packs(&self) -> Result<Vec<Priced>, SupabaseError> {
        let request = self.read("credit_packs", "id,amount,currency,stripe_price_id");
        send(request.query(&[("order", "position,id")])).await
    }
}

fn of_user(request: RequestBuilder, user: Option<UserId>) -> RequestBuilder {
    match user {
        Some(user) => request.query(&[("user_id", format!("eq.{user}"))]),
        None => request,
    }
}

fn page(request: RequestBuilder, key: &str, after: &str) -> RequestBuilder {
    request.query(&[(key, format!("gt.{after}")), ("order", key.to_owned()), ("limit", PAGE.to_string())])
}

fn one_of(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    format!("in.({})", quoted.join(","))
}
