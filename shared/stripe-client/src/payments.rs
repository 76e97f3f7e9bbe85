//! What was subscribed to, paid, returned and disputed.

use serde::Deserialize;

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
