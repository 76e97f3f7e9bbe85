//! Whose token is believed: every way to forge, borrow or outlive one is refused by every function that takes one.

use auth::supabase::Verifier;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use lambda_http::http::{HeaderMap, header};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::stack::{
    Answer, User, cancel_generation_job, claims, create_checkout_session, create_generation_job, create_influencer,
    create_portal_session, create_upload, get_credit_history, get_dashboard, get_generation_job,
    get_generation_options, hs256, list_generation_jobs, request, retry_generation_job, setting, user_token,
};

/// Base64url without padding, as JWTs want it.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = |index: usize| bytes.get(index).copied().map_or(0, u32::from);
    let mut text = String::new();
    for group in 0..bytes.len().div_ceil(3) {
        let word = bits(group * 3) << 16 | bits(group * 3 + 1) << 8 | bits(group * 3 + 2);
        for place in 0..(bytes.len() - group * 3).min(3) + 1 {
            text.push(ALPHABET[(word >> (18 - 6 * place)) as usize & 63] as char);
        }
    }
    text
}

/// A project's ES256 signing key.
struct Es256 {
    pair: EcdsaKeyPair,
    kid: String,
}

impl Es256 {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { pair, kid: Uuid::new_v4().to_string() }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
                "x": base64url(&point[1..33]), "y": base64url(&point[33..]) })
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid }), claims)
    }

    fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let signed =
            format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(signature.as_ref()))
    }
}

/// A Supabase project that publishes `keys`.
async fn project(keys: Value) -> MockServer {
    let server = MockServer::start().await;
    publish(&server, keys).await;
    server
}

async fn publish(server: &MockServer, keys: Value) {
    let answer = ResponseTemplate::new(200).set_body_json(json!({ "keys": keys }));
    Mock::given(path("/auth/v1/.well-known/jwks.json")).respond_with(answer).mount(server).await;
}

fn verifier(server: &MockServer) -> Verifier {
    let http = http_client::client(std::time::Duration::from_secs(5)).unwrap();
    Verifier::new(http, &server.uri().parse::<Url>().unwrap(), None)
}

fn claims_of(server: &MockServer) -> Value {
    let mut claims = claims(Uuid::new_v4(), "a@example.com");
    claims["iss"] = json!(format!("{}/auth/v1", server.uri()));
    claims
}

