//! `X-Signature: t=<unix seconds>,v1=<hex>`: HMAC-SHA256 of `<t>.<raw body>`, the scheme that Stripe made common.

use jiff::Timestamp;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

/// The header's name.
pub const HEADER: &str = "x-signature";

/// How old or how far ahead a signature may be, in seconds.
const TOLERANCE: i64 = 300;

/// The header's value for `body` at `now`.
pub fn sign(secret: &SecretString, now: Timestamp, body: &[u8]) -> String {
    let t = now.as_second();
    format!("t={t},v1={}", hex::encode(hmac::sign(&key(secret), &signed(t, body))))
}

/// True when one of the header's `v1` is right for `body` and its time is near `now`. Compares in constant time.
pub fn verify(secret: &SecretString, header: &str, now: Timestamp, body: &[u8]) -> bool {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let Some(t) = parts().find_map(|(name, value)| if name == "t" { value.parse::<i64>().ok() } else { None }) else {
        return false;
    };
    let (key, signed) = (key(secret), signed(t, body));
    let right = parts()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, value)| hex::decode(value).ok())
        .any(|tag| hmac::verify(&key, &signed, &tag).is_ok());
    right && now.as_second().abs_diff(t) <= TOLERANCE as u64
}

fn key(secret: &SecretString) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes())
}

fn signed(t: i64, body: &[u8]) -> Vec<u8> {
    [t.to_string().as_bytes(), b".", body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_signature_matches_what_openssl_makes() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected = "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
        let made = sign(&"secret".into(), at(1_700_000_000), br#"{"a":1}"#);
        assert_eq!(made, expected);
    }

    #[test]
    fn only_a_fresh_and_right_signature_passes() {
        let secret: SecretString = "secret".into();
        let header = sign(&secret, at(1000), b"body");
        assert!(verify(&secret, &header, at(1000), b"body"));
        assert!(verify(&secret, &header, at(1300), b"body"));
        assert!(verify(&secret, &header, at(700), b"body"));
        assert!(verify(&secret, &format!("v1=00,{header}"), at(1000), b"body"), "any v1 may match");
        assert!(!verify(&secret, &header, at(1301), b"body"));
        assert!(!verify(&secret, &header, at(699), b"body"));
        assert!(!verify(&secret, &header, at(1000), b"other"));
        assert!(!verify(&"other".into(), &header, at(1000), b"body"));
        assert!(!verify(&secret, &header.replace("v1", "v0"), at(1000), b"body"));
        for garbage in ["", "t=", "t=1000", "v1=aa", "t=x,v1=zz", "t=1000,v1=zz", "t=9223372036854775808,v1=00"] {
            assert!(!verify(&secret, garbage, at(1000), b"body"), "{garbage}");
        }
    }
}
