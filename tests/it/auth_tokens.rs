//! Whose token is believed: every way to forge, borrow or outlive one is refused by every function that takes one.

use auth::{Clerk, Config, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use lambda_http::http::{HeaderMap, header};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header as has_header, method, path},
};

use crate::identities::clerk_token;
use crate::stack::{
    Answer, User, cancel_generation_job, claims, create_checkout_session, create_generation_job, create_influencer,
    create_portal_session, create_upload, delete_account, export_account, get_credit_history, get_dashboard,
    get_generation_job, get_generation_options, hide_image, hs256, like_image, list_generation_jobs, publish_image,
    report_image, request, retry_generation_job, setting, user_token,
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

/// Clerk's kind of key.
struct Rs256 {
    pair: RsaKeyPair,
    kid: String,
}

impl Rs256 {
    fn new() -> Self {
        let pair = RsaKeyPair::from_pkcs8(include_bytes!("fixtures/rsa-2048-only-for-tests.pk8")).unwrap();
        Self { pair, kid: Uuid::new_v4().to_string() }
    }

    fn jwk(&self) -> Value {
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        json!({ "kty": "RSA", "alg": "RS256", "kid": self.kid, "n": base64url(&public.n), "e": base64url(&public.e) })
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({ "alg": "RS256", "kid": self.kid }), claims)
    }

    fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let signed =
            format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", base64url(&signature))
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
    verifier_with(server, None, None)
}

fn verifier_with(server: &MockServer, legacy_secret: Option<&str>, clerk: Option<Clerk>) -> Verifier {
    let http = http_client::client(std::time::Duration::from_secs(5)).unwrap();
    let config = Config {
        supabase_url: server.uri().parse().unwrap(),
        supabase_publishable_key: "publishable".into(),
        supabase_jwt_secret: legacy_secret.map(Into::into),
        clerk,
    };
    Verifier::new(http, config)
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
    let key = Rs256::new();
    let server = project(json!([key.jwk()])).await;
    let verifier = verifier(&server);
    let token = key.sign(&claims_of(&server));
    assert_eq!(status(&verifier, &token).await, 200);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    assert_eq!(status(&verifier, &format!("{signed}.{first}{}", &signature[1..])).await, 401);
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
        ("an issuer that is no text", with("iss", json!(7))),
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

    let by_secret = verifier_with(&server, Some("legacy"), None);
    assert_eq!(status(&by_secret, &hs256(&good, "legacy")).await, 200);
    assert_eq!(status(&by_secret, &hs256(&no_issuer, "legacy")).await, 200, "lite's tokens name no issuer");
    assert_eq!(status(&by_secret, &hs256(&good, "another")).await, 401);
    for (case, claims) in bad_claims(&good) {
        assert_eq!(status(&by_secret, &hs256(&claims, "legacy")).await, 401, "{case}");
    }
    assert_eq!(status(&by_keys, &hs256(&good, "")).await, 401, "no legacy secret, no HS256");
}

// --- Clerk ---

/// A Clerk application that publishes `keys`, and whose people the database knows as `user_id`.
async fn application(keys: Value, user_id: Uuid) -> MockServer {
    let server = MockServer::start().await;
    let jwks = ResponseTemplate::new(200).set_body_json(json!({ "keys": keys }));
    Mock::given(path("/.well-known/jwks.json")).respond_with(jwks).mount(&server).await;
    let entered = ResponseTemplate::new(200).set_body_json(json!({ "outcome": "ok", "user_id": user_id }));
    Mock::given(method("POST"))
        .and(path("/rest/v1/rpc/enter"))
        .and(has_header("apikey", "publishable"))
        .respond_with(entered)
        .mount(&server)
        .await;
    server
}

fn with_clerk(server: &MockServer) -> Verifier {
    let origins = vec!["https://www.example.com".to_owned(), "https://example.com".to_owned()];
    verifier_with(server, None, Some(Clerk { issuer: server.uri().parse().unwrap(), origins }))
}

/// The claims of a session token, version 2.
fn session_claims(server: &MockServer) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({ "azp": "https://example.com", "exp": now + 60, "fva": [0, -1], "iat": now, "iss": server.uri(), "jti": Uuid::new_v4(),
        "nbf": now - 10, "sid": "sess_1", "sts": "active", "sub": "user_2abc", "v": 2, "role": "authenticated" })
}

async fn asked(server: &MockServer, path: &str) -> usize {
    server.received_requests().await.unwrap().iter().filter(|request| request.url.path() == path).count()
}

