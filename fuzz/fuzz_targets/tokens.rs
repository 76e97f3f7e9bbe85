//! Tokens: of Supabase and of Clerk, by published keys or by the project's own secret, and the callback token.
//!
//! - Nobody is let in by a token that was not signed with a key of its issuer, whatever its header says.
//! - Who is let in by one that was is whom its claims name, in time, for us, signed in.
//!
//! The input's first line says how to sign, the second is the header, the third the claims. After `as-is` comes the token itself.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use auth::{Caller, Clerk, Config, Verifier, callback_token};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fuzz::{
    Asked, CALLBACK_TOKEN_SECRET, CLERK_KEY, JWT_SECRET, PROJECT_KEY, RSA_KEY, RUNTIME, SITE, Upstream, encoded, hs256,
};
use jiff::Timestamp;
use lambda_http::http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Value, json};
use uuid::Uuid;

/// Clocks may differ by this much, in seconds.
const LEEWAY: f64 = 10.0;
/// Whom the database takes anybody of Clerk's for.
const CLERK_USER: Uuid = Uuid::from_u128(7);

static UPSTREAM: LazyLock<Upstream> = LazyLock::new(|| Upstream::start(answer));
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let mut issuer = UPSTREAM.url.clone();
    issuer.set_path("/clerk");
    let config = Config {
        supabase_url: UPSTREAM.url.clone(),
        supabase_publishable_key: "publishable".into(),
        supabase_jwt_secret: Some(JWT_SECRET.into()),
        clerk: Some(Clerk { issuer, origins: vec![SITE.to_owned()] }),
    };
    Verifier::new(http_client::client(Duration::from_secs(5)).expect("a client"), config)
});

fn answer(asked: &Asked) -> (&'static str, String) {
    let answer = match asked.url.path() {
        "/auth/v1/.well-known/jwks.json" => json!({ "keys": [PROJECT_KEY.jwk("project")] }),
        "/clerk/.well-known/jwks.json" => json!({ "keys": [CLERK_KEY.jwk("clerk"), RSA_KEY.jwk("rsa")] }),
        "/rest/v1/rpc/enter" => json!({ "outcome": "ok", "user_id": CLERK_USER }),
        path => panic!("nobody should ask for {path}"),
    };
    ("200 OK", answer.to_string())
}

/// Whose key signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Nobody,
    ProjectSecret,
    ProjectKey,
    ClerkKey,
    ClerkRsaKey,
    CallbackSecret,
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(how), Some(rest)) = (parts.next(), parts.next()) else { return Corpus::Reject };
    let (by, token) = if how == b"as-is" {
        let Ok(token) = str::from_utf8(rest) else { return Corpus::Reject };
        (By::Nobody, token.to_owned())
    } else {
        let mut parts = rest.splitn(2, |byte| *byte == b'\n');
        let (Some(header), Some(claims)) = (parts.next(), parts.next()) else { return Corpus::Reject };
        let claims = String::from_utf8_lossy(claims).replace("{url}", UPSTREAM.url.as_str().trim_end_matches('/'));
        let Some(signed) = signed(how, header, claims.as_bytes()) else { return Corpus::Reject };
        signed
    };
    let claims = token.split('.').nth(1).and_then(decoded).unwrap_or_default();
    let started = Timestamp::now().as_second() as f64;

    let scope = callback_token::verify(&CALLBACK_TOKEN_SECRET.into(), &token);
    if let Ok(scope) = scope {
        assert_eq!(by, By::CallbackSecret, "{token}");
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("sweetheart"), &json!("n8n-callback")), "{claims}");
        assert_eq!(claims["sub"].as_str().and_then(|id| id.parse().ok()), Some(scope.influencer_id.0), "{claims}");
        assert_eq!(claims["attempt"], json!(scope.attempt), "{claims}");
        assert!(claims["exp"].as_f64().is_some_and(|exp| exp + 1.0 >= started), "{claims}");
    }
    let mut headers = HeaderMap::new();
    let Ok(bearer) = HeaderValue::try_from(format!("Bearer {token}")) else { return Corpus::Keep };
    headers.insert(header::AUTHORIZATION, bearer);
    UPSTREAM.take();
    if let Ok(caller) = RUNTIME.block_on(VERIFIER.authenticate(&headers)) {
        let entered = UPSTREAM.take().iter().any(|asked| asked.url.path() == "/rest/v1/rpc/enter");
        who(by, entered, &caller, &claims, started);
    }
    Corpus::Keep
});

