//! What the operator's tool asks: Stripe's lists page by page, single objects to compare with, and how the account is set up.

use std::{collections::BTreeMap, marker::PhantomData};

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    objects::{Charge, CheckoutSession, Dispute, Invoice, Subscription, or_default},
    rest::{Stripe, StripeError, parse},
};

/// A list at Stripe, newest first; of its objects no more than a page is in memory.
#[derive(Debug)]
pub struct Pages<T> {
    stripe: Stripe,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    after: String,
    done: bool,
    objects: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Pages<T> {
    /// The next hundred; `None` when there were no more.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, StripeError> {
        if self.done {
            return Ok(None);
        }
        let query: Vec<_> = self.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path: Vec<_> = self.path.iter().map(String::as_str).collect();
        let page = self.stripe.page(&path, &query, &self.after).await?;
        self.after = page.data.last().and_then(|object| object["id"].as_str()).unwrap_or_default().to_owned();
        self.done = !page.has_more || self.after.is_empty();
        page.data.into_iter().map(parse).collect::<Result<_, _>>().map(Some)
    }
}

/// Who pays.
#[derive(Clone, Debug, Deserialize)]
pub struct Customer {
    /// `cus_…`.
    pub id: String,
    /// What we wrote on it.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
}

/// Money on its way back to who paid.
#[derive(Clone, Debug, Deserialize)]
pub struct Refund {
    /// What was paid, with all that was refunded of it; none on those of other kinds of payment.
    pub charge: Option<Charge>,
}

/// A dispute and whose payment it is about.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub struct CustomersDispute {
    /// The dispute.
    pub dispute: Dispute,
    /// `cus_…`.
    pub customer: Option<String>,
}

impl TryFrom<Value> for CustomersDispute {
    type Error = serde_json::Error;

    fn try_from(wire: Value) -> Result<Self, Self::Error> {
        let customer = wire["charge"]["customer"].as_str().map(str::to_owned);
        Ok(Self { dispute: serde_json::from_value(wire)?, customer })
    }
}

/// Whose key it is.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    /// `acct_…`.
    pub id: String,
    /// Whether it may take payments.
    #[serde(default)]
    pub charges_enabled: bool,
}

/// What something costs.
#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    /// Whether it may be sold.
    pub active: bool,
    /// In the currency's smallest unit; none where the payer or the quantity decides.
    pub unit_amount: Option<i64>,
    /// Three letters, lower case.
    pub currency: String,
    /// How often it is paid; none for once.
    pub recurring: Option<Recurring>,
}

/// How often a price is paid.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Recurring {
    /// day, week, month or year.
    pub interval: String,
    /// Every how many of them.
    pub interval_count: u32,
}

/// Where Stripe sends events. Those for thin events are not listed with these.
#[derive(Clone, Debug, Deserialize)]
pub struct WebhookEndpoint {
    /// `we_…`.
    pub id: String,
    /// Where.
    pub url: String,
    /// enabled or disabled.
    pub status: String,
    /// Which types; `*` for nearly all.
    pub enabled_events: Vec<String>,
    /// In which version's shape; none for the account's own.
    pub api_version: Option<String>,
}

