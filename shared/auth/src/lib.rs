//! Who is calling: Supabase's users by their JWT, n8n by a token that we gave it or by a signature.
//!
//! It answers "who", never "may she".

pub mod callback_token;
pub mod signature;
pub mod supabase;

mod crypto;
mod jwks;

use lambda_http::http::{HeaderMap, header};

/// The token of an `Authorization: Bearer` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
