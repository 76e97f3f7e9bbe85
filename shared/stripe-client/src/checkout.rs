//! Selling: customers, Stripe's checkout page, and its portal where customers manage what they have.

use domain::id::UserId;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::{
    objects::{CheckoutSession, Subscription},
    rest::{Stripe, StripeError, encode, fingerprint},
};

/// The key in a session's metadata that tells what it was made of.
const FINGERPRINT: &str = "fingerprint";

/// What a checkout page sells.
#[derive(Clone, Copy, Debug)]
pub enum Offer<'a> {
    /// A plan, paid for each period.
    Plan {
        /// Our id of it.
        id: &'a str,
    },
    /// Credits, paid once.
    Pack {
        /// Our id of it.
        id: &'a str,
        /// How many, as promised now.
        credits: i32,
    },
}

/// What a checkout page is to be made of.
#[derive(Clone, Copy, Debug)]
pub struct NewCheckoutSession<'a> {
    /// Who pays: `cus_…`.
    pub customer: &'a str,
    /// Who gets it.
    pub user_id: UserId,
    /// What it costs: `price_…`.
    pub price: &'a str,
    /// What she gets.
    pub offer: Offer<'a>,
    /// Where the page leads when it is paid.
    pub success_url: &'a Url,
    /// Where it leads when she changes her mind.
    pub cancel_url: &'a Url,
}

impl NewCheckoutSession<'_> {
    /// The same for two sessions that sell the same to the same customer and lead to the same pages.
    fn fingerprint(&self) -> String {
        fingerprint(&encode(&pairs(&self.form())))
    }

    /// Whether `session` was made of this.
    #[must_use]
    pub fn made(&self, session: &CheckoutSession) -> bool {
        session.metadata.get(FINGERPRINT) == Some(&self.fingerprint())
    }

    /// <https://docs.stripe.com/api/checkout/sessions/create>
    fn form(&self) -> Vec<(String, String)> {
        let user_id = self.user_id.to_string();
        let (mode, data, metadata) = match self.offer {
            Offer::Plan { id } => {
                ("subscription", "subscription_data", vec![("user_id", user_id.clone()), ("plan_id", id.to_owned())])
            }
            Offer::Pack { id, credits } => (
                "payment",
                "payment_intent_data",
                vec![("user_id", user_id.clone()), ("pack_id", id.to_owned()), ("credits", credits.to_string())],
            ),
        };
        let mut form = vec![
            ("mode".to_owned(), mode.to_owned()),
            ("customer".to_owned(), self.customer.to_owned()),
            ("client_reference_id".to_owned(), user_id),
            ("line_items[0][price]".to_owned(), self.price.to_owned()),
            ("line_items[0][quantity]".to_owned(), "1".to_owned()),
            ("success_url".to_owned(), self.success_url.to_string()),
            ("cancel_url".to_owned(), self.cancel_url.to_string()),
        ];
        for (key, value) in metadata {
            form.push((format!("metadata[{key}]"), value.clone()));
            form.push((format!("{data}[metadata][{key}]"), value));
        }
        form
    }
}

fn pairs(form: &[(String, String)]) -> Vec<(&str, &str)> {
    form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

impl Stripe {
    /// Makes a customer for a user and answers the id.
    ///
    /// # Errors
    /// When Stripe gives no usable answer; repeat it with the same key then.
    pub async fn create_customer(
        &self,
        idempotency_key: &str,
        user_id: UserId,
        email: Option<&str>,
    ) -> Result<String, StripeError> {
        #[derive(Deserialize)]
        struct Customer {
            id: String,
        }
        let user_id = user_id.to_string();
        let mut form = vec![("metadata[user_id]", user_id.as_str())];
        form.extend(email.map(|email| ("email", email)));
        let customer: Customer = self.post(&["customers"], idempotency_key, &form).await?;
        Ok(customer.id)
    }

    /// Makes a checkout page.
    ///
    /// # Errors
    /// When Stripe gives no usable answer; repeat it with the same key then.
    pub async fn create_checkout_session(
        &self,
        idempotency_key: &str,
        new: &NewCheckoutSession<'_>,
    ) -> Result<CheckoutSession, StripeError> {
        let mut form = new.form();
        form.push((format!("metadata[{}]", FINGERPRINT), new.fingerprint()));
        self.post(&["checkout", "sessions"], idempotency_key, &pairs(&form)).await
    }

    /// A customer's checkout pages, newest first, whatever became of them: a hundred at most.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn checkout_sessions(&self, customer: &str) -> Result<Vec<CheckoutSession>, StripeError> {
        self.newest(&["checkout", "sessions"], &[("customer", customer)]).await
    }

    /// Closes a checkout page, so that nobody can pay there any more. One that is paid or closed stays as it is.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn expire_checkout_session(&self, id: &str) -> Result<(), StripeError> {
        let key = format!("expire:{id}");
        match self.post::<Value>(&["checkout", "sessions", id, "expire"], &key, &[]).await {
            Ok(_) => Ok(()),
            Err(StripeError::Refused { status, .. }) if status == 400 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A customer's subscriptions that go on until somebody ends them, paid for or not. One whose first payment is still
    /// missing is not among them: it ends by itself.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn live_subscriptions(&self, customer: &str) -> Result<Vec<Subscription>, StripeError> {
        let mut subscriptions: Vec<Subscription> =
            self.all(&["subscriptions"], &[("customer", customer), ("status", "all")]).await?;
        subscriptions.retain(|subscription| {
            !["incomplete", "incomplete_expired", "canceled"].contains(&subscription.status.as_str())
        });
        Ok(subscriptions)
    }

    /// Opens the portal for a customer and answers its URL, which is good for a few minutes.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn create_portal_session(&self, customer: &str, return_url: &Url) -> Result<String, StripeError> {
        #[derive(Deserialize)]
        struct PortalSession {
            url: String,
        }
        let form = [("customer", customer), ("return_url", return_url.as_str())];
        let key = format!("portal:{}", Uuid::new_v4());
        let session: PortalSession = self.post(&["billing_portal", "sessions"], &key, &form).await?;
        Ok(session.url)
    }
}
