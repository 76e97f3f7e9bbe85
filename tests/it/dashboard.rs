//! get-dashboard: what a user sees of herself.

use serde_json::json;

use crate::{
    doubles::{Raw, Reply},
    stack::{
        Answer, User, dashboard, database, get_dashboard, image_key, image_pending, object, picture, request,
        requested, setting,
    },
};

#[tokio::test]
async fn a_new_user_sees_the_free_plan_four_credits_and_no_influencer() {
    let user = User::new().await;
    let expected = json!({
        "user": { "id": user.id, "email": user.email }, "plan": "free", "plan_name": "Free", "credits": 4, "subscription": null,
        "can_manage_billing": false, "influencer": null,
        "offers": {
            "plans": [{ "id": "pro", "name": "Pro", "credits": 20, "amount": 1900, "currency": "usd", "interval": "month" }],
            "packs": [
                { "id": "small", "name": "10 credits", "credits": 10, "amount": 900, "currency": "usd" },
                { "id": "large", "name": "50 credits", "credits": 50, "amount": 3900, "currency": "usd" },
            ],
        },
    });
    assert_eq!(dashboard(&user).await, expected);
}

#[tokio::test]
async fn it_takes_one_round_trip_as_the_caller() {
    let postgrest = wiremock::MockServer::start().await;
    let user = User::new().await;
    let row = json!({ "id": user.id, "plan": "pro", "plan_name": "Pro", "credits": 20, "subscription": null,
        "can_manage_billing": true, "offers": { "plans": [], "packs": [] }, "influencer": null });
    let answer = wiremock::ResponseTemplate::new(200).set_body_json(row);
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&postgrest).await;
    let deps = get_dashboard(|config| config.auth.supabase_url = postgrest.uri().parse().unwrap());
    let mut claims = crate::stack::claims(user.id, &user.email);
    claims["iss"] = json!(format!("{}/auth/v1", postgrest.uri()));
    let token = crate::stack::user_token(&claims);

    let answer = Answer::from(get_dashboard::handle(deps, request("GET", "/dashboard", Some(&token), ())).await);

    assert_eq!((answer.status, &answer.body["plan"]), (200, &json!("pro")));
    let calls = postgrest.received_requests().await.unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].headers["apikey"].to_str().unwrap(), setting("SUPABASE_PUBLISHABLE_KEY"));
    assert_eq!(calls[0].headers["authorization"].to_str().unwrap(), format!("Bearer {token}"));
}

#[tokio::test]
async fn an_unfinished_set_up_past_its_deadline_is_seen_as_timed_out() {
    for state in ["requested", "image_pending"] {
        let (user, id) = requested().await;
        assert_eq!(dashboard(&user).await["influencer"]["state"], "requested");
        let update = format!(
            "update public.influencers set state = '{state}', deadline_at = now() - interval '1 second' where id = $1"
        );
        database().await.execute(&update, &[&id]).await.unwrap();
        let her = &dashboard(&user).await["influencer"];
        assert_eq!((&her["state"], &her["failure"]["code"]), (&json!("timed_out"), &json!("timed_out")));
    }
}

#[tokio::test]
async fn the_image_comes_as_a_link_that_works_for_an_hour() {
    let (user, id) = image_pending().await;
    let key = image_key(&user, id, "png");
    let s3 = aws_sdk_s3::Client::new(&aws_setup::sdk_config().await);
    let bytes = picture(image::ImageFormat::Png);
    s3.put_object().bucket(setting("MEDIA_BUCKET")).key(&key).body(bytes.clone().into()).send().await.unwrap();
    let lock =
        "update public.influencers set state = 'ready', is_locked = true, created_at = now(), initial_image_url = $2
                where id = $1";
    let url = format!("{}/{key}", setting("MEDIA_BASE_URL"));
    database().await.execute(lock, &[&id, &url]).await.unwrap();

    let her = dashboard(&user).await["influencer"].clone();

    let link = her["image_url"].as_str().unwrap();
    assert!(link.contains("X-Amz-Expires=3600") && link.contains("X-Amz-Signature="), "{link}");
    let expires: jiff::Timestamp = her["image_url_expires_at"].as_str().unwrap().parse().unwrap();
    let lifetime = expires.as_second() - jiff::Timestamp::now().as_second();
    assert!((3590..=3600).contains(&lifetime), "{lifetime}");
    let http = http_client::client(std::time::Duration::from_secs(5)).unwrap();
    assert_eq!(http.get(link).send().await.unwrap().bytes().await.unwrap(), bytes);
    assert!(object(&key).await.is_some());
}

#[tokio::test]
async fn a_url_of_the_prototype_is_handed_on_as_it_is() {
    let (user, id) = image_pending().await;
    let lock = "update public.influencers set state = 'ready', is_locked = true, created_at = now(),
                initial_image_url = 'https://old.example.com/media/1.png' where id = $1";
    database().await.execute(lock, &[&id]).await.unwrap();
    let her = dashboard(&user).await["influencer"].clone();
    assert_eq!(her["image_url"], "https://old.example.com/media/1.png");
    assert_eq!(her["image_url_expires_at"], json!(null));
}

#[tokio::test]
async fn a_user_without_a_row_is_told_to_log_in() {
    let user = User::new().await;
    database().await.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    let request = request("GET", "/dashboard", Some(&user.token), ());
    assert_eq!(Answer::from(get_dashboard::handle(get_dashboard(|_| {}), request).await).status, 401);
}

#[tokio::test]
async fn a_database_that_talks_nonsense_is_a_503() {
    let user = User::new().await;
    for reply in [
        Reply::body("text/html", b"<html>"),
        Reply::body("application/json", b"[{}]"),
        Reply::status(502),
        Reply::status(429),
    ] {
        let postgrest = Raw::start(reply).await;
        let mut claims = crate::stack::claims(user.id, &user.email);
        claims["iss"] = json!(format!("{}auth/v1", postgrest.origin));
        let deps = get_dashboard(|config| config.auth.supabase_url = postgrest.origin.clone());
        let request = request("GET", "/dashboard", Some(&crate::stack::user_token(&claims)), ());
        let answer = Answer::from(get_dashboard::handle(deps, request).await);
        assert_eq!((answer.status, answer.code.as_str()), (503, "database_unavailable"));
    }
}
