//! What was subscribed to, paid, returned and disputed.

use reqwest::StatusCode;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    objects::{Charge, Dispute, InvoiceLine, Subscription},
    rest::{Stripe, StripeError},
};

impl Stripe {
    /// A subscription as it is now, also one that has ended.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn subscription(&self, id: &str) -> Result<Option<Subscription>, StripeError> {
        self.object(&["subscriptions", id]).await
    }

    /// A customer's subscriptions that have not ended, also those whose first payment is still missing.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn unended_subscriptions(&self, customer: &str) -> Result<Vec<Subscription>, StripeError> {
        let mut subscriptions: Vec<Subscription> =
            self.all(&["subscriptions"], &[("customer", customer), ("status", "all")]).await?;
        subscriptions.retain(|one| !["incomplete_expired", "canceled"].contains(&one.status.as_str()));
        Ok(subscriptions)
    }

    /// Ends a subscription now, with no further invoice and nothing paid back; one that has ended stays as it is
    /// (<https://docs.stripe.com/api/subscriptions/cancel>).
    ///
    /// # Errors
    /// When Stripe gives no usable answer; repeat it then.
    pub async fn cancel_subscription(&self, id: &str) -> Result<(), StripeError> {
        match self.delete::<IgnoredAny>(&["subscriptions", id]).await {
            // So Stripe says of one that has ended, too.
            Err(StripeError::Refused { status: StatusCode::NOT_FOUND, code, .. }) if code == "resource_missing" => {
                Ok(())
            }
            answer => answer.map(drop),
        }
    }

    /// A charge as it is now, with what was refunded of it.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn charge(&self, id: &str) -> Result<Option<Charge>, StripeError> {
        self.object(&["charges", id]).await
    }

    /// A dispute as it is now.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn dispute(&self, id: &str) -> Result<Option<Dispute>, StripeError> {
        self.object(&["disputes", id]).await
    }

    /// Which invoice a payment intent paid, if it paid one.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn invoice_of(&self, payment_intent: &str) -> Result<Option<String>, StripeError> {
        #[derive(Deserialize)]
        struct InvoicePayment {
            invoice: String,
        }
        let query = [("payment[type]", "payment_intent"), ("payment[payment_intent]", payment_intent)];
        let payments: Vec<InvoicePayment> = self.newest(&["invoice_payments"], &query).await?;
        Ok(payments.into_iter().next().map(|payment| payment.invoice))
    }

    /// All lines of an invoice; the one in an event has the first ten.
    ///
    /// # Errors
    /// When Stripe gives no usable answer.
    pub async fn invoice_lines(&self, invoice: &str) -> Result<Vec<InvoiceLine>, StripeError> {
        self.all(&["invoices", invoice, "lines"], &[]).await
    }
}