/// The token, and whose it is; `None` for no way of signing.
fn signed(how: &[u8], header: &[u8], claims: &[u8]) -> Option<(By, String)> {
    let secret = |secret: &'static str| move |message: &[u8]| hs256(secret.as_bytes(), message);
    let by = match how {
        b"secret" => (By::ProjectSecret, encoded(header, claims, secret(JWT_SECRET))),
        b"callback" => (By::CallbackSecret, encoded(header, claims, secret(CALLBACK_TOKEN_SECRET))),
        b"project" => (By::ProjectKey, encoded(header, claims, |message| PROJECT_KEY.sign(message))),
        b"clerk" => (By::ClerkKey, encoded(header, claims, |message| CLERK_KEY.sign(message))),
        b"rsa" => (By::ClerkRsaKey, encoded(header, claims, |message| RSA_KEY.sign(message))),
        // What forgers try: no signature, an empty secret, another one, and what everybody knows as one.
        b"none" => (By::Nobody, encoded(header, claims, |_| Vec::new())),
        b"zeros" => (By::Nobody, encoded(header, claims, |_| vec![0; 64])),
        b"empty" => (By::Nobody, encoded(header, claims, secret(""))),
        b"another" => (By::Nobody, encoded(header, claims, secret("another secret of 32 bytes or more"))),
        b"confused" => (By::Nobody, encoded(header, claims, |message| hs256(PROJECT_KEY.public(), message))),
        b"confused-rsa" => (By::Nobody, encoded(header, claims, |message| hs256(RSA_KEY.public(), message))),
        _ => return None,
    };
    Some(by)
}

/// The claims of a token, whatever stands in them.
fn decoded(claims: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// What must be so of somebody who was let in at `now`.
fn who(by: By, entered: bool, caller: &Caller, claims: &Value, now: f64) {
    // Clocks may differ, and times are rounded to seconds.
    let slack = LEEWAY + 1.0;
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp + slack >= now), "expired: {claims}");
    assert!(claims["nbf"].is_null() || claims["nbf"].as_f64().is_some_and(|nbf| nbf <= now + slack), "early: {claims}");
    assert_eq!(claims["role"], json!("authenticated"), "{claims}");
    let issuer = |path: &str| {
        let issuer = UPSTREAM.url.join(path).expect("a URL");
        let all = claims["iss"].as_array().map_or(std::slice::from_ref(&claims["iss"]), Vec::as_slice);
        all.iter().any(|one| one == issuer.as_str())
    };
    if entered {
        assert!(matches!(by, By::ClerkKey | By::ClerkRsaKey), "{by:?} entered as somebody of Clerk's: {claims}");
        assert!(issuer("/clerk"), "of another issuer: {claims}");
        assert!(claims["azp"].is_null() || claims["azp"] == SITE, "made for another page: {claims}");
        assert_ne!(claims["sts"], json!("pending"), "{claims}");
        assert_eq!(caller.user_id.0, CLERK_USER);
    } else {
        let by_secret = by == By::ProjectSecret;
        assert!(by_secret || by == By::ProjectKey, "{by:?} was let in as somebody of Supabase's: {claims}");
        assert!(issuer("/auth/v1") || by_secret && claims["iss"].is_null(), "of another issuer: {claims}");
        let all = claims["aud"].as_array().map_or(std::slice::from_ref(&claims["aud"]), Vec::as_slice);
        assert!(all.iter().any(|one| one == "authenticated"), "for somebody else: {claims}");
        assert!(claims["is_anonymous"].is_null() || claims["is_anonymous"] == false, "{claims}");
        assert_eq!(claims["sub"].as_str().and_then(|id| id.parse().ok()), Some(caller.user_id.0), "{claims}");
    }
}
