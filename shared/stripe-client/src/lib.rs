//! Stripe (<https://docs.stripe.com/api>): who pays, for what, and what came of it.
//!
//! Every request names the API version that this crate was written for, so that an account's settings do not change what it
//! reads. Objects that come in webhooks have the version of their endpoint: they are read in the shapes before and after
//! 2025-03-31. No rule lives here, and nobody is ever looked up by e-mail.

mod checkout;
mod listing;
mod objects;
mod payments;
mod rest;
mod return_url;

pub use checkout::{NewCheckoutSession, Offer};
pub use listing::{Account, Customer, CustomersDispute, Pages, Price, Recurring, Refund, WebhookEndpoint};
pub use objects::{
    Charge, CheckoutSession, Dispute, Invoice, InvoiceLine, Subscription, SubscriptionItem, optional_reference,
};
pub use rest::{API_URL, Stripe, StripeError};
pub use return_url::{ReturnUrlError, Site};
