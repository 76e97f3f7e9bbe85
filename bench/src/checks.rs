//! How many tokens and signatures one core checks in a second.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::ensure;
use image_models::webhook;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::SecretString;
use uuid::Uuid;

use crate::{
    keys::{Issuer, callback_token, stripe_signature, webhook_signature},
    report::Report,
    upstream::{Answer, Pace, Upstream},
};

const SECRET: &str = "bWFkZSB1cCBmb3IgbWVhc3VyaW5nIG9ubHk=";
const TIME: Duration = Duration::from_secs(1);
const RUNS: usize = 5;

/// The best of some runs: what disturbs only slows.
async fn a_second(mut check: impl AsyncFnMut() -> bool) -> anyhow::Result<f64> {
    let mut best = 0.0_f64;
    for _ in 0..RUNS {
        let (begun, mut checked) = (Instant::now(), 0_u32);
        while begun.elapsed() < TIME {
            ensure!(black_box(check().await), "what is right was refused");
            checked += 1;
        }
        best = best.max(f64::from(checked) / begun.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Checks what is right, again and again.
pub async fn measure(report: &mut Report) -> anyhow::Result<()> {
    eprintln!("checks");
    let issuer = Issuer::new()?;
    let keys = vec![("GET /auth/v1/.well-known/jwks.json".to_owned(), vec![Answer::json(issuer.key_set())])];
    let supabase = Upstream::start(|_| Ok(keys), Pace::Quick).await?;
    let user = Uuid::new_v4();
    let config = auth::Config {
        supabase_url: supabase.origin.clone(),
        supabase_publishable_key: "sb_publishable_bench".into(),
        supabase_jwt_secret: None,
        clerk: None,
    };
    let verifier = auth::Verifier::new(http_client::client(Duration::from_secs(5))?, config);
    let mut bearer = HeaderMap::new();
    bearer.insert(AUTHORIZATION, format!("Bearer {}", issuer.access_token(&supabase.origin, user)?).parse()?);

    let secret = SecretString::from(SECRET);
    let callback = callback_token(SECRET, user)?;
    // As long as Stripe's events and Replicate's predictions often are.
    let body = format!("{{\"text\": \"{}\"}}", "x".repeat(3_000));
    let stripe = stripe_signature(SECRET, &body);
    let (id, now) = ("msg_2kbNwJ7PExample", Timestamp::now().as_second().to_string());
    let mut webhook = HeaderMap::new();
    webhook.insert("webhook-id", id.parse()?);
    webhook.insert("webhook-signature", webhook_signature(SECRET, id, &now, &body)?.parse()?);
    webhook.insert("webhook-timestamp", now.parse()?);
    let key = webhook::Key::new(&format!("whsec_{SECRET}").into())?;

    let body = body.as_bytes();
    let rows = [
        ("access token of Supabase's, ES256", a_second(async || verifier.authenticate(&bearer).await.is_ok()).await?),
        (
            "callback token of ours, HS256",
            a_second(async || auth::callback_token::verify(&secret, &callback).is_ok()).await?,
        ),
        (
            "signature of Stripe's, 3 KB",
            a_second(async || auth::signature::verify(&secret, &stripe, Timestamp::now(), body)).await?,
        ),
        (
            "signature of Replicate's, 3 KB",
            a_second(async || webhook::verify(&key, &webhook, body, Timestamp::now())).await?,
        ),
    ];
    report.say("### Tokens and signatures");
    let rows = rows.map(|(what, checked)| vec![what.to_owned(), format!("{:.0}", checked)]);
    report.table(&["check", " a second, on one core"], &rows);
    Ok(())
}