impl Stripe {
    fn pages<T>(&self, path: &[&str], customer: Option<&str>, filters: &[(&'static str, &str)]) -> Pages<T> {
        let customer = customer.map(|id| ("customer", id));
        let query = filters.iter().copied().chain(customer).map(|(name, value)| (name, value.to_owned())).collect();
        let path = path.iter().map(|&segment| segment.to_owned()).collect();
        Pages { stripe: self.clone(), path, query, after: String::new(), done: false, objects: PhantomData }
    }

    /// All of the list at `path`, for those that are short.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        path: &[&str],
        filters: &[(&'static str, &str)],
    ) -> Result<Vec<T>, StripeError> {
        let (mut all, mut pages) = (Vec::new(), self.pages(path, None, filters));
        while let Some(page) = pages.next().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// The subscriptions that were made since then, whatever became of them.
    #[must_use]
    pub fn subscriptions_since(&self, since: Timestamp, customer: Option<&str>) -> Pages<Subscription> {
        self.pages(&["subscriptions"], customer, &[("status", "all"), ("created[gte]", &seconds(since))])
    }

    /// The subscriptions from before then that nobody has ended.
    #[must_use]
    pub fn subscriptions_before(&self, before: Timestamp, customer: Option<&str>) -> Pages<Subscription> {
        self.pages(&["subscriptions"], customer, &[("created[lt]", &seconds(before))])
    }

    /// The invoices made since then that are paid.
    #[must_use]
    pub fn paid_invoices(&self, since: Timestamp, customer: Option<&str>) -> Pages<Invoice> {
        self.pages(&["invoices"], customer, &[("status", "paid"), ("created[gte]", &seconds(since))])
    }

    /// The visits to checkout begun since then that were completed, paid for or not.
    #[must_use]
    pub fn completed_sessions(&self, since: Timestamp, customer: Option<&str>) -> Pages<CheckoutSession> {
        self.pages(&["checkout", "sessions"], customer, &[("status", "complete"), ("created[gte]", &seconds(since))])
    }

    /// The refunds made since then.
    #[must_use]
    pub fn refunds(&self, since: Timestamp) -> Pages<Refund> {
        self.pages(&["refunds"], None, &[("created[gte]", &seconds(since)), ("expand[]", "data.charge")])
    }

    /// The disputes opened since then.
    #[must_use]
    pub fn disputes(&self, since: Timestamp) -> Pages<CustomersDispute> {
        self.pages(&["disputes"], None, &[("created[gte]", &seconds(since)), ("expand[]", "data.charge")])
    }

    /// The customers made since then.
    #[must_use]
    pub fn customers(&self, since: Timestamp) -> Pages<Customer> {
        self.pages(&["customers"], None, &[("created[gte]", &seconds(since))])
    }

    /// An invoice as it is now.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn invoice(&self, id: &str) -> Result<Option<Invoice>, StripeError> {
        self.object(&["invoices", id]).await
    }

    /// A visit to checkout as it is now.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn checkout_session(&self, id: &str) -> Result<Option<CheckoutSession>, StripeError> {
        self.object(&["checkout", "sessions", id]).await
    }

    /// How far a payment has come: `succeeded` when it has.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn payment_status(&self, payment_intent: &str) -> Result<Option<String>, StripeError> {
        #[derive(Deserialize)]
        struct PaymentIntent {
            status: String,
        }
        let intent: Option<PaymentIntent> = self.object(&["payment_intents", payment_intent]).await?;
        Ok(intent.map(|intent| intent.status))
    }

    /// An event as it was told; Stripe keeps them for 30 days.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn event(&self, id: &str) -> Result<Option<Value>, StripeError> {
        self.object(&["events", id]).await
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// When Stripe gives no usable answer, or does not take the key.
    pub async fn account(&self) -> Result<Option<Account>, StripeError> {
        self.object(&["account"]).await
    }

    /// A price as it is now.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn price(&self, id: &str) -> Result<Option<Price>, StripeError> {
        self.object(&["prices", id]).await
    }

    /// Where the account's events go: sixteen places at most.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn webhook_endpoints(&self) -> Result<Vec<WebhookEndpoint>, StripeError> {
        self.newest(&["webhook_endpoints"], &[]).await
    }

    /// Whether the portal was set up: without that, nobody can be sent there.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn portal_is_set_up(&self) -> Result<bool, StripeError> {
        let query = [("is_default", "true"), ("active", "true")];
        let configurations: Vec<Value> = self.newest(&["billing_portal", "configurations"], &query).await?;
        Ok(!configurations.is_empty())
    }
}

fn seconds(time: Timestamp) -> String {
    time.as_second().to_string()
}
