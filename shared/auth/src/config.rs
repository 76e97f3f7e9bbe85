//! The settings by which callers are known: the same for every function that signed-in people call.

use lambda_kit::{SettingError, Settings};
use secrecy::SecretString;
use url::Url;

/// What a [`Verifier`](crate::Verifier) is built from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Supabase project.
    pub supabase_url: Url,
    /// Its publishable key.
    pub supabase_publishable_key: SecretString,
    /// Its legacy HS256 secret, where tokens are still signed with it.
    pub supabase_jwt_secret: Option<SecretString>,
    /// The Clerk application whose people may call, too.
    pub clerk: Option<Clerk>,
}

/// A Clerk application.
#[derive(Clone, Debug)]
pub struct Clerk {
    /// Its Frontend API, such as `https://clerk.example.com`: the `iss` of its tokens.
    pub issuer: Url,
    /// The origins of the pages that its tokens may have been made for.
    pub origins: Vec<String>,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        let clerk = match settings.optional("CLERK_ISSUER") {
            Some(_) => {
                // Checked to be there: without it every token that names its page would be refused.
                settings.text("CLERK_ORIGINS")?;
                Some(Clerk { issuer: settings.url("CLERK_ISSUER")?, origins: settings.list("CLERK_ORIGINS") })
            }
            None => None,
        };
        Ok(Self {
            supabase_url: settings.url("SUPABASE_URL")?,
            supabase_publishable_key: settings.secret("SUPABASE_PUBLISHABLE_KEY")?,
            supabase_jwt_secret: settings.optional("SUPABASE_JWT_SECRET").map(Into::into),
            clerk,
        })
    }
}
