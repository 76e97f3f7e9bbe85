//! JSON Web Tokens of any header and any claims, signed with any key: what libraries would not let one make.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

/// A key pair of an issuer.
pub enum Signer {
    /// Of Supabase's kind, and Clerk's.
    Es256(EcdsaKeyPair),
    /// Of Clerk's kind.
    Rs256(RsaKeyPair),
}

/// Supabase's.
pub static PROJECT_KEY: LazyLock<Signer> = LazyLock::new(es256);
/// Clerk's.
pub static CLERK_KEY: LazyLock<Signer> = LazyLock::new(es256);
/// Clerk's other.
pub static RSA_KEY: LazyLock<Signer> = LazyLock::new(|| {
    let pair = include_bytes!("../../tests/it/fixtures/rsa-2048-only-for-tests.pk8");
    Signer::Rs256(RsaKeyPair::from_pkcs8(pair).expect("a key pair"))
});

fn es256() -> Signer {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key pair");
    Signer::Es256(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key pair"))
}

impl Signer {
    /// As its issuer publishes it.
    pub fn jwk(&self, kid: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": encode(&point[1..33]), "y": encode(&point[33..]) })
            }
            Self::Rs256(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "kid": kid, "n": encode(&public.n), "e": encode(&public.e) })
            }
        }
    }

    /// What everybody knows of it.
    pub fn public(&self) -> &[u8] {
        match self {
            Self::Es256(pair) => pair.public_key().as_ref(),
            Self::Rs256(pair) => pair.public_key().as_ref(),
        }
    }

    /// Its signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
        }
    }
}

/// The signature of HS256.
pub fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// A token of these two texts, whatever they are, with what `sign` makes of them.
pub fn encoded(header: &[u8], claims: &[u8], sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
