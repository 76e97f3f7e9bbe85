//! SQS: what an account leaves behind when its rows are gone: what it pays for at Stripe, and its objects in the bucket.
//!
//! - Trigger: messages of delete-account, or of the sweeper for an end that was not reached.
//! - Effects: her open checkout pages are closed and her subscriptions end at Stripe, now, with no further invoice; everything
//!   below her prefixes is removed. Last, the database is told that it is done. Nothing happens to who did not ask for it.
//! - Once only: every step finds done what was done before. Killed anywhere, the message comes again and goes through all of
//!   them. Whoever is still at work for her may store something later: clean-up looks below the same prefixes once more.

mod config;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use domain::id::UserId;
use job_queue::EraseAccount;
use lambda_kit::Message;
use media_store::MediaStore;
use stripe_client::{Stripe, StripeError};
use supabase_client::{Deletion, Service};

pub use config::Config;

/// All that is done for one message. The function has 120 s; what is left over waits for the next try.
const TOTAL: Duration = Duration::from_secs(110);

/// What a call needs, built once.
#[derive(Debug)]
pub struct Deps {
    supabase: Service,
    stripe: Stripe,
    media: MediaStore,
}

impl Deps {
    /// Builds the clients; opens no connection.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let http = http_client::client(Duration::from_secs(10))?;
        Ok(Self {
            supabase: Service::new(http, config.supabase_url, config.supabase_secret_key),
            stripe: Stripe::new(config.stripe_api_url, config.stripe_secret_key)?,
            media: MediaStore::new(config.media_bucket, config.media_base_url.as_str()),
        })
    }
}

/// Serves one message.
///
/// # Errors
/// When it is not done, so that the message goes back to the queue.
pub async fn handle(deps: Arc<Deps>, message: Message<EraseAccount>) -> anyhow::Result<()> {
    let erasing = erase(&deps, message.body.user_id);
    tokio::time::timeout(TOTAL, erasing).await.context("it takes too long")?
}

async fn erase(deps: &Deps, user_id: UserId) -> anyhow::Result<()> {
    let customers = match deps.supabase.account_deletion(user_id).await.context("failed to read the deletion")? {
        Deletion::Leaving { customer_ids } => customer_ids,
        standing @ (Deletion::Finished | Deletion::Unknown) => {
            tracing::info!(user.id = %user_id, ?standing, "nothing to erase");
            return Ok(());
        }
    };
    for customer in &customers {
        match end_payments(&deps.stripe, customer).await {
            // Deleted in Stripe's dashboard, or left over from another account or mode: nobody pays as her any more.
            Err(error) if error.is_missing("customer") => {}
            ended => ended.context("failed to end what she pays for")?,
        }
    }
    for folder in MediaStore::folders_of(user_id) {
        deps.media.remove_all(&folder).await?;
    }
    deps.supabase.finish_account_deletion(user_id).await.context("failed to note that it is done")?;
    tracing::info!(user.id = %user_id, "account erased");
    Ok(())
}

/// Pages first: what is paid there before it is closed is among the subscriptions then.
async fn end_payments(stripe: &Stripe, customer: &str) -> Result<(), StripeError> {
    let pages = stripe.checkout_sessions(customer).await?;
    for page in pages.iter().filter(|page| page.status.as_deref() == Some("open")) {
        stripe.expire_checkout_session(&page.id).await?;
    }
    for subscription in stripe.unended_subscriptions(customer).await? {
        stripe.cancel_subscription(&subscription.id).await?;
        tracing::info!(subscription.id, "subscription cancelled");
    }
    Ok(())
}
