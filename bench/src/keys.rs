//! Keys made for one run, and what is signed with them.

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::InfluencerId;
use jiff::{SignedDuration, Timestamp};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

/// How long tokens live: longer than a run.
const LIFETIME: SignedDuration = SignedDuration::from_hours(12);

const KEY_ID: &str = "bench";

/// The issuer of access tokens.
pub struct Issuer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    /// With a new key.
    pub fn new() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let lost = |_| anyhow::anyhow!("no key can be made");
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(lost)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Ok(Self { pair: pair.map_err(|error| anyhow::anyhow!("{error}"))?, random })
    }

    /// The key as it is published.
    pub fn key_set(&self) -> Value {
        // An uncompressed point: a byte that says so, and twice 32 bytes.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let encode = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": encode(x), "y": encode(y) }] })
    }

    /// A signed-in user's access token, as the Supabase project at `supabase` gives it.
    pub fn access_token(&self, supabase: &Url, user_id: Uuid) -> anyhow::Result<String> {
        let now = Timestamp::now();
        let claims = json!({
            "iss": format!("{supabase}auth/v1"), "aud": "authenticated", "role": "authenticated", "sub": user_id,
            "email": "clara@example.com", "session_id": Uuid::new_v4(), "is_anonymous": false, "iat": now.as_second(),
            "exp": (now + LIFETIME).as_second(),
        });
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(json!({ "alg": "ES256", "typ": "JWT", "kid": KEY_ID })), encode(claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes());
        let signature = signature.map_err(|_| anyhow::anyhow!("no token can be signed"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// A callback token of ours.
pub fn callback_token(secret: &str, influencer_id: Uuid) -> anyhow::Result<String> {
    let scope = auth::callback_token::Scope { influencer_id: InfluencerId(influencer_id), attempt: 1, trace: None };
    Ok(auth::callback_token::issue(&secret.into(), scope, Timestamp::now(), LIFETIME)?)
}

/// `Stripe-Signature` of a body.
pub fn stripe_signature(secret: &str, body: &str) -> String {
    auth::signature::sign(&SecretString::from(secret), Timestamp::now(), body.as_bytes())
}

/// `webhook-signature` of a body, as Standard Webhooks are signed. `secret` is without its `whsec_`.
pub fn webhook_signature(secret: &str, id: &str, time: &str, body: &str) -> anyhow::Result<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret)?);
    Ok(format!("v1,{}", STANDARD.encode(hmac::sign(&key, format!("{id}.{time}.{body}").as_bytes()))))
}