#[tokio::test]
async fn clerks_session_tokens_are_verified_by_its_keys_and_the_database_says_who_it_is() {
    let (key, user_id) = (Rs256::new(), Uuid::new_v4());
    let server = application(json!([key.jwk()]), user_id).await;
    let verifier = with_clerk(&server);
    let mut claims = session_claims(&server);
    claims["email"] = json!("a@example.com");
    let token = key.sign(&claims);
    let caller = verifier.authenticate(&headers(&token)).await.unwrap();
    assert_eq!((caller.user_id.0, caller.email.as_deref()), (user_id, Some("a@example.com")));
    let calls = server.received_requests().await.unwrap();
    let entering = calls.iter().find(|call| call.url.path() == "/rest/v1/rpc/enter").unwrap();
    assert_eq!(entering.headers["authorization"].to_str().unwrap(), format!("Bearer {token}"), "as herself");

    let mut nameless = session_claims(&server);
    nameless.as_object_mut().unwrap().remove("azp");
    assert_eq!(status(&verifier, &key.sign(&nameless)).await, 200, "Clerk leaves azp out where there was no origin");
    assert_eq!(asked(&server, "/.well-known/jwks.json").await, 1, "keys are kept");
}

#[tokio::test]
async fn clerks_claims_are_checked_before_the_database_is_asked() {
    let key = Rs256::new();
    let server = application(json!([key.jwk()]), Uuid::new_v4()).await;
    publish(&server, json!([])).await;
    let verifier = with_clerk(&server);
    let good = session_claims(&server);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let now = jiff::Timestamp::now().as_second();
    for (case, claims) in [
        ("expired", with("exp", json!(now - 60))),
        ("no expiry", without("exp")),
        ("not yet valid", with("nbf", json!(now + 600))),
        ("no subject", without("sub")),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("the issuer with a slash", with("iss", json!(format!("{}/", server.uri())))),
        ("Supabase's issuer", with("iss", json!(format!("{}/auth/v1", server.uri())))),
        ("no issuer", without("iss")),
        ("made for another page", with("azp", json!("https://evil.example"))),
        ("made for a page whose name begins alike", with("azp", json!("https://example.com.evil.example"))),
        ("made for nobody's page", with("azp", json!(""))),
        ("a pending session", with("sts", json!("pending"))),
        ("no role", without("role")),
        ("the service role", with("role", json!("service_role"))),
    ] {
        assert_eq!(status(&verifier, &key.sign(&claims)).await, 401, "{case}");
    }
    assert_eq!(asked(&server, "/rest/v1/rpc/enter").await, 0);
    assert_eq!(status(&verifier, &key.sign(&good)).await, 200);
}

#[tokio::test]
async fn forged_tokens_of_clerks_are_refused() {
    let (key, stranger) = (Rs256::new(), Es256::new());
    let server = application(json!([key.jwk()]), Uuid::new_v4()).await;
    let verifier = with_clerk(&server);
    let claims = session_claims(&server);
    let good = key.sign(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut forged = vec![
        ("another's signature", Es256 { kid: key.kid.clone(), ..Es256::new() }.sign(&claims)),
        ("an unknown key", stranger.sign(&claims)),
        ("a changed signature", format!("{signed}.{}", &signature[..signature.len() - 4])),
        ("no key", key.sign_with_header(&json!({ "alg": "RS256" }), &claims)),
        (
            "no algorithm",
            format!(
                "{}.",
                key.sign_with_header(&json!({ "alg": "none", "kid": key.kid }), &claims).rsplit_once('.').unwrap().0
            ),
        ),
    ];
    for alg in ["none", "ES256", "RS512", "PS256", "HS256", "EdDSA"] {
        forged.push((alg, key.sign_with_header(&json!({ "alg": alg, "kid": key.kid }), &claims)));
    }
    // The classic: the public key as an HMAC secret.
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.pair.public());
    for secret in [public.n.clone(), key.jwk().to_string().into_bytes(), Vec::new()] {
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
        forged.push(("HMAC", encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap()));
    }
    for (case, token) in forged {
        assert_eq!(status(&verifier, &token).await, 401, "{case}");
    }
    assert_eq!(asked(&server, "/rest/v1/rpc/enter").await, 0);
}

#[tokio::test]
async fn without_clerk_in_the_settings_its_tokens_are_nobodys() {
    let key = Rs256::new();
    let server = application(json!([key.jwk()]), Uuid::new_v4()).await;
    let token = key.sign(&session_claims(&server));
    publish(&server, json!([])).await;
    assert_eq!(status(&verifier(&server), &token).await, 401);
    assert_eq!(asked(&server, "/.well-known/jwks.json").await, 0, "nobody is asked");

    let off = |name: &str| match name {
        "SUPABASE_URL" => Some("https://a.supabase.co".to_owned()),
        "SUPABASE_PUBLISHABLE_KEY" => Some("k".to_owned()),
        "CLERK_ORIGINS" => Some("https://example.com".to_owned()),
        _ => None,
    };
    assert!(Config::read(&lambda_kit::Settings::from_fn(off)).unwrap().clerk.is_none());
    let no_page = move |name: &str| match name {
        "CLERK_ISSUER" => Some("https://clerk.example.com".to_owned()),
        "CLERK_ORIGINS" => None,
        _ => off(name),
    };
    let error = Config::read(&lambda_kit::Settings::from_fn(no_page)).unwrap_err();
    assert!(error.to_string().contains("CLERK_ORIGINS"), "{error}");
}

