//! The token that goes to n8n with a request and comes back with the answer: it lets its holder finish one start of one
//! influencer's set-up, for a while, and nothing else.

use domain::id::InfluencerId;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use lambda_kit::trace::TraceId;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::crypto;

const ISSUER: &str = "sweetheart";
const AUDIENCE: &str = "n8n-callback";

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Whose set-up.
    pub influencer_id: InfluencerId,
    /// Which start of it.
    pub attempt: i32,
    /// The trace in which it was ordered, which the answer goes on with.
    pub trace: Option<TraceId>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: InfluencerId,
    attempt: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<TraceId>,
    exp: i64,
}

/// A token for `scope` that lives `lifetime` from `now`.
///
/// # Errors
/// When it cannot be signed, which no input can cause.
pub fn issue(
    secret: &SecretString,
    scope: Scope,
    now: Timestamp,
    lifetime: SignedDuration,
) -> jsonwebtoken::errors::Result<String> {
    crypto::install();
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: scope.influencer_id,
        attempt: scope.attempt,
        trace: scope.trace,
        exp: (now + lifetime).as_second(),
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.expose_secret().as_bytes()))
}

/// What a token is good for, if it is one of ours and still alive.
///
/// # Errors
/// When it is forged, expired, or made for something else.
pub fn verify(secret: &SecretString, token: &str) -> jsonwebtoken::errors::Result<Scope> {
    crypto::install();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
    let claims = decode::<Claims>(token, &key, &validation)?.claims;
    Ok(Scope { influencer_id: claims.sub, attempt: claims.attempt, trace: claims.trace })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let influencer_id = InfluencerId("7baa4aa5-cce0-4881-adfe-6243406fcadf".parse().unwrap());
        Scope { influencer_id, attempt: 3, trace: "1-5759e988-bd862e3fe1be46a994272793".parse().ok() }
    }

    #[test]
    fn a_token_comes_back_as_what_it_was_issued_for() {
        let secret = "a".repeat(32).into();
        let token = issue(&secret, scope(), Timestamp::now(), SignedDuration::from_secs(60)).unwrap();
        assert_eq!(verify(&secret, &token).unwrap(), scope());
    }

    #[test]
    fn expired_forged_and_foreign_tokens_are_refused() {
        let secret: SecretString = "a".repeat(32).into();
        let hour = SignedDuration::from_secs(3600);
        let expired = issue(&secret, scope(), Timestamp::now() - hour, SignedDuration::from_secs(3599)).unwrap();
        let forged = issue(&"b".repeat(32).into(), scope(), Timestamp::now(), hour).unwrap();
        let good = issue(&secret, scope(), Timestamp::now(), hour).unwrap();
        let (head, signature) = good.rsplit_once('.').unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", head.split_once('.').unwrap().1);
        let for_users = encode(
            &Header::new(Algorithm::HS256),
            &serde_json::json!({"iss": ISSUER, "aud": "authenticated", "sub": scope().influencer_id, "attempt": 3, "exp": 9999999999_i64}),
            &EncodingKey::from_secret(secret.expose_secret().as_bytes()),
        )
        .unwrap();
        for token in [&expired, &forged, &unsigned, &for_users, &format!("{head}.{}", &signature[1..]), &String::new()]
        {
            assert!(verify(&secret, token).is_err(), "{token}");
        }
    }
}