fn headers(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

async fn status(verifier: &Verifier, token: &str) -> u16 {
    match verifier.authenticate(&headers(token)).await {
        Ok(_) => 200,
        Err(error) => error.status().as_u16(),
    }
}

#[tokio::test]
async fn es256_tokens_are_verified_by_the_projects_published_keys() {
    let key = Es256::new();
    let server = project(json!([key.jwk()])).await;
    let claims = claims_of(&server);
    let caller = verifier(&server).authenticate(&headers(&key.sign(&claims))).await.unwrap();
    assert_eq!(json!(caller.user_id), claims["sub"]);
    assert_eq!(caller.email.as_deref(), Some("a@example.com"));
}

#[tokio::test]
async fn rs256_tokens_are_verified_by_the_projects_published_keys() {
    let pair = RsaKeyPair::from_pkcs8(include_bytes!("fixtures/rsa-2048-only-for-tests.pk8")).unwrap();
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let jwk = json!({ "kty": "RSA", "alg": "RS256", "kid": "r", "n": base64url(&public.n), "e": base64url(&public.e) });
    let server = project(json!([jwk])).await;
    let sign = |claims: &Value| {
        let header = json!({ "alg": "RS256", "kid": "r" });
        let signed =
            format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        (signed, signature)
    };
    let verifier = verifier(&server);
    let (signed, mut signature) = sign(&claims_of(&server));
    assert_eq!(status(&verifier, &format!("{signed}.{}", base64url(&signature))).await, 200);
    signature[0] ^= 1;
    assert_eq!(status(&verifier, &format!("{signed}.{}", base64url(&signature))).await, 401);
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_an_unknown_one_causes_no_storm() {
    let (old, new) = (Es256::new(), Es256::new());
    let server = project(json!([old.jwk()])).await;
    let verifier = verifier(&server);
    let claims = claims_of(&server);
    let tokens: Vec<_> = (0..50).map(|_| old.sign(&claims)).collect();
    let all = futures_util::future::join_all(tokens.iter().map(|token| status(&verifier, token))).await;
    assert!(all.iter().all(|status| *status == 200));
    assert_eq!(server.received_requests().await.unwrap().len(), 1, "fifty callers at once, one fetch");

    // The project rotates: the new key stands beside the old one.
    server.reset().await;
    publish(&server, json!([old.jwk(), new.jwk()])).await;
    for key in [&new, &old, &new] {
        assert_eq!(status(&verifier, &key.sign(&claims)).await, 200);
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1, "a new key is fetched once");
    for _ in 0..50 {
        assert_eq!(status(&verifier, &Es256::new().sign(&claims)).await, 401);
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1, "forged tokens do not make us ask again and again");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_our_failure_not_the_callers() {
    let server = MockServer::start().await;
    Mock::given(path("/auth/v1/.well-known/jwks.json"))
        .respond_with(ResponseTemplate::new(500))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let key = Es256::new();
    let verifier = verifier(&server);
    let token = key.sign(&claims_of(&server));
    assert_eq!(status(&verifier, &token).await, 503);
    let keys = json!({ "keys": [key.jwk()] });
    Mock::given(path("/auth/v1/.well-known/jwks.json"))
        .respond_with(ResponseTemplate::new(200).set_body_json(keys))
        .mount(&server)
        .await;
    assert_eq!(status(&verifier, &token).await, 200, "and it mends itself");
}

#[tokio::test]
async fn the_algorithm_is_the_keys_not_the_tokens() {
    let key = Es256::new();
    let server = project(json!([key.jwk()])).await;
    let verifier = verifier(&server);
    let claims = claims_of(&server);
    // The classic: the public key as an HMAC secret.
    let point = key.pair.public_key().as_ref();
    for secret in [point.to_vec(), key.jwk().to_string().into_bytes(), Vec::new()] {
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap();
        assert_eq!(status(&verifier, &token).await, 401);
    }
    for alg in ["none", "RS256", "ES384", "HS512", "EdDSA"] {
        let token = key.sign_with_header(&json!({ "alg": alg, "kid": key.kid }), &claims);
        assert_eq!(status(&verifier, &token).await, 401, "{alg}");
    }
    let nameless = key.sign_with_header(&json!({ "alg": "ES256" }), &claims);
    assert_eq!(status(&verifier, &nameless).await, 401);
    let by_another = Es256 { kid: key.kid.clone(), ..Es256::new() };
    assert_eq!(status(&verifier, &by_another.sign(&claims)).await, 401);
}

/// Changes of the claims that must each cost the caller her entry.
fn bad_claims(good: &Value) -> Vec<(&'static str, Value)> {
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let now = jiff::Timestamp::now().as_second();
    let mut no_expiry = good.clone();
    no_expiry.as_object_mut().unwrap().remove("exp");
    let mut no_audience = good.clone();
    no_audience.as_object_mut().unwrap().remove("aud");
    vec![
        ("expired", with("exp", json!(now - 60))),
        ("expiry as text", with("exp", json!("9999999999"))),
        ("no expiry", no_expiry),
        ("not yet valid", with("nbf", json!(now + 600))),
        ("another audience", with("aud", json!("anon"))),
        ("no audience", no_audience),
        ("another issuer", with("iss", json!("https://evil.example/auth/v1"))),
        ("an anonymous user", with("is_anonymous", json!(true))),
        ("the anon role", with("role", json!("anon"))),
        ("the service role", with("role", json!("service_role"))),
        ("no role", with("role", json!(null))),
        ("no uuid", with("sub", json!("1 or 1=1"))),
    ]
}

#[tokio::test]
async fn claims_are_checked_whichever_way_the_token_is_signed() {
    let key = Es256::new();
    let server = project(json!([key.jwk()])).await;
    let by_keys = verifier(&server);
    let good = claims_of(&server);
    assert_eq!(status(&by_keys, &key.sign(&good)).await, 200);
    for (case, claims) in bad_claims(&good) {
        assert_eq!(status(&by_keys, &key.sign(&claims)).await, 401, "{case}");
    }
    let mut no_issuer = good.clone();
    no_issuer.as_object_mut().unwrap().remove("iss");
    assert_eq!(status(&by_keys, &key.sign(&no_issuer)).await, 401);

    let http = http_client::client(std::time::Duration::from_secs(5)).unwrap();
    let by_secret = Verifier::new(http, &server.uri().parse().unwrap(), Some("legacy".into()));
    assert_eq!(status(&by_secret, &hs256(&good, "legacy")).await, 200);
    assert_eq!(status(&by_secret, &hs256(&no_issuer, "legacy")).await, 200, "lite's tokens name no issuer");
    assert_eq!(status(&by_secret, &hs256(&good, "another")).await, 401);
    for (case, claims) in bad_claims(&good) {
        assert_eq!(status(&by_secret, &hs256(&claims, "legacy")).await, 401, "{case}");
    }
    assert_eq!(status(&by_keys, &hs256(&good, "")).await, 401, "no legacy secret, no HS256");
}

#[tokio::test]
async fn every_function_for_users_refuses_who_is_not_logged_in() {
    let user = User::new().await;
    let (create, dashboard, history) = (create_influencer(|_| {}), get_dashboard(|_| {}), get_credit_history(|_| {}));
    let (checkout, portal) = (create_checkout_session(|_| {}), create_portal_session(|_| {}));
    let upload = create_upload(|_| {});
    let (ask, again, cancel) =
        (create_generation_job(|_| {}), retry_generation_job(|_| {}), cancel_generation_job(|_| {}));
    let (job, jobs, options) =
        (get_generation_job(|_| {}), list_generation_jobs(|_| {}), get_generation_options(|_| {}));
    let mut anon = claims(user.id, &user.email);
    anon["role"] = json!("anon");
    let key = setting("SUPABASE_PUBLISHABLE_KEY");
    for token in [
        None,
        Some(""),
        Some("x.y.z"),
        Some(key.as_str()),
        Some(&hs256(&claims(user.id, "a"), "forged")),
        Some(&user_token(&anon)),
    ] {
        for answer in [
            Answer::from(
                create_influencer::handle(create.clone(), request("POST", "/influencers", token, crate::stack::wish()))
                    .await,
            ),
            Answer::from(get_dashboard::handle(dashboard.clone(), request("GET", "/dashboard", token, ())).await),
            Answer::from(
                get_credit_history::handle(history.clone(), request("GET", "/credit-history", token, ())).await,
            ),
            Answer::from(
                create_checkout_session::handle(
                    checkout.clone(),
                    request("POST", "/checkout-sessions", token, r#"{"plan_id":"pro"}"#),
                )
                .await,
            ),
            Answer::from(
                create_portal_session::handle(portal.clone(), request("POST", "/billing-portal-sessions", token, "{}"))
                    .await,
            ),
            Answer::from(create_upload::handle(upload.clone(), request("POST", "/uploads", token, "{}")).await),
            Answer::from(create_generation_job::handle(ask.clone(), request("POST", "/", token, "{}")).await),
            Answer::from(retry_generation_job::handle(again.clone(), request("POST", "/", token, ())).await),
            Answer::from(cancel_generation_job::handle(cancel.clone(), request("DELETE", "/", token, ())).await),
            Answer::from(get_generation_job::handle(job.clone(), request("GET", "/", token, ())).await),
            Answer::from(list_generation_jobs::handle(jobs.clone(), request("GET", "/", token, ())).await),
            Answer::from(get_generation_options::handle(options.clone(), request("GET", "/", token, ())).await),
        ] {
            assert_eq!((answer.status, answer.code.as_str()), (401, "unauthenticated"), "{token:?}");
        }
    }
    let mut basic = request("GET", "/dashboard", None, ());
    basic.headers_mut().insert("authorization", format!("Basic {}", user.token).parse().unwrap());
    assert_eq!(Answer::from(get_dashboard::handle(dashboard, basic).await).status, 401);
}
