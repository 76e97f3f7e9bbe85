//! Users of a Supabase project, by the access token that they send
//! (<https://supabase.com/docs/guides/auth/jwt-fields>).

use domain::id::UserId;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use lambda_http::http::HeaderMap;
use lambda_kit::ApiError;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::{bearer, crypto, jwks::Jwks};

/// Clocks may differ by this much, in seconds.
const LEEWAY: u64 = 10;

/// A signed-in user.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub user_id: UserId,
    /// The address that she signed up with, if the token says.
    pub email: Option<String>,
    /// Her own token, to act as her.
    pub token: SecretString,
}

/// Verifies access tokens of one project: by its published keys, and by the legacy shared secret where one is set.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    jwks: Jwks,
    legacy_secret: Option<SecretString>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    role: Option<String>,
    email: Option<String>,
    #[serde(default)]
    is_anonymous: bool,
}

impl Verifier {
    /// For the project at `url`, such as `https://<ref>.supabase.co`.
    pub fn new(http: Client, url: &Url, legacy_secret: Option<SecretString>) -> Self {
        crypto::install();
        let issuer = format!("{}/auth/v1", url.as_str().trim_end_matches('/'));
        let mut keys = url.clone();
        keys.set_path("/auth/v1/.well-known/jwks.json");
        Self { issuer, jwks: Jwks::new(http, keys), legacy_secret }
    }

    /// The caller of a request, by its `Authorization: Bearer` header.
    ///
    /// # Errors
    /// 401 for anything but a valid token of a signed-in user; 503 when the project's keys cannot be fetched.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let Some(token) = bearer(headers) else {
            return Err(ApiError::unauthenticated("Please log in: the request carries no access token."));
        };
        let refused = |cause: anyhow::Error| ApiError::unauthenticated("Please log in again.").because(cause);

        let header = decode_header(token).map_err(|error| refused(error.into()))?;
        let (key, algorithm, by_legacy_secret) = match (header.alg, &self.legacy_secret) {
            (Algorithm::HS256, Some(secret)) => {
                (DecodingKey::from_secret(secret.expose_secret().as_bytes()), Algorithm::HS256, true)
            }
            (Algorithm::HS256, None) => return Err(refused(anyhow::anyhow!("HS256, and no legacy secret is set"))),
            _ => {
                let kid = header.kid.ok_or_else(|| refused(anyhow::anyhow!("the token names no key")))?;
                let found =
                    self.jwks.key(&kid).await.map_err(|error| ApiError::unavailable("auth_unavailable", error))?;
                let (key, algorithm) =
                    found.ok_or_else(|| refused(anyhow::anyhow!("the token names an unknown key")))?;
                (key, algorithm, false)
            }
        };

        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&["authenticated"]);
        validation.set_issuer(&[&self.issuer]);
        // A token by the project's own secret may come without an issuer (@supabase/lite's do); a wrong one is refused.
        let required: &[&str] = if by_legacy_secret { &["exp", "aud", "sub"] } else { &["exp", "aud", "sub", "iss"] };
        validation.set_required_spec_claims(required);
        let claims = decode::<Claims>(token, &key, &validation).map_err(|error| refused(error.into()))?.claims;

        if claims.role.as_deref() != Some("authenticated") || claims.is_anonymous {
            return Err(refused(anyhow::anyhow!("the token is not one of a signed-in user")));
        }
        let user_id = claims.sub.parse().map_err(|_| refused(anyhow::anyhow!("the subject is not a user id")))?;
        Ok(Caller { user_id: UserId(user_id), email: claims.email, token: token.into() })
    }
}
