//! What Stripe has to tell our endpoint.

/// The types of events that mean something to us, as Stripe calls them today. An endpoint that lacks one loses money or credits.
pub const EVENT_TYPES: [&str; 20] = [
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.refunded",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.updated",
    "invoice.paid",
    "invoice.payment_failed",
    "refund.created",
    "refund.failed",
    "refund.updated",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_types_that_are_read() {
        let reading = include_str!("reading.rs");
        let arms = reading.split("match event.kind() {").nth(1).unwrap().split("_ => Self::Nothing").next().unwrap();
        let read = arms.split('"').skip(1).step_by(2).filter(|text| text.contains('.'));
        // Names of before.
        let earlier = ["charge.refund.updated", "invoice.payment_succeeded"];
        let mut read: Vec<&str> = read.filter(|kind| !earlier.contains(kind)).collect();
        read.sort_unstable();
        assert_eq!(read, EVENT_TYPES);
    }
}
