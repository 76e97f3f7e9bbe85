//! Who is calling: people by the JWT that Supabase or Clerk gave them, n8n by a token that we gave it or by a signature.
//!
//! It answers "who", never "may she".

pub mod callback_token;
pub mod signature;

mod clerk;
mod config;
mod crypto;
mod jwks;
mod supabase;

use domain::id::UserId;
use lambda_http::http::{HeaderMap, header};
use lambda_kit::ApiError;
use reqwest::Client;
use secrecy::SecretString;
use supabase_client::AsCaller;

pub use config::{Clerk, Config};

/// Clocks may differ by this much, in seconds.
const LEEWAY: u64 = 10;

/// A signed-in user.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub user_id: UserId,
    /// Her address, if the token says.
    pub email: Option<String>,
    /// Her own token, to act as her.
    pub token: SecretString,
}

/// Knows who signed in at the Supabase project, or at the Clerk application where one is configured.
#[derive(Debug)]
pub struct Verifier {
    supabase: supabase::Supabase,
    clerk: Option<clerk::Clerk>,
}

impl Verifier {
    /// Opens no connection.
    pub fn new(http: Client, config: Config) -> Self {
        crypto::install();
        let Config { supabase_url, supabase_publishable_key, supabase_jwt_secret, clerk } = config;
        Self {
            supabase: supabase::Supabase::new(http.clone(), &supabase_url, supabase_jwt_secret),
            clerk: clerk.map(|clerk| {
                let database = AsCaller::new(http.clone(), supabase_url, supabase_publishable_key);
                clerk::Clerk::new(http, clerk, database)
            }),
        }
    }

    /// The caller of a request, by its `Authorization: Bearer` header.
    ///
    /// # Errors
    /// 401 for anything but a valid token of a signed-in user; 503 when the issuer's keys cannot be fetched, or the
    /// database does not say who she is.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let Some(token) = bearer(headers) else {
            return Err(ApiError::unauthenticated("Please log in: the request carries no access token."));
        };
        match &self.clerk {
            Some(clerk) if clerk.issued(token) => clerk.caller(token).await,
            _ => self.supabase.caller(token).await,
        }
    }

    /// The same where one need not be signed in: `None` without an `Authorization` header.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    pub async fn authenticate_if_any(&self, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
        match headers.contains_key(header::AUTHORIZATION) {
            true => self.authenticate(headers).await.map(Some),
            false => Ok(None),
        }
    }
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// 401 for a token that is not believed, and why, for the log.
fn refused(cause: impl Into<anyhow::Error>) -> ApiError {
    ApiError::unauthenticated("Please log in again.").because(cause)
}
