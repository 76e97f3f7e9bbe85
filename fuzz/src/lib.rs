//! What the targets share: the one upstream that all functions are given, their settings, and tokens signed in any way.

mod tokens;
mod upstream;

use std::sync::LazyLock;

use lambda_kit::Settings;
use tokio::runtime::{Builder, Runtime};
use url::Url;

pub use tokens::{CLERK_KEY, PROJECT_KEY, RSA_KEY, Signer, encoded, hs256};
pub use upstream::{Asked, Upstream};

/// The secret of user tokens in the old manner.
pub const JWT_SECRET: &str = "the-projects-own-secret-of-32-bytes-or-more";
/// What callback tokens are signed with.
pub const CALLBACK_TOKEN_SECRET: &str = "callback-token-secret-of-32-bytes-or-more";
/// What callbacks are signed with that carry no token.
pub const CALLBACK_HMAC_SECRET: &str = "callback-hmac-secret-of-32-bytes-or-more";
/// What Stripe signs with.
pub const STRIPE_WEBHOOK_SECRET: &str = "whsec_stripes-webhook-secret-of-the-endpoint";
/// What Replicate signs with.
pub const REPLICATE_WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Where the pages are.
pub const SITE: &str = "https://example.com";

/// The one runtime: connections to the upstream outlive a run.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// What a function would read from its environment, with `upstream` in the place of everybody whom it asks.
pub fn settings(upstream: &Url) -> Settings {
    let upstream = upstream.to_string();
    Settings::from_fn(move |name| {
        let value = match name {
            "SUPABASE_URL" | "STRIPE_API_URL" | "N8N_WEBHOOK_URL" | "REPLICATE_API_URL" => upstream.as_str(),
            "SUPABASE_JWT_SECRET" => JWT_SECRET,
            "CALLBACK_TOKEN_SECRET" => CALLBACK_TOKEN_SECRET,
            "CALLBACK_HMAC_SECRET" => CALLBACK_HMAC_SECRET,
            "STRIPE_WEBHOOK_SECRET" => STRIPE_WEBHOOK_SECRET,
            "REPLICATE_WEBHOOK_SECRET" => REPLICATE_WEBHOOK_SECRET,
            "STRIPE_LIVEMODE" => "false",
            "SITE_ORIGINS" => SITE,
            "IMAGE_HOSTS" => "replicate.delivery",
            "MEDIA_BUCKET" => "bucket",
            "MEDIA_BASE_URL" => "https://media.example.com",
            "MAX_IMAGE_BYTES" => "1000000",
            "SETUP_DEADLINE_SECONDS" => "600",
            "IMAGE_MAX_RECEIVE_COUNT" | "GENERATION_MAX_RECEIVE_COUNT" => "4",
            "CALLBACK_URL" | "REPLICATE_WEBHOOK_URL" => "https://functions.example.com",
            "IMAGE_QUEUE_URL" | "GENERATION_QUEUE_URL" | "ERASURE_QUEUE_URL" => "https://queues.example.com",
            "SUPABASE_SECRET_KEY"
            | "SUPABASE_PUBLISHABLE_KEY"
            | "STRIPE_SECRET_KEY"
            | "N8N_WEBHOOK_SECRET"
            | "REPLICATE_API_TOKEN" => "key",
            _ => return None,
        };
        Some(value.to_owned())
    })
}
