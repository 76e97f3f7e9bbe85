//! Users of a Clerk application, by the session token that they send
//! (<https://clerk.com/docs/guides/sessions/session-tokens>, version 2).
//!
//! Clerk's `sub` is no id of ours: the database knows whose it is, and makes her a user when she comes for the first time.

use std::time::Duration;

use jsonwebtoken::{Validation, dangerous::insecure_decode_claims, decode, decode_header};
use lambda_kit::ApiError;
use reqwest::Client;
use serde::Deserialize;
use supabase_client::{AsCaller, EnterOutcome, SupabaseError};
use tokio::time::timeout;

use crate::{Caller, LEEWAY, config, jwks::Jwks, refused};

/// Keys and entering together take no longer than one request of a function may: its own time is counted without them.
const PATIENCE: Duration = Duration::from_secs(4);

/// Verifies session tokens of one application.
#[derive(Debug)]
pub(crate) struct Clerk {
    issuer: String,
    origins: Vec<String>,
    jwks: Jwks,
    supabase: AsCaller,
}

#[derive(Deserialize)]
struct Issued {
    iss: String,
}

#[derive(Deserialize)]
struct Claims {
    /// The page that it was made for. Not in every token.
    azp: Option<String>,
    /// `pending` while she has yet to do something that the application wants of her.
    sts: Option<String>,
    /// What the database is to take her for.
    role: Option<String>,
    /// Only where the application adds it.
    email: Option<String>,
}

impl Clerk {
    pub(crate) fn new(http: Client, config: config::Clerk, supabase: AsCaller) -> Self {
        let issuer = config.issuer.as_str().trim_end_matches('/').to_owned();
        let mut keys = config.issuer;
        keys.set_path(&format!("{}/.well-known/jwks.json", keys.path().trim_end_matches('/')));
        Self { issuer, origins: config.origins, jwks: Jwks::new(http, keys), supabase }
    }

    /// True when the token says that it is of this application. It may lie: it is verified as one then.
    pub(crate) fn issued(&self, token: &str) -> bool {
        insecure_decode_claims::<Issued>(token).is_ok_and(|claims| claims.iss == self.issuer)
    }

    /// The user whose token it is.
    pub(crate) async fn caller(&self, token: &str) -> Result<Caller, ApiError> {
        let late = |_| {
            ApiError::unavailable(
                "auth_unavailable",
                anyhow::anyhow!("neither Clerk nor the database answered in time"),
            )
        };
        timeout(PATIENCE, self.verify_and_enter(token)).await.map_err(late)?
    }

    async fn verify_and_enter(&self, token: &str) -> Result<Caller, ApiError> {
        let header = decode_header(token).map_err(refused)?;
        let (key, algorithm) = self.jwks.key_for(header).await?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        // Session tokens have no audience.
        validation.validate_aud = false;
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        let claims = decode::<Claims>(token, &key, &validation).map_err(refused)?.claims;

        if claims.azp.is_some_and(|azp| !self.origins.contains(&azp)) {
            return Err(refused(anyhow::anyhow!("the token was made for another page")));
        }
        if claims.sts.as_deref() == Some("pending") {
            return Err(refused(anyhow::anyhow!("the session is pending")));
        }
        if claims.role.as_deref() != Some("authenticated") {
            return Err(refused(anyhow::anyhow!("the token does not carry the role authenticated")));
        }

        let token = token.into();
        match self.supabase.enter(&token).await {
            Ok(EnterOutcome::Ok { user_id }) => Ok(Caller { user_id, email: claims.email, token }),
            Ok(EnterOutcome::NoUser) => Err(ApiError::account_gone()),
            Err(error @ SupabaseError::Unauthenticated) => Err(refused(error)),
            Err(error) => Err(ApiError::unavailable("database_unavailable", error)),
        }
    }
}
