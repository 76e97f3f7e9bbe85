//! The signing keys that an issuer publishes (<https://supabase.com/docs/guides/auth/signing-keys>,
//! <https://clerk.com/docs/guides/sessions/manual-jwt-verification>).

use std::time::{Duration, Instant};

use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet},
};
use lambda_kit::ApiError;
use reqwest::Client;
use tokio::sync::Mutex;
use url::Url;

use crate::refused;

/// Supabase's edge caches the set for this long and asks that nobody caches longer; Clerk says nothing.
const MAX_AGE: Duration = Duration::from_secs(600);
/// An unknown `kid` asks for the set again at once, but not more often than this, so that forged tokens cause no storm.
const BETWEEN_UNKNOWN: Duration = Duration::from_secs(10);

/// Keys by `kid`, fetched when first needed.
#[derive(Debug)]
pub(crate) struct Jwks {
    http: Client,
    url: Url,
    // The lock is held while fetching: callers that wait for it find the answer of the one who asked.
    fetched: Mutex<Option<Fetched>>,
}

#[derive(Debug)]
struct Fetched {
    set: JwkSet,
    at: Instant,
    /// When an unknown `kid` last asked for the set.
    for_unknown_at: Option<Instant>,
}

impl Jwks {
    pub(crate) fn new(http: Client, url: Url) -> Self {
        Self { http, url, fetched: Mutex::new(None) }
    }

    /// The key that a token's header names, and the one algorithm it is for.
    ///
    /// # Errors
    /// 401 when it names none of the issuer's; 503 when the set cannot be fetched.
    pub(crate) async fn key_for(&self, header: Header) -> Result<(DecodingKey, Algorithm), ApiError> {
        let kid = header.kid.ok_or_else(|| refused(anyhow::anyhow!("the token names no key")))?;
        let found = self.key(&kid).await.map_err(|error| ApiError::unavailable("auth_unavailable", error))?;
        found.ok_or_else(|| refused(anyhow::anyhow!("the token names an unknown key")))
    }

    /// The key named `kid` and the one algorithm it is for. `None` when the issuer has no such key.
    async fn key(&self, kid: &str) -> anyhow::Result<Option<(DecodingKey, Algorithm)>> {
        let mut fetched = self.fetched.lock().await;
        let mut for_unknown_at = None;
        if let Some(Fetched { set, at, for_unknown_at: before }) = fetched.as_ref()
            && at.elapsed() < MAX_AGE
        {
            let known = set.find(kid);
            if known.is_some() || before.is_some_and(|before| before.elapsed() < BETWEEN_UNKNOWN) {
                return Ok(known.and_then(usable));
            }
            for_unknown_at = Some(Instant::now());
        }
        let asked = http_client::send(http_client::Upstream::Keys, self.http.get(self.url.clone()));
        let response = asked.await?.error_for_status()?;
        let set: JwkSet = response.json().await?;
        let key = set.find(kid).and_then(usable);
        *fetched = Some(Fetched { set, at: Instant::now(), for_unknown_at });
        Ok(key)
    }
}

/// Pins the algorithm to the kind of key, so that a token cannot choose one.
fn usable(jwk: &Jwk) -> Option<(DecodingKey, Algorithm)> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    Some((DecodingKey::from_jwk(jwk).ok()?, algorithm))
}
