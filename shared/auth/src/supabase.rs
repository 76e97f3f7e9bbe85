//! Users of a Supabase project, by the access token that they send
//! (<https://supabase.com/docs/guides/auth/jwt-fields>).

use domain::id::UserId;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use lambda_kit::ApiError;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::{Caller, LEEWAY, jwks::Jwks, refused};

/// Verifies access tokens of one project: by its published keys, and by the legacy shared secret where one is set.
#[derive(Debug)]
pub(crate) struct Supabase {
    issuer: String,
    jwks: Jwks,
    legacy_secret: Option<SecretString>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[expect(
        dead_code,
        reason = "jsonwebtoken compares a text, and lets anything else pass where no issuer is required"
    )]
    iss: Option<String>,
    role: Option<String>,
    email: Option<String>,
    #[serde(default)]
    is_anonymous: bool,
}

impl Supabase {
    /// For the project at `url`, such as `https://<ref>.supabase.co`.
    pub(crate) fn new(http: Client, url: &Url, legacy_secret: Option<SecretString>) -> Self {
        let issuer = format!("{}/auth/v1", url.as_str().trim_end_matches('/'));
        let mut keys = url.clone();
        keys.set_path("/auth/v1/.well-known/jwks.json");
        Self { issuer, jwks: Jwks::new(http, keys), legacy_secret }
    }

    /// The user whose token it is.
    pub(crate) async fn caller(&self, token: &str) -> Result<Caller, ApiError> {
        let header = decode_header(token).map_err(refused)?;
        let (key, algorithm, by_legacy_secret) = match (header.alg, &self.legacy_secret) {
            (Algorithm::HS256, Some(secret)) => {
                (DecodingKey::from_secret(secret.expose_secret().as_bytes()), Algorithm::HS256, true)
            }
            (Algorithm::HS256, None) => return Err(refused(anyhow::anyhow!("HS256, and no legacy secret is set"))),
            _ => {
                let (key, algorithm) = self.jwks.key_for(header).await?;
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
        let claims = decode::<Claims>(token, &key, &validation).map_err(refused)?.claims;

        if claims.role.as_deref() != Some("authenticated") || claims.is_anonymous {
            return Err(refused(anyhow::anyhow!("the token is not one of a signed-in user")));
        }
        let user_id = claims.sub.parse().map_err(|_| refused(anyhow::anyhow!("the subject is not a user id")))?;
        Ok(Caller { user_id: UserId(user_id), email: claims.email, token: token.into() })
    }
}
