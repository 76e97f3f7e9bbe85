//! The settings of create-influencer.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What create-influencer reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call.
    pub auth: auth::Config,
    /// The Supabase project's secret key.
    pub supabase_secret_key: SecretString,
    /// The workflow's webhook.
    pub n8n_webhook_url: Url,
    /// Key of the signature on what we send there.
    pub n8n_webhook_secret: SecretString,
    /// The function URL of n8n-callback.
    pub callback_url: Url,
    /// Signs the callback tokens.
    pub callback_token_secret: SecretString,
    /// After this many seconds an unfinished set-up counts as timed out.
    pub setup_deadline_seconds: u32,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            auth: auth::Config::read(settings)?,
            supabase_secret_key: settings.secret("SUPABASE_SECRET_KEY")?,
            n8n_webhook_url: settings.url("N8N_WEBHOOK_URL")?,
            n8n_webhook_secret: settings.secret("N8N_WEBHOOK_SECRET")?,
            callback_url: settings.url("CALLBACK_URL")?,
            callback_token_secret: settings.secret("CALLBACK_TOKEN_SECRET")?,
            setup_deadline_seconds: settings.number("SETUP_DEADLINE_SECONDS")?,
        })
    }
}