#[tokio::test]
async fn a_token_of_one_issuer_is_not_verified_by_the_keys_of_the_other() {
    let (clerks, projects) = (Rs256::new(), Es256::new());
    let server = application(json!([clerks.jwk()]), Uuid::new_v4()).await;
    publish(&server, json!([projects.jwk()])).await;
    let verifier = with_clerk(&server);
    assert_eq!(status(&verifier, &clerks.sign(&session_claims(&server))).await, 200);
    assert_eq!(status(&verifier, &projects.sign(&claims_of(&server))).await, 200);
    assert_eq!(status(&verifier, &projects.sign(&session_claims(&server))).await, 401);
    assert_eq!(status(&verifier, &clerks.sign(&claims_of(&server))).await, 401);
}

#[tokio::test]
async fn what_clerk_or_the_database_does_not_answer_is_our_failure_not_the_callers() {
    let key = Rs256::new();
    let server = MockServer::start().await;
    let (verifier, token) = (with_clerk(&server), key.sign(&session_claims(&server)));
    let answer = |status: u16, body: Value| ResponseTemplate::new(status).set_body_json(body);
    let refused = async || {
        let error = verifier.authenticate(&headers(&token)).await.unwrap_err();
        (error.status().as_u16(), error.code())
    };
    assert_eq!(refused().await, (503, "auth_unavailable"), "no keys");
    let keys = answer(200, json!({ "keys": [key.jwk()] }));
    Mock::given(path("/.well-known/jwks.json")).respond_with(keys).mount(&server).await;
    for (status, body, expected) in [
        (500, json!({}), (503, "database_unavailable")),
        (404, json!({ "code": "PGRST202" }), (503, "database_unavailable")),
        (200, json!({ "outcome": "who knows" }), (503, "database_unavailable")),
        (401, json!({ "code": "PGRST301" }), (401, "unauthenticated")),
        (200, json!({ "outcome": "no_user" }), (401, "unauthenticated")),
    ] {
        let entering = Mock::given(path("/rest/v1/rpc/enter")).respond_with(answer(status, body.clone()));
        let _only_now = entering.mount_as_scoped(&server).await;
        assert_eq!(refused().await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn where_nobody_need_be_signed_in_a_bad_token_is_still_refused() {
    let key = Es256::new();
    let server = project(json!([key.jwk()])).await;
    let verifier = verifier(&server);
    assert!(verifier.authenticate_if_any(&HeaderMap::new()).await.unwrap().is_none());
    let claims = claims_of(&server);
    let caller = verifier.authenticate_if_any(&headers(&key.sign(&claims))).await.unwrap().unwrap();
    assert_eq!(json!(caller.user_id), claims["sub"]);
    for value in ["", "Bearer", "Bearer ", "Bearer x.y.z", "Basic YTpi"] {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(verifier.authenticate_if_any(&headers).await.unwrap_err().status(), 401, "{value:?}");
    }
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
    let (publish, like) = (publish_image(|_| {}), like_image(|_| {}));
    let (report, hide) = (report_image(|_| {}), hide_image(|_| {}));
    let (export, leave) = (export_account(|_| {}), delete_account(|_| {}));
    let mut anon = claims(user.id, &user.email);
    anon["role"] = json!("anon");
    let key = setting("SUPABASE_PUBLISHABLE_KEY");
    let elsewhere = clerk_token(&json!({ "azp": "https://evil.example" })).await;
    let pending = clerk_token(&json!({ "sts": "pending" })).await;
    for token in [
        None,
        Some(elsewhere.as_str()),
        Some(pending.as_str()),
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
            Answer::from(publish_image::handle(publish.clone(), request("PUT", "/", token, ())).await),
            Answer::from(like_image::handle(like.clone(), request("PUT", "/", token, ())).await),
            Answer::from(report_image::handle(report.clone(), request("POST", "/", token, "{}")).await),
            Answer::from(hide_image::handle(hide.clone(), request("PUT", "/", token, "{}")).await),
            Answer::from(export_account::handle(export.clone(), request("GET", "/", token, ())).await),
            Answer::from(delete_account::handle(leave.clone(), request("DELETE", "/", token, ())).await),
        ] {
            assert_eq!((answer.status, answer.code.as_str()), (401, "unauthenticated"), "{token:?}");
        }
    }
    let mut basic = request("GET", "/dashboard", None, ());
    basic.headers_mut().insert("authorization", format!("Basic {}", user.token).parse().unwrap());
    assert_eq!(Answer::from(get_dashboard::handle(dashboard, basic).await).status, 401);
}
