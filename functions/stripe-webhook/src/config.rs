//! The settings of stripe-webhook.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What stripe-webhook reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its secret key.
    pub supabase_secret_key: SecretString,
    /// Stripe's API.
    pub stripe_api_url: Url,
    /// The account's key; a restricted one that may read subscriptions, invoices, charges and disputes will do.
    pub stripe_secret_key: SecretString,
    /// Signs what Stripe sends to our endpoint.
    pub stripe_webhook_secret: SecretString,
    /// The secret before it, while it is being rotated.
    pub stripe_webhook_secret_previous: Option<SecretString>,
    /// Whether this stage is about real money.
    pub stripe_livemode: bool,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            supabase_url: settings.url("SUPABASE_URL")?,
            supabase_secret_key: settings.secret("SUPABASE_SECRET_KEY")?,
            stripe_api_url: settings.url_or("STRIPE_API_URL", stripe_client::API_URL)?,
            stripe_secret_key: settings.secret("STRIPE_SECRET_KEY")?,
            stripe_webhook_secret: signing_secret("STRIPE_WEBHOOK_SECRET", settings.text("STRIPE_WEBHOOK_SECRET")?)?,
            stripe_webhook_secret_previous: match settings.optional("STRIPE_WEBHOOK_SECRET_PREVIOUS") {
                Some(secret) => Some(signing_secret("STRIPE_WEBHOOK_SECRET_PREVIOUS", secret)?),
                None => None,
            },
            stripe_livemode: settings.flag("STRIPE_LIVEMODE")?,
        })
    }
}

/// Whoever knows it gives out credits: a word that somebody typed until Stripe has given one will not do.
fn signing_secret(name: &'static str, text: String) -> Result<SecretString, SettingError> {
    if text.starts_with("whsec_") && text.len() >= 32 {
        Ok(text.into())
    } else {
        Err(SettingError::Malformed(name, "a signing secret as Stripe gives it (whsec_…)"))
    }
}
