//! The operator's tool, as a process: what Stripe told nobody is found and mended once, and the doctor says what is wrong.
//! Other tests use the same database and the same sandbox at the same time, so each looks at its own user (`--user`).

use std::{path::PathBuf, time::Duration};

use futures_util::future::{join, join_all};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use crate::{
    checkout::{act, at_stripe, stripe},
    credits::balance,
    doubles::{Mode, Proxy},
    listener::{Asked, listen, told},
    stack::{Answer, User, create_checkout_session, dashboard, database, own_queue, request, setting},
};

/// What it printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub text: String,
}

impl Said {
    /// Whether there is a line that holds all of these.
    pub fn line(&self, words: &[&str]) -> bool {
        self.text.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

/// Runs it, with `environment` on top of the test's own.
pub async fn operate(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    let binary: PathBuf = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("operate");
    let mut command = Command::new(binary);
    let output = command.args(arguments).envs(environment.iter().copied()).kill_on_drop(true).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said { code: output.status.code().unwrap(), text: String::from_utf8(text).unwrap() }
}

/// Compares what concerns one user.
async fn reconcile(user: &User) -> Said {
    operate(&["reconcile", &format!("--user={}", user.id)], &[]).await
}

/// And mends it.
async fn mend(user: &User) -> Said {
    operate(&["reconcile", &format!("--user={}", user.id), "--apply"], &[]).await
}

/// There is something to mend, mending does it, and then there is nothing. Answers what was said before and while mending.
async fn is_mended(user: &User) -> (String, String) {
    let found = reconcile(user).await;
    assert_eq!(found.code, 1, "{}", found.text);
    let mended = mend(user).await;
    assert_eq!(mended.code, 0, "{}", mended.text);
    agrees(user).await;
    (found.text, mended.text)
}

async fn agrees(user: &User) {
    let said = reconcile(user).await;
    assert!(said.code == 0 && said.line(&["No differences"]), "{said:?}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// From now on nobody is told what happens to her at Stripe.
async fn hold(user: &User) {
    hold_all(&user.id.to_string()).await;
}

/// Nor what happens where this is mentioned.
async fn hold_all(about: &str) {
    let http = http_client::client(Duration::from_secs(10)).unwrap();
    let fault = json!({ "fault": "stripe_webhook_held", "times": 1000, "only": about });
    let response = http.put(format!("{}/sandbox/next", setting("SANDBOX_URL"))).json(&fault).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
}

/// What Stripe made of all that happened to her, oldest first.
async fn events(user: &User) -> Vec<Value> {
    events_about(&customer_of(user).await).await
}

async fn events_about(about: &str) -> Vec<Value> {
    let http = http_client::client(Duration::from_secs(10)).unwrap();
    let url = format!("{}/sandbox/stripe/events.json?about={about}", setting("SANDBOX_URL"));
    let answer: Value = http.get(url).send().await.unwrap().json().await.unwrap();
    answer["events"].as_array().unwrap().iter().rev().cloned().collect()
}

/// It comes late, all of it.
async fn resend(user: &User) {
    resend_all(&customer_of(user).await).await;
}

async fn resend_all(about: &str) {
    for event in events_about(about).await {
        act(&format!("events/{}/resend", text(&event["id"])), json!({})).await;
    }
    settled_about(about).await;
}

/// When nothing of hers is on its way any more.
async fn settled(user: &User) {
    settled_about(&customer_of(user).await).await;
}

async fn settled_about(about: &str) {
    let http = http_client::client(Duration::from_secs(30)).unwrap();
    let url = format!("{}/sandbox/stripe/settled?about={about}", setting("SANDBOX_URL"));
    assert!(http.get(url).send().await.unwrap().status().is_success());
}

async fn customer_of(user: &User) -> String {
    let select = "select customer_id from public.stripe_customers where user_id = $1";
    database().await.query_one(select, &[&user.id]).await.unwrap().get(0)
}

/// Goes to the checkout page and pays; answers the session as it is then.
async fn buy(user: &User, order: Value) -> Value {
    let request = request("POST", "/checkout-sessions", Some(&user.token), order.to_string());
    let deps = create_checkout_session(|_| {});
    let answer = Answer::from(create_checkout_session::handle(deps, request).await);
    assert_eq!(answer.status, 201, "{answer:?}");
    act(&format!("checkout/{}/pay", text(&answer.body["session_id"])), json!({})).await
}

fn pack() -> Value {
    json!({ "pack_id": "small" })
}

fn plan() -> Value {
    json!({ "plan_id": "pro" })
}

/// The charge of a session that was paid.
async fn charge(session: &Value) -> String {
    let intent = at_stripe(&format!("/v1/payment_intents/{}", text(&session["payment_intent"]))).await;
    text(&intent["latest_charge"]).to_owned()
}

#[tokio::test]
async fn a_purchase_that_nobody_told_us_of_is_found_and_given_once() {
    let user = User::new().await;
    hold(&user).await;
    let session = buy(&user, pack()).await;

    let found = reconcile(&user).await;
    let key = format!("payment_intent:{}", text(&session["payment_intent"]));
    let words = [&*key, &user.id.to_string(), "900 usd", "--apply brings: 10 credits, balance 14"];
    assert!(found.code == 1 && found.line(&words), "{found:?}");
    assert!(found.line(&["1 difference, ", "--apply mends 1, 0 for a person"]), "{found:?}");
    assert!(!found.text.contains(&user.email), "{found:?}");
    assert_eq!(balance(user.id).await, 4, "looking changes nothing");

    let mended = mend(&user).await;
    assert!(mended.code == 0 && mended.line(&[&key, "Mended: 10 credits, balance 14"]), "{mended:?}");
    assert_eq!(balance(user.id).await, 14);
    agrees(&user).await;
    assert_eq!(mend(&user).await.code, 0);

    resend(&user).await;
    assert_eq!(balance(user.id).await, 14, "the webhook that came late changes nothing");
    agrees(&user).await;
}

#[tokio::test]
async fn what_became_of_a_subscription_is_followed() {
    let user = User::new().await;
    hold(&user).await;
    let session = buy(&user, plan()).await;
    let subscription = text(&session["subscription"]);
    let (found, _) = is_mended(&user).await;
    assert!(found.contains(subscription) && found.contains("is not known here"), "{found}");
    assert!(found.contains(&format!("invoice:{}", text(&session["invoice"]))), "{found}");
    let seen = dashboard(&user).await;
    assert_eq!((&seen["plan"], &seen["credits"]), (&json!("pro"), &json!(20)));

    act(&format!("subscriptions/{subscription}/renew"), json!({})).await;
    let (found, _) = is_mended(&user).await;
    assert!(found.contains("current period end"), "{found}");
    assert_eq!(balance(user.id).await, 40);

    act(&format!("subscriptions/{subscription}/cancel"), json!({})).await;
    let (found, _) = is_mended(&user).await;
    assert!(found.contains("cancel at none → 20"), "{found}");
    assert!(dashboard(&user).await["subscription"]["ends_at"].is_string());

    act(&format!("subscriptions/{subscription}/resume"), json!({})).await;
    act(&format!("subscriptions/{subscription}/renew"), json!({ "fails": true })).await;
    let (found, _) = is_mended(&user).await;
    assert!(found.contains("status active → past_due"), "{found}");

    act(&format!("subscriptions/{subscription}/cancel"), json!({ "now": true })).await;
    let (found, _) = is_mended(&user).await;
    assert!(found.contains("status past_due → canceled"), "{found}");
    assert_eq!(dashboard(&user).await["plan"], "free");

    resend(&user).await;
    agrees(&user).await;
    assert_eq!((balance(user.id).await, &dashboard(&user).await["plan"]), (40, &json!("free")));
}

/// A subscription from before the window whose end nobody told: Stripe does not list it any more.
#[tokio::test]
async fn a_subscription_that_ended_long_ago_is_asked_for_by_its_id() {
    let user = User::new().await;
    let session = buy(&user, plan()).await;
    settled(&user).await;
    assert_eq!(dashboard(&user).await["plan"], "pro");
    hold(&user).await;
    act(&format!("subscriptions/{}/cancel", text(&session["subscription"])), json!({ "now": true })).await;
    let stripe = but(|path, answer| {
        if path == "/v1/subscriptions" {
            answer["data"] = json!([]);
        }
    })
    .await;
    let arguments = ["reconcile", &format!("--user={}", user.id), "--apply"];
    let mended = operate(&arguments, &[("STRIPE_API_URL", &stripe)]).await;
    assert!(mended.code == 0 && mended.line(&["status active → canceled"]), "{mended:?}");
    agrees(&user).await;
}

#[tokio::test]
async fn refunds_that_nobody_told_us_of_take_credits_and_failed_ones_give_them_back() {
    let user = User::new().await;
    let charge = charge(&buy(&user, pack()).await).await;
    settled(&user).await;
    assert_eq!(balance(user.id).await, 14);
    agrees(&user).await;
    hold(&user).await;

    act(&format!("charges/{charge}/refund"), json!({ "amount": 300 })).await;
    let (found, mended) = is_mended(&user).await;
    assert!(found.contains(&format!("{charge} takes 300")), "{found}");
    assert!(mended.contains("balance 14 → 11, clawed back 0 → 3, returned 0 → 300"), "{mended}");
    assert_eq!(balance(user.id).await, 11);

    let refunded = act(&format!("charges/{charge}/refund"), json!({ "amount": 600 })).await;
    is_mended(&user).await;
    assert_eq!(balance(user.id).await, 4);

    act(&format!("refunds/{}/fail", text(&refunded["id"])), json!({})).await;
    is_mended(&user).await;
    assert_eq!(balance(user.id).await, 11);

    // Stripe's list no longer has it, as when it is too old for the window.
    act(&format!("charges/{charge}/refund"), json!({})).await;
    is_mended(&user).await;
    let newest = &at_stripe(&format!("/v1/refunds?charge={charge}")).await["data"][0];
    act(&format!("refunds/{}/fail", text(&newest["id"])), json!({})).await;
    let stripe = but(|path, answer| {
        if path == "/v1/refunds" {
            answer["data"] = json!([]);
        }
    })
    .await;
    let arguments = ["reconcile", &format!("--user={}", user.id), "--apply"];
    let mended = operate(&arguments, &[("STRIPE_API_URL", &stripe)]).await;
    assert!(mended.code == 0 && mended.line(&["balance 4 → 11"]), "{mended:?}");

    resend(&user).await;
    assert_eq!(balance(user.id).await, 11);
    agrees(&user).await;
}

#[tokio::test]
async fn disputes_that_nobody_told_us_of_take_credits_until_they_are_won() {
    for (won, left) in [(true, 14), (false, 4)] {
        let user = User::new().await;
        let charge = charge(&buy(&user, pack()).await).await;
        settled(&user).await;
        // A dispute does not say whose it is.
        hold_all(&charge).await;
        let dispute = act(&format!("charges/{charge}/dispute"), json!({})).await;
        let (found, _) = is_mended(&user).await;
        assert!(found.contains(&format!("{} takes 900", text(&dispute["id"]))), "{found}");
        assert_eq!(balance(user.id).await, 4);

        act(&format!("disputes/{}/close", text(&dispute["id"])), json!({ "won": won })).await;
        if won {
            is_mended(&user).await;
        } else {
            agrees(&user).await;
        }
        assert_eq!(balance(user.id).await, left);
        resend_all(&charge).await;
        assert_eq!(balance(user.id).await, left);
    }
}

#[tokio::test]
async fn an_event_that_found_nobody_is_replayed_when_it_is_known_who_it_is() {
    let user = User::new().await;
    // Somebody made her customer and her subscription by hand, without metadata.
    let customer = stripe(Method::POST, "/v1/customers", &[]).await;
    let customer = text(&customer["id"]);
    let form = [
        ("mode", "subscription"),
        ("customer", customer),
        ("line_items[0][price]", "price_pro_monthly"),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://example.com"),
    ];
    let session = stripe(Method::POST, "/v1/checkout/sessions", &form).await;
    act(&format!("checkout/{}/pay", text(&session["id"])), json!({})).await;
    settled_about(customer).await;
    let told = events_about(customer).await;
    let paid = told.iter().find(|event| event["type"] == "invoice.paid").unwrap();
    let paid = text(&paid["id"]);

    let nobody = operate(&["replay", paid], &[]).await;
    assert!(nobody.code == 1 && nobody.line(&[paid, "Nobody is known as this customer"]), "{nobody:?}");

    let insert = "insert into public.stripe_customers (user_id, customer_id) values ($1, $2)";
    database().await.execute(insert, &[&user.id, &customer]).await.unwrap();
    let given = operate(&["replay", paid], &[]).await;
    assert!(given.code == 0 && given.line(&[paid, "invoice.paid", "Credits were given."]), "{given:?}");
    let again = operate(&["replay", paid], &[]).await;
    assert!(again.code == 0 && again.line(&["nothing moved"]), "{again:?}");
    assert_eq!(balance(user.id).await, 20);

    // The others waited, too: her subscription.
    let found = reconcile(&user).await;
    assert!(found.line(&["customer.subscription.created", "nobody is known", "another try"]), "{found:?}");
    is_mended(&user).await;
    assert_eq!((&dashboard(&user).await["plan"], balance(user.id).await), (&json!("pro"), 20));
}

#[tokio::test]
async fn an_event_that_never_came_is_fetched_and_applied() {
    let user = User::new().await;
    hold(&user).await;
    buy(&user, pack()).await;
    let events = events(&user).await;
    let of = |kind: &str| text(&events.iter().find(|event| event["type"] == kind).unwrap()["id"]).to_owned();

    let said = operate(&["replay", &of("checkout.session.completed")], &[]).await;
    assert!(said.code == 0 && said.line(&["Credits were given."]), "{said:?}");
    assert_eq!(balance(user.id).await, 14);
    let said = operate(&["replay", &of("charge.succeeded")], &[]).await;
    assert!(said.code == 0 && said.line(&["mean nothing to us"]), "{said:?}");
    let said = operate(&["replay", "evt_nobody_has_this"], &[]).await;
    assert!(said.code == 2 && said.line(&["neither the database nor Stripe has evt_nobody_has_this"]), "{said:?}");
    agrees(&user).await;
}

#[tokio::test]
async fn all_that_waits_can_be_replayed_at_once() {
    let user = User::new().await;
    let (event, unreadable) = (format!("evt_{}", Uuid::new_v4().simple()), format!("evt_{}", Uuid::new_v4().simple()));
    let session = json!({ "id": "cs_1", "object": "checkout.session", "mode": "payment", "payment_status": "paid",
        "customer": null, "payment_intent": format!("pi_{event}"), "amount_total": 900, "currency": "usd",
        "metadata": { "user_id": user.id, "pack_id": "small", "credits": "10" }, "expires_at": 1, "created": 1 });
    let insert = "insert into public.stripe_events (id, type, created, payload) values ($1, $2, now(), $3)";
    for (id, kind, object) in [
        (&event, "checkout.session.completed", session),
        (&unreadable, "invoice.paid", json!({ "id": "in_1", "lines": "of a future shape" })),
    ] {
        let payload = json!({ "id": id, "object": "event", "type": kind, "created": Timestamp::now().as_second(),
            "livemode": false, "data": { "object": object } });
        database().await.execute(insert, &[id, &kind, &payload]).await.unwrap();
    }

    let said =
        operate(&["replay", "--unapplied"], &[("SUPABASE_URL", &knowing_only(&[&event, &unreadable]).await)]).await;

    assert!(said.code == 1 && said.line(&["2 applied again, 1 still waiting"]), "{said:?}");
    assert!(said.line(&[&event, "Credits were given."]), "{said:?}");
    assert!(said.line(&[&unreadable, "cannot be read"]), "{said:?}");
    assert_eq!(balance(user.id).await, 14);
}

/// The database, which shows these of the stored events only: others wait for tests of their own.
async fn knowing_only(events: &[&str]) -> String {
    let only = format!("&id=in.({})", events.join(","));
    let origin = listen(move |asked| {
        let stored = asked.uri().path() == "/rest/v1/stripe_events";
        let query = if stored { only.clone() } else { String::new() };
        async move {
            let (status, body) = passed_on("SUPABASE_URL", asked, &query).await;
            told(status, body)
        }
    })
    .await;
    origin.as_str().trim_end_matches('/').to_owned()
}

#[tokio::test]
async fn many_operators_and_the_webhook_at_the_same_time_do_it_once() {
    for _ in 0..2 {
        let user = User::new().await;
        hold(&user).await;
        buy(&user, plan()).await;
        let charge = charge(&buy(&user, pack()).await).await;
        act(&format!("charges/{charge}/refund"), json!({ "amount": 450 })).await;

        let operators = join_all((0..4).map(|_| mend(&user)));
        let (said, ()) = join(operators, resend(&user)).await;

        for said in said {
            assert_eq!(said.code, 0, "{}", said.text);
        }
        agrees(&user).await;
        assert_eq!((balance(user.id).await, &dashboard(&user).await["plan"]), (25, &json!("pro")));
    }
}

#[tokio::test]
async fn what_stripe_does_not_know_is_told_and_left_to_a_person() {
    let user = User::new().await;
    buy(&user, pack()).await;
    settled(&user).await;
    let (key, sub) = (format!("invoice:in_{}", Uuid::new_v4().simple()), format!("sub_{}", Uuid::new_v4().simple()));
    let db = database().await;
    db.batch_execute(&format!(
        "insert into public.credit_purchases (key, user_id, credits, amount_paid, currency) values ('{key}', '{0}', 7, 1, 'usd');
         insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
            values ('{0}', 'purchase', 7, '{key}', 'd');
         insert into public.subscriptions (id, user_id, customer_id, plan_id, status, current_period_start, current_period_end,
            created, ticket) values ('{sub}', '{0}', 'cus_{0}', 'pro', 'active', now(), now() + interval '1 month', now(), 1);",
        user.id
    ))
    .await
    .unwrap();

    for said in [reconcile(&user).await, mend(&user).await] {
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.line(&[&user.id.to_string(), "7 credits", &key, "does not know as paid"]), "{said:?}");
        assert!(said.line(&[&sub, "does not exist at Stripe", "the account"]), "{said:?}");
        assert!(said.line(&["2 differences, ", "2 for a person"]), "{said:?}");
    }
    assert_eq!((balance(user.id).await, &dashboard(&user).await["plan"]), (21, &json!("pro")));
}

#[tokio::test]
async fn a_payment_for_a_price_that_no_plan_knows_is_told_until_one_does() {
    let user = User::new().await;
    let request = request("POST", "/checkout-sessions", Some(&user.token), plan().to_string());
    create_checkout_session::handle(create_checkout_session(|_| {}), request).await.unwrap();
    let customer = customer_of(&user).await;
    let recurring =
        [("product", "prod_pro"), ("unit_amount", "1500"), ("currency", "usd"), ("recurring[interval]", "month")];
    let price = stripe(Method::POST, "/v1/prices", &recurring).await;
    let price = text(&price["id"]);
    let form = [
        ("mode", "subscription"),
        ("customer", &customer),
        ("line_items[0][price]", price),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://example.com"),
    ];
    let session = stripe(Method::POST, "/v1/checkout/sessions", &form).await;
    act(&format!("checkout/{}/pay", text(&session["id"])), json!({})).await;
    settled(&user).await;
    let said = mend(&user).await;
    assert!(
        said.code == 1 && said.line(&[&user.id.to_string(), "invoice:in_", price, "earlier_price_ids"]),
        "{said:?}"
    );

    let learn = "update public.plans set earlier_price_ids = earlier_price_ids || $1::text where id = 'pro'";
    database().await.execute(learn, &[&price]).await.unwrap();
    let (found, _) = is_mended(&user).await;
    assert!(found.contains("--apply brings: 20 credits, balance 20"), "{found}");
    assert!(found.contains("plan id none → pro"), "{found}");
    assert_eq!(dashboard(&user).await["plan"], "pro");
}

/// Who went to pay through our pages is never overlooked, though the pack was taken away meanwhile.
#[tokio::test]
async fn a_payment_for_a_pack_that_is_gone_is_told() {
    let user = User::new().await;
    let (pack, id) = (format!("gone-{}", user.id), user.id.to_string());
    let customer = stripe(Method::POST, "/v1/customers", &[("metadata[user_id]", &id)]).await;
    let form = [
        ("mode", "payment"),
        ("customer", text(&customer["id"])),
        ("line_items[0][price]", "price_pack_small"),
        ("line_items[0][quantity]", "1"),
        ("metadata[user_id]", &id),
        ("metadata[pack_id]", &pack),
        ("metadata[credits]", "10"),
        ("success_url", "https://example.com"),
    ];
    let session = stripe(Method::POST, "/v1/checkout/sessions", &form).await;
    hold(&user).await;
    act(&format!("checkout/{}/pay", text(&session["id"])), json!({})).await;
    let said = mend(&user).await;
    assert!(said.code == 1 && said.line(&[&id, &format!("There is no pack {pack}")]), "{said:?}");
}

#[tokio::test]
async fn who_pays_twice_and_books_that_do_not_add_up_are_told() {
    let user = User::new().await;
    let first = buy(&user, plan()).await;
    let form = [
        ("mode", "subscription"),
        ("customer", text(&first["customer"])),
        ("line_items[0][price]", "price_pro_monthly"),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://example.com"),
    ];
    let second = stripe(Method::POST, "/v1/checkout/sessions", &form).await;
    let second = act(&format!("checkout/{}/pay", text(&second["id"])), json!({})).await;
    settled(&user).await;
    let said = reconcile(&user).await;
    let both = [&first, &second].map(|session| text(&session["subscription"]));
    assert!(said.code == 1 && said.line(&["pays for", both[0], both[1]]), "{said:?}");
    act(&format!("subscriptions/{}/cancel", both[1]), json!({ "now": true })).await;
    settled(&user).await;
    agrees(&user).await;

    // Past the triggers, as only the owner of the database can.
    let set = |balance| {
        format!(
            "set session_replication_role = replica;
             update public.credit_balances set balance = {balance} where user_id = '{}'",
            user.id
        )
    };
    database().await.batch_execute(&set(1000)).await.unwrap();
    let said = mend(&user).await;
    assert!(said.code == 1 && said.line(&["balance of 1000", "adds up to 40"]), "{said:?}");
    database().await.batch_execute(&set(40)).await.unwrap();
    agrees(&user).await;
}

#[tokio::test]
async fn a_customer_whose_mapping_was_lost_is_known_again_by_our_metadata_only() {
    let user = User::new().await;
    let request = request("POST", "/checkout-sessions", Some(&user.token), pack().to_string());
    create_checkout_session::handle(create_checkout_session(|_| {}), request).await.unwrap();
    let customer = customer_of(&user).await;
    let other = User::new().await;
    stripe(Method::POST, "/v1/customers", &[("email", &user.email)]).await;
    let db = database().await;
    db.execute("delete from public.stripe_customers where user_id = $1", &[&user.id]).await.unwrap();

    let (found, _) = is_mended(&user).await;
    assert!(found.contains(&customer) && found.contains("by its metadata"), "{found}");
    assert_eq!(customer_of(&user).await, customer);

    let steal = "update public.stripe_customers set user_id = $2 where user_id = $1";
    db.execute(steal, &[&user.id, &other.id]).await.unwrap();
    let said = mend(&user).await;
    assert!(said.code == 1 && said.line(&[&customer, &other.id.to_string(), "find out"]), "{said:?}");
    assert_eq!(customer_of(&other).await, customer, "nobody is guessed");
}

#[tokio::test]
async fn money_of_who_left_is_told_until_it_was_returned() {
    let user = User::new().await;
    hold(&user).await;
    let charge = charge(&buy(&user, pack()).await).await;
    let db = database().await;
    db.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
    let said = mend(&user).await;
    assert!(said.code == 1 && said.line(&["payment_intent:", "Nobody is known"]), "{said:?}");

    act(&format!("charges/{charge}/refund"), json!({})).await;
    mend(&user).await;
    agrees(&user).await;
}

#[tokio::test]
async fn without_a_filter_everybody_is_compared() {
    let (first, second) = (User::new().await, User::new().await);
    for user in [&first, &second] {
        hold(user).await;
        buy(user, pack()).await;
    }
    let said = operate(&["reconcile", "--since=1h"], &[]).await;
    assert_eq!(said.code, 1, "{said:?}");
    for user in [&first, &second] {
        assert!(said.line(&[&user.id.to_string(), "--apply brings: 10 credits"]), "{said:?}");
    }
}

/// Stripe's lists come in pages of a hundred.
#[tokio::test]
async fn a_long_list_is_walked_to_its_end() {
    let user = User::new().await;
    let customer = format!("cus_{}", Uuid::new_v4().simple());
    let insert = "insert into public.stripe_customers (user_id, customer_id) values ($1, $2)";
    database().await.execute(insert, &[&user.id, &customer]).await.unwrap();
    let invoices: Vec<Value> = (0..250)
        .map(|_| {
            let line = json!({ "pricing": { "price_details": { "price": "price_pro_monthly" } }, "quantity": 1 });
            json!({ "id": format!("in_{}", Uuid::new_v4().simple()), "customer": customer, "status": "paid",
                "billing_reason": "subscription_cycle", "amount_paid": 1900, "currency": "usd", "created": 1_795_000_000,
                "lines": { "data": [line], "has_more": false } })
        })
        .collect();
    let stripe = listen(move |asked| {
        let invoices = invoices.clone();
        async move {
            let query = asked.uri().query().unwrap_or_default();
            let after = query.split('&').find_map(|part| part.strip_prefix("starting_after="));
            let page = match (asked.uri().path(), after) {
                ("/v1/invoices", None) => &invoices[..100],
                ("/v1/invoices", Some(after)) => {
                    let rest = invoices.split(|one| one["id"] == after).nth(1).unwrap();
                    &rest[..rest.len().min(100)]
                }
                _ => &[],
            };
            let has_more = page.last().is_some_and(|last| last != invoices.last().unwrap());
            told(200, json!({ "object": "list", "data": page, "has_more": has_more }).to_string())
        }
    })
    .await;

    let arguments = ["reconcile", &format!("--user={}", user.id), "--apply"];
    let said = operate(&arguments, &[("STRIPE_API_URL", stripe.as_str())]).await;

    assert!(said.code == 0 && said.line(&["250 differences, ", "250 mended, 0 for a person"]), "{said:?}");
    assert_eq!(balance(user.id).await, 250 * 20);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_a_sentence_and_changes_nothing() {
    let user = User::new().await;
    hold(&user).await;
    buy(&user, plan()).await;
    let arguments = ["reconcile", &format!("--user={}", user.id), "--apply"];
    let nowhere = "http://127.0.0.1:9";
    for (environment, words) in [
        (("STRIPE_API_URL", nowhere), "Stripe could not be reached"),
        (("SUPABASE_URL", nowhere), "the database could not be reached"),
        (("STRIPE_SECRET_KEY", "sk_test_wrong"), "Stripe refused with 401"),
        (("STRIPE_SECRET_KEY", "sk_live_of_the_other_mode"), "is a live key, and STRIPE_LIVEMODE is false"),
        (("STRIPE_LIVEMODE", "true"), "is a test key, and STRIPE_LIVEMODE is true"),
        (("SUPABASE_SECRET_KEY", ""), "SUPABASE_SECRET_KEY is missing"),
    ] {
        let said = operate(&arguments, &[environment]).await;
        assert!(said.code == 2 && said.line(&["It could not be done:", words]), "{said:?}");
    }
    for arguments in [&["mend"][..], &["reconcile", "--since=yesterday"], &["replay"]] {
        let said = operate(arguments, &[]).await;
        assert!(said.code == 2 && said.line(&["It could not be done:"]), "{said:?}");
    }
    let help = operate(&["--help"], &[]).await;
    assert!(help.code == 0 && help.line(&["operate reconcile"]), "{help:?}");
    assert_eq!(balance(user.id).await, 4);

    // Stripe breaks off in the middle: what was mended stays, and another run does the rest.
    let proxy = Proxy::before(&setting("STRIPE_API_URL")).await;
    proxy.set(Mode::HangAt("GET /v1/invoices"));
    let breaking = async {
        proxy.swallowed().await;
        proxy.set(Mode::Refuse);
    };
    let origin = proxy.origin.to_string();
    let environment = [("STRIPE_API_URL", origin.as_str())];
    let (said, ()) = join(operate(&arguments, &environment), breaking).await;
    assert!(said.code == 2 && said.line(&["Stripe could not be reached"]), "{said:?}");
    assert_eq!((&dashboard(&user).await["plan"], balance(user.id).await), (&json!("pro"), 4));
    is_mended(&user).await;
    assert_eq!(balance(user.id).await, 20);
}

/// The sandbox's Stripe, whose answers are changed by `change`; answers where it is.
async fn but(change: impl Fn(&str, &mut Value) + Clone + Send + Sync + 'static) -> String {
    let origin = listen(move |asked| {
        let (change, path) = (change.clone(), asked.uri().path().to_owned());
        async move {
            let (status, body) = passed_on("STRIPE_API_URL", asked, "").await;
            let mut answer: Value = serde_json::from_slice(&body).unwrap();
            change(&path, &mut answer);
            told(status, answer.to_string())
        }
    })
    .await;
    origin.as_str().trim_end_matches('/').to_owned()
}

/// What the part at `setting` answers to this, with more of a query.
async fn passed_on(part: &'static str, asked: Asked, query: &str) -> (u16, Vec<u8>) {
    let http = http_client::client(Duration::from_secs(30)).unwrap();
    let url = format!("{}{}{query}", setting(part), asked.uri());
    let mut request = http.request(asked.method().clone(), url).body(asked.body().clone());
    for name in ["apikey", "authorization", "content-type", "stripe-version", "idempotency-key"] {
        if let Some(value) = asked.headers().get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().into())
}

/// What the doctor finds wrong; other tests may sell things of their own, which do not count here.
async fn complaints(environment: &[(&str, &str)]) -> (i32, Vec<String>) {
    let said = operate(&["doctor"], environment).await;
    for name in [
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "SUPABASE_SECRET_KEY",
        "N8N_WEBHOOK_SECRET",
        "REPLICATE_API_TOKEN",
        "REPLICATE_WEBHOOK_SECRET",
        "FAL_KEY",
    ] {
        assert!(!said.text.contains(&setting(name)), "it printed {name}");
    }
    let ours = ["price of plan pro", "price of pack small", "price of pack large"];
    let counts = |line: &&str| !line.contains(": price of ") || ours.iter().any(|name| line.contains(name));
    let wrong = said.text.lines().filter(|line| line.starts_with('✗')).filter(counts);
    (said.code, wrong.map(str::to_owned).collect())
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_with_what_works() {
    let (_, wrong) = complaints(&[]).await;
    assert_eq!(wrong, [""; 0]);
    let said = operate(&["doctor"], &[]).await;
    for (what, words) in [
        ("settings of stripe-webhook", "complete"),
        ("webhook we_sandbox", "2026-07-29.dahlia"),
        ("price of plan pro", "price_pro_monthly"),
        ("Stripe", "acct_sandbox in test mode"),
        ("settings of process-generation-job", "complete"),
        ("migrations", "applied"),
        ("model presets", "fashion_model_v1 by replicate"),
        ("generation types", "offered"),
        ("jobs an hour", "free 10"),
        ("Replicate", "accepts the token"),
        ("REPLICATE_WEBHOOK_SECRET", "is the account's"),
        ("replicate-webhook", "REPLICATE_WEBHOOK_URL"),
        ("fal", "accepts the key"),
        ("queue images", "is there"),
        ("queue uploads", "is there"),
        ("queue generation-jobs", "is there"),
        ("image bucket", &setting("MEDIA_BUCKET")),
    ] {
        assert!(said.line(&[&format!("✓ {what}: "), words]), "{what}: {said:?}");
    }
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_with_a_setting_or_a_system() {
    let nowhere = "http://127.0.0.1:9";
    let queue = format!("{}-of-nobody", setting("IMAGE_QUEUE_URL"));
    let plain = own_queue().await;
    let not_ours = setting("SUPABASE_URL");
    let (secret, publishable) = (setting("SUPABASE_SECRET_KEY"), setting("SUPABASE_PUBLISHABLE_KEY"));
    for (name, value, line) in [
        ("STRIPE_SECRET_KEY", "sk_test_wrong", "✗ Stripe: Stripe does not accept STRIPE_SECRET_KEY"),
        (
            "STRIPE_SECRET_KEY",
            "sk_live_other",
            "✗ Stripe: STRIPE_SECRET_KEY is a live key, and STRIPE_LIVEMODE is false",
        ),
        ("STRIPE_SECRET_KEY", "pk_test_page", "✗ Stripe: STRIPE_SECRET_KEY is no secret key"),
        ("STRIPE_SECRET_KEY", "none", "✗ Stripe: STRIPE_SECRET_KEY is none, but for sale is "),
        ("STRIPE_SECRET_KEY", "", "✗ Stripe: not checked, because STRIPE_SECRET_KEY is missing"),
        ("STRIPE_API_URL", nowhere, "✗ Stripe: Stripe could not be reached"),
        ("STRIPE_LIVEMODE", "no", "✗ settings of stripe-webhook: the setting STRIPE_LIVEMODE is not true or false"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_other", "✗ webhook: no webhook endpoint at Stripe is ours (we_sandbox"),
        ("SUPABASE_URL", nowhere, "✗ Supabase auth: it could not be reached at SUPABASE_URL"),
        ("SUPABASE_SECRET_KEY", "sb_secret_wrong", "✗ SUPABASE_SECRET_KEY: Supabase does not accept it"),
        ("SUPABASE_SECRET_KEY", &publishable, "✗ SUPABASE_SECRET_KEY: "),
        ("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_wrong", "✗ SUPABASE_PUBLISHABLE_KEY: Supabase does not accept it"),
        ("SUPABASE_PUBLISHABLE_KEY", &secret, "✗ SUPABASE_PUBLISHABLE_KEY: it opens what only the server may read"),
        ("SUPABASE_JWT_SECRET", "", "✗ users' tokens: the project signs them with its old shared secret"),
        ("SITE_ORIGINS", "https://example.com/", "✗ SITE_ORIGINS: each must be an origin to the letter"),
        ("N8N_WEBHOOK_URL", nowhere, "✗ n8n: it could not be reached at N8N_WEBHOOK_URL"),
        ("N8N_WEBHOOK_URL", "http://127.0.0.1:9/webhook-test/x", "✗ n8n: N8N_WEBHOOK_URL is the editor's test address"),
        ("CALLBACK_URL", nowhere, "✗ n8n-callback: it could not be reached at CALLBACK_URL"),
        ("MEDIA_BUCKET", "nobodys-bucket", "✗ image bucket: there is no bucket nobodys-bucket"),
        ("IMAGE_QUEUE_URL", &queue, "✗ queue images: IMAGE_QUEUE_URL: SQS refuses with "),
        ("GENERATION_QUEUE_URL", &queue, "✗ queue generation-jobs: GENERATION_QUEUE_URL: SQS refuses with "),
        ("UPLOAD_QUEUE_URL", "", "✗ queue uploads: not checked, because UPLOAD_QUEUE_URL is missing"),
        ("UPLOAD_QUEUE_URL", &plain, "✗ queue uploads: UPLOAD_QUEUE_URL: it has no RedrivePolicy"),
        ("AWS_ENDPOINT_URL", nowhere, "✗ queue generation-jobs: GENERATION_QUEUE_URL: SQS could not be reached"),
        (
            "GENERATION_MAX_RECEIVE_COUNT",
            "many",
            "✗ settings of process-generation-job: the setting GENERATION_MAX_RECEIVE_COUNT is not",
        ),
        (
            "REPLICATE_API_TOKEN",
            "",
            "✗ settings of process-generation-job: missing in the environment: REPLICATE_API_TOKEN",
        ),
        ("REPLICATE_API_TOKEN", "", "✗ Replicate: not checked, because REPLICATE_API_TOKEN is missing"),
        ("REPLICATE_API_TOKEN", "r8_wrong", "✗ Replicate: Replicate does not accept REPLICATE_API_TOKEN: make one"),
        ("REPLICATE_API_URL", nowhere, "✗ Replicate: it could not be reached"),
        ("REPLICATE_WEBHOOK_SECRET", "whsec_b3RoZXI=", "✗ REPLICATE_WEBHOOK_SECRET: it is another than the account's"),
        ("REPLICATE_WEBHOOK_URL", nowhere, "✗ replicate-webhook: it could not be reached at REPLICATE_WEBHOOK_URL"),
        ("REPLICATE_WEBHOOK_URL", &not_ours, "✗ replicate-webhook: REPLICATE_WEBHOOK_URL answers "),
        ("FAL_KEY", "wrong", "✗ fal: fal does not accept FAL_KEY: make one"),
        ("FAL_PLATFORM_URL", nowhere, "✗ fal: it could not be reached"),
        ("AWS_ENDPOINT_URL", nowhere, "✗ image bucket: S3 could not be reached"),
    ] {
        let (code, wrong) = complaints(&[(name, value)]).await;
        assert!(code == 1 && wrong.iter().any(|one| one.starts_with(line)), "{name}={value}: {wrong:?}");
    }
    let empty = ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_LIVEMODE"].map(|name| (name, ""));
    let (_, wrong) = complaints(&empty).await;
    let all = "✗ settings of stripe-webhook: missing in the environment: STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET, STRIPE_LIVEMODE";
    assert!(wrong.iter().any(|line| line == all), "{wrong:?}");
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_with_the_set_up_at_stripe() {
    type Change = fn(&str, &mut Value);
    let pro: (&str, Change) = (
        "✗ price of plan pro: price_pro_monthly is 2000 usd at Stripe, and our pages say 1900 usd",
        |path, answer| {
            if path == "/v1/prices/price_pro_monthly" {
                answer["unit_amount"] = json!(2000);
            }
        },
    );
    let cases: [(&str, Change); 10] = [
        pro,
        ("✗ price of plan pro: price_pro_monthly is 1900 eur at Stripe", |path, answer| {
            if path == "/v1/prices/price_pro_monthly" {
                answer["currency"] = json!("eur");
            }
        }),
        (
            "✗ price of plan pro: price_pro_monthly is paid every year at Stripe, and should be paid every month",
            |path, answer| {
                if path == "/v1/prices/price_pro_monthly" {
                    answer["recurring"]["interval"] = json!("year");
                }
            },
        ),
        ("✗ price of plan pro: price_pro_monthly is paid once at Stripe", |path, answer| {
            if path == "/v1/prices/price_pro_monthly" {
                answer["recurring"] = Value::Null;
            }
        }),
        ("✗ price of pack small: price_pack_small is archived at Stripe", |path, answer| {
            if path == "/v1/prices/price_pack_small" {
                answer["active"] = json!(false);
            }
        }),
        ("✗ webhook we_sandbox: it is not told of charge.refunded, invoice.paid: add them", |path, answer| {
            if path == "/v1/webhook_endpoints" {
                let told =
                    billing::EVENT_TYPES.iter().filter(|kind| !["charge.refunded", "invoice.paid"].contains(*kind));
                answer["data"][0]["enabled_events"] = told.copied().collect();
            }
        }),
        ("✗ webhook we_sandbox: it is disabled: enable it", |path, answer| {
            if path == "/v1/webhook_endpoints" {
                answer["data"][0]["status"] = json!("disabled");
            }
        }),
        ("✗ webhook: Stripe has no webhook endpoint: make one", |path, answer| {
            if path == "/v1/webhook_endpoints" {
                answer["data"] = json!([]);
            }
        }),
        (
            "✗ webhook: no webhook endpoint at Stripe is ours (we_sandbox at 127.0.0.1 cannot be reached",
            |path, answer| {
                if path == "/v1/webhook_endpoints" {
                    answer["data"][0]["url"] = json!("http://127.0.0.1:9/hook?key=of-somebody-else");
                }
            },
        ),
        ("✗ Stripe's customer portal: it has no settings", |path, answer| {
            if path == "/v1/billing_portal/configurations" {
                answer["data"] = json!([]);
            }
        }),
    ];
    for (line, change) in cases {
        let stripe = but(change).await;
        let (code, wrong) = complaints(&[("STRIPE_API_URL", &stripe)]).await;
        assert!(code == 1 && wrong.len() == 1 && wrong[0].starts_with(line), "{line}: {wrong:?}");
        assert!(!wrong[0].contains("of-somebody-else"));
    }
}

#[tokio::test]
async fn the_doctor_says_when_stripe_has_no_such_price_or_hides_it() {
    let missing = json!({ "error": { "type": "invalid_request_error", "code": "resource_missing", "param": "id" } });
    let forbidden = json!({ "error": { "type": "invalid_request_error" } });
    for (status, body, line) in [
        (404, missing, "✗ price of pack large: Stripe has no price price_pack_large"),
        (403, forbidden, "✗ price of pack large: STRIPE_SECRET_KEY is a restricted key"),
    ] {
        let stripe = listen(move |asked| {
            let hidden = (asked.uri().path() == "/v1/prices/price_pack_large").then(|| body.to_string());
            async move {
                match hidden {
                    Some(body) => told(status, body),
                    None => {
                        let (status, body) = passed_on("STRIPE_API_URL", asked, "").await;
                        told(status, body)
                    }
                }
            }
        })
        .await;
        let (code, wrong) = complaints(&[("STRIPE_API_URL", stripe.as_str())]).await;
        assert!(code == 1 && wrong.len() == 1 && wrong[0].starts_with(line), "{wrong:?}");
    }
}

/// The database, but for the answers at these paths.
async fn database_with(answers: &'static [(&'static str, u16, &'static str)]) -> String {
    let origin = listen(move |asked| async move {
        let path = asked.uri().path().to_owned();
        match answers.iter().find(|(at, ..)| *at == path) {
            Some((_, status, body)) => told(*status, *body),
            None => {
                let (status, body) = passed_on("SUPABASE_URL", asked, "").await;
                told(status, body)
            }
        }
    })
    .await;
    origin.as_str().trim_end_matches('/').to_owned()
}

#[tokio::test]
async fn the_doctor_says_which_migrations_are_missing_and_that_nothing_is_for_sale() {
    let database = database_with(&[
        ("/rest/v1/subscriptions", 404, r#"{"code":"PGRST205"}"#),
        ("/rest/v1/rpc/users_subscribed_twice", 404, r#"{"code":"PGRST202"}"#),
        ("/rest/v1/admin_failed_jobs", 404, r#"{"code":"PGRST205"}"#),
    ])
    .await;
    let (code, wrong) = complaints(&[("SUPABASE_URL", &database)]).await;
    let line = "✗ migrations: apply those of infra/supabase/migrations: there is no table subscriptions, no RPC users_subscribed_twice, no view admin_failed_jobs";
    assert!(code == 1 && wrong == [line], "{wrong:?}");

    let empty = database_with(&[("/rest/v1/plans", 200, "[]"), ("/rest/v1/credit_packs", 200, "[]")]).await;
    let said = operate(&["doctor"], &[("SUPABASE_URL", &empty)]).await;
    assert!(said.code == 1 && said.line(&["✗ prices: nothing is for sale"]), "{said:?}");
    let said = operate(&["doctor"], &[("SUPABASE_URL", &empty), ("STRIPE_SECRET_KEY", "none")]).await;
    assert!(said.line(&["✓ Stripe: not used, and nothing is for sale"]), "{said:?}");

    const SOME: &str = r#"[{"id":"tiny","amount":1,"currency":"usd","stripe_price_id":null}]"#;
    let database = database_with(&[("/rest/v1/credit_packs", 200, SOME)]).await;
    let said = operate(&["doctor"], &[("SUPABASE_URL", &database)]).await;
    assert!(said.line(&["✓ price of pack tiny: none, so it is not for sale"]), "{said:?}");
}

#[tokio::test]
async fn the_doctor_says_that_a_provider_of_models_is_unwell() {
    let unwell = listen(|_| async { told(503, "{}") }).await;
    let environment = [("REPLICATE_API_URL", unwell.as_str()), ("FAL_PLATFORM_URL", unwell.as_str())];
    let (code, wrong) = complaints(&environment).await;
    let lines = [
        "✗ Replicate: it answers 503 Service Unavailable: look at https://www.replicatestatus.com",
        "✗ fal: it answers 503 Service Unavailable: look at https://status.fal.ai",
    ];
    assert!(code == 1 && wrong == lines, "{wrong:?}");
}

#[tokio::test]
async fn the_doctor_says_that_nobody_can_ask_for_a_picture_and_why() {
    const FAL: &str = r#"[{"id":"one","provider":"replicate"},{"id":"two","provider":"fal"}]"#;
    const NO_JOBS: &str = r#"[{"id":"free","jobs_per_hour":0},{"id":"pro","jobs_per_hour":0}]"#;
    const ONE: &str = r#"[{"id":"free","jobs_per_hour":0},{"id":"pro","jobs_per_hour":30}]"#;
    let offers_fal = database_with(&[("/rest/v1/model_presets", 200, FAL)]).await;
    let said = operate(&["doctor"], &[("SUPABASE_URL", &offers_fal)]).await;
    assert!(said.line(&["✓ model presets: one by replicate, two by fal"]), "{said:?}");
    let said = operate(&["doctor"], &[("SUPABASE_URL", &offers_fal), ("FAL_KEY", "")]).await;
    assert!(said.line(&["✗ model presets: two is offered, ", "set FAL_KEY, or set offered = false"]), "{said:?}");
    assert!(said.code == 1 && said.line(&["✓ fal: not used, since there is no FAL_KEY"]), "{said:?}");

    let one = database_with(&[("/rest/v1/plans", 200, ONE)]).await;
    let said = operate(&["doctor"], &[("SUPABASE_URL", &one)]).await;
    assert!(said.line(&["✓ jobs an hour: free 0, pro 30"]), "{said:?}");
    let none = database_with(&[
        ("/rest/v1/model_presets", 200, "[]"),
        ("/rest/v1/pose_presets", 200, "[]"),
        ("/rest/v1/scene_presets", 404, r#"{"code":"PGRST205"}"#),
        ("/rest/v1/generation_types", 200, "[]"),
        ("/rest/v1/plans", 200, NO_JOBS),
    ])
    .await;
    let said = operate(&["doctor"], &[("SUPABASE_URL", &none)]).await;
    for line in [
        "✗ model presets: none is offered, so nobody can ask for a picture",
        "✗ poses: none is offered, so nobody can ask for a picture: set offered = true in pose_presets",
        "✗ scenes: the database answers 404 Not Found for scene_presets: are all migrations applied?",
        "✗ generation types: none is offered",
        "✗ jobs an hour: no plan lets anybody begin a picture",
    ] {
        assert!(said.code == 1 && said.line(&[line]), "{line}: {said:?}");
    }
}
