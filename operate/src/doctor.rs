//! `doctor`: every setting, every system. Each check is a line; one that fails says what is wrong and what to do.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use auth::signature;
use billing::EVENT_TYPES;
use domain::id::UserId;
use image_models::{FAL_PLATFORM_URL, REPLICATE_API_URL};
use jiff::Timestamp;
use lambda_kit::{SettingError, Settings};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use stripe_client::{Price, Recurring, Site, Stripe, StripeError, WebhookEndpoint};
use supabase_client::{Priced, Service, SupabaseError};
use url::Url;
use uuid::Uuid;

use crate::{
    End, Environment,
    money::{is_live, mode},
    queues::{DeadLetters, QUEUES},
    settings,
};

/// A function that starts cold needs some of it.
const TIMEOUT: Duration = Duration::from_secs(10);

type ReadSettings = fn(&Settings) -> Result<(), SettingError>;

/// Every function, and how it reads its settings.
const FUNCTIONS: [(&str, ReadSettings); 29] = [
    ("cancel-generation-job", |settings| cancel_generation_job::Config::read(settings).map(drop)),
    ("check-invariants", |settings| check_invariants::Config::read(settings).map(drop)),
    ("clean-up", |settings| clean_up::Config::read(settings).map(drop)),
    ("create-checkout-session", |settings| create_checkout_session::Config::read(settings).map(drop)),
    ("create-generation-job", |settings| create_generation_job::Config::read(settings).map(drop)),
    ("create-influencer", |settings| create_influencer::Config::read(settings).map(drop)),
    ("create-portal-session", |settings| create_portal_session::Config::read(settings).map(drop)),
    ("create-upload", |settings| create_upload::Config::read(settings).map(drop)),
    ("delete-account", |settings| delete_account::Config::read(settings).map(drop)),
    ("erase-account", |settings| erase_account::Config::read(settings).map(drop)),
    ("export-account", |settings| export_account::Config::read(settings).map(drop)),
    ("fetch-image", |settings| fetch_image::Config::read(settings).map(drop)),
    ("get-credit-history", |settings| get_credit_history::Config::read(settings).map(drop)),
    ("get-dashboard", |settings| get_dashboard::Config::read(settings).map(drop)),
    ("get-generation-job", |settings| get_generation_job::Config::read(settings).map(drop)),
    ("get-generation-options", |settings| get_generation_options::Config::read(settings).map(drop)),
    ("hide-image", |settings| hide_image::Config::read(settings).map(drop)),
    ("like-image", |settings| like_image::Config::read(settings).map(drop)),
    ("list-generation-jobs", |settings| list_generation_jobs::Config::read(settings).map(drop)),
    ("list-images", |settings| list_images::Config::read(settings).map(drop)),
    ("n8n-callback", |settings| n8n_callback::Config::read(settings).map(drop)),
    ("process-generation-job", |settings| process_generation_job::Config::read(settings).map(drop)),
    ("publish-image", |settings| publish_image::Config::read(settings).map(drop)),
    ("register-upload", |settings| register_upload::Config::read(settings).map(drop)),
    ("replicate-webhook", |settings| replicate_webhook::Config::read(settings).map(drop)),
    ("report-image", |settings| report_image::Config::read(settings).map(drop)),
    ("retry-generation-job", |settings| retry_generation_job::Config::read(settings).map(drop)),
    ("stripe-webhook", |settings| stripe_webhook::Config::read(settings).map(drop)),
    ("sweep-generation-jobs", |settings| sweep_generation_jobs::Config::read(settings).map(drop)),
];

/// What a picture is made of beside a model, and the table that says so.
const CHOICES: [(&str, &str); 3] =
    [("poses", "pose_presets"), ("scenes", "scene_presets"), ("generation types", "generation_types")];

/// What STRIPE_SECRET_KEY says where nothing is sold.
const NO_STRIPE: &str = "none";

/// What takes the place of a setting that is wrong, one after the other, until the next one comes into sight.
const STAND_INS: [&str; 4] = ["https://example.com", "1", "true", "whsec_c3RhbmRzIGluIGZvciBhIHNlY3JldCBvZiBTdHJpcGU="];

/// Where the migrations are, in the folder that this was built in.
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/supabase/migrations");

/// Checks everything.
pub(crate) async fn examine(environment: &Environment, say: &mut (dyn FnMut(&str) + Send)) -> End {
    let mut doctor = Doctor { settings: settings(environment), say, checks: 0, wrong: 0 };
    for (function, read) in FUNCTIONS {
        doctor.note(&format!("settings of {function}"), faults(environment, read));
    }
    let site = doctor.site();
    doctor.note("SITE_ORIGINS", site);
    doctor.supabase().await;
    doctor.stripe().await;
    doctor.n8n().await;
    doctor.image_models().await;
    doctor.aws().await;

    let Doctor { checks, wrong, .. } = doctor;
    let verdict = match wrong {
        0 => format!("All {checks} checks are well."),
        _ => format!("{wrong} of {checks} checks found something wrong."),
    };
    say(&verdict);
    End::well_if(wrong == 0)
}

/// What is wrong with the settings of a function: all of it, not only what it would stumble over first.
fn faults(environment: &Environment, read: ReadSettings) -> anyhow::Result<String> {
    let mut environment = environment.clone();
    let (mut missing, mut malformed, mut last, mut stand_ins) = (Vec::new(), Vec::new(), "", STAND_INS.iter());
    while let Err(error) = read(&settings(&environment)) {
        let (SettingError::Missing(name) | SettingError::Malformed(name, _)) = error;
        if name != last {
            match error {
                SettingError::Missing(name) => missing.push(name),
                SettingError::Malformed(..) => malformed.push(error.to_string()),
            }
            (last, stand_ins) = (name, STAND_INS.iter());
        }
        let Some(value) = stand_ins.next() else { break };
        environment.insert(name.to_owned(), (*value).to_owned());
    }
    if !missing.is_empty() {
        malformed.insert(0, format!("missing in the environment: {}", missing.join(", ")));
    }
    ensure!(malformed.is_empty(), malformed.join("; "));
    Ok("complete".to_owned())
}

struct Doctor<'a> {
    settings: Settings,
    say: &'a mut (dyn FnMut(&str) + Send),
    checks: usize,
    wrong: usize,
}

impl Doctor<'_> {
    fn note(&mut self, what: &str, result: anyhow::Result<String>) {
        self.checks += 1;
        let line = match result {
            Ok(words) => format!("✓ {what}: {words}"),
            Err(error) => {
                self.wrong += 1;
                match error.downcast_ref() {
                    Some(SettingError::Missing(name)) => format!("✗ {what}: not checked, because {name} is missing"),
                    _ => format!("✗ {what}: {error:#}"),
                }
            }
        };
        (self.say)(&line);
    }

    fn site(&self) -> anyhow::Result<String> {
        let origins = self.settings.list("SITE_ORIGINS");
        ensure!(!origins.is_empty(), "it is missing: name the origins of the pages, such as https://www.example.com");
        ensure!(
            Site::of(&origins).is_some(),
            "each must be an origin to the letter, such as https://www.example.com: no path, no slash at the end"
        );
        let live = self.settings.flag("STRIPE_LIVEMODE").unwrap_or_default();
        ensure!(!live || origins.iter().all(|one| one.starts_with("https://")), "with real money, all must be https");
        Ok(origins.join(", "))
    }

    async fn supabase(&mut self) {
        let result = self.auth().await;
        let answers = result.is_ok();
        self.note("Supabase auth", result);
        if !answers {
            return (self.say)("  Its keys and tables could not be checked.");
        }
        let result = self.signing_keys().await;
        self.note("users' tokens", result);
        let result = self.publishable_key().await;
        self.note("SUPABASE_PUBLISHABLE_KEY", result);
        let result = self.secret_key().await;
        let works = result.is_ok();
        self.note("SUPABASE_SECRET_KEY", result);
        if works {
            let result = self.migrations().await;
            self.note("migrations", result);
            let result = self.models().await;
            self.note("model presets", result);
            for (what, table) in CHOICES {
                let result = self.choices(table).await;
                self.note(what, result);
            }
            let result = self.hourly_limits().await;
            self.note("jobs an hour", result);
        }
    }

    async fn auth(&self) -> anyhow::Result<String> {
        let status = self.ask_supabase("/auth/v1/health").await?.status();
        // What it thinks of the key is said below.
        let answers = status.is_success() || status == StatusCode::UNAUTHORIZED;
        ensure!(answers, "it answers {status}: look at the project's state in Supabase");
        Ok("answers".to_owned())
    }

    async fn signing_keys(&self) -> anyhow::Result<String> {
        let answer = self.ask_supabase("/auth/v1/.well-known/jwks.json").await?;
        let keys: Value = answer.json().await.map_err(reqwest::Error::without_url).unwrap_or_default();
        let count = keys["keys"].as_array().map_or(0, Vec::len);
        let legacy = self.settings.optional("SUPABASE_JWT_SECRET").is_some();
        ensure!(
            count > 0 || legacy,
            "the project signs them with its old shared secret: set SUPABASE_JWT_SECRET, or change it to signing keys"
        );
        Ok(if count > 0 { format!("{count} signing keys") } else { "signed with the old shared secret".to_owned() })
    }

    async fn publishable_key(&self) -> anyhow::Result<String> {
        let key = self.settings.text("SUPABASE_PUBLISHABLE_KEY")?;
        let answer = self.ask_supabase("/rest/v1/plans?select=id&limit=1").await?;
        let status = answer.status();
        let problem: Value = answer.json().await.map_err(reqwest::Error::without_url).unwrap_or_default();
        ensure!(
            !status.is_success() && !key.starts_with("sb_secret_"),
            "it opens what only the server may read: this is a secret key, and every browser gets it. Replace it at once"
        );
        // Who is not signed in may not read this table: then the key was accepted.
        ensure!(problem["code"] == "42501", "Supabase does not accept it ({status}): copy it from the API settings");
        Ok("accepted, and opens nothing by itself".to_owned())
    }

    /// With the publishable key, and without a user.
    async fn ask_supabase(&self, path: &str) -> anyhow::Result<Response> {
        let url = self.settings.url("SUPABASE_URL")?.join(path)?;
        let key = self.settings.text("SUPABASE_PUBLISHABLE_KEY")?;
        let request = client()?.get(url).header("apikey", key);
        let sent = request.send().await.map_err(reqwest::Error::without_url);
        sent.context("it could not be reached at SUPABASE_URL: check the address, and whether the project is paused")
    }

    fn database(&self) -> anyhow::Result<Service> {
        let key = self.settings.secret("SUPABASE_SECRET_KEY")?;
        Ok(Service::new(client()?, self.settings.url("SUPABASE_URL")?, key))
    }

    async fn secret_key(&self) -> anyhow::Result<String> {
        match self.database()?.packs().await {
            Ok(_) => Ok("accepted, and opens the tables".to_owned()),
            Err(SupabaseError::Unauthenticated) => bail!("Supabase does not accept it: copy it from the API settings"),
            Err(SupabaseError::Refused(_, code)) if code == "42501" => {
                bail!("it opens nothing: is it the publishable key?")
            }
            Err(SupabaseError::Refused(StatusCode::NOT_FOUND, _)) => {
                bail!("it is accepted, but our tables are not there: apply the migrations of infra/supabase")
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The tables of all migrations, and an RPC and a view that came late.
    async fn migrations(&self) -> anyhow::Result<String> {
        let database = self.database()?;
        let tables = tables(Path::new(MIGRATIONS))?;
        let mut missing = Vec::new();
        for table in &tables {
            if !database.has_table(table).await? {
                missing.push(format!("table {table}"));
            }
        }
        if let Err(SupabaseError::Refused(StatusCode::NOT_FOUND, _)) =
            database.users_subscribed_twice(Some(UserId(Uuid::nil()))).await
        {
            missing.push("RPC users_subscribed_twice".to_owned());
        }
        if !database.has_table("admin_failed_jobs").await? {
            missing.push("view admin_failed_jobs".to_owned());
        }
        ensure!(missing.is_empty(), "apply those of infra/supabase/migrations: there is no {}", missing.join(", no "));
        Ok(format!("applied, with {} tables", tables.len()))
    }

    /// Every model that is offered needs a provider that process-generation-job has the key of.
    async fn models(&self) -> anyhow::Result<String> {
        let offered = self.rows("model_presets", "select=id,provider&offered=is.true&order=position,id").await?;
        ensure!(!offered.is_empty(), "none is offered, so nobody can ask for a picture: set offered = true for one");
        for preset in &offered {
            let (provider, id) = (text(&preset["provider"]), text(&preset["id"]));
            let setting = if provider == "fal" { "FAL_KEY" } else { "REPLICATE_API_TOKEN" };
            ensure!(
                self.settings.optional(setting).is_some(),
                "{id} is offered, and every job with it fails because {provider} is not set up: set {setting}, or set \
                 offered = false for it"
            );
        }
        let names: Vec<String> =
            offered.iter().map(|preset| format!("{} by {}", text(&preset["id"]), text(&preset["provider"]))).collect();
        Ok(names.join(", "))
    }

    async fn choices(&self, table: &str) -> anyhow::Result<String> {
        let offered = self.rows(table, "select=id&offered=is.true").await?;
        ensure!(!offered.is_empty(), "none is offered, so nobody can ask for a picture: set offered = true in {table}");
        Ok(format!("{} offered", offered.len()))
    }

    async fn hourly_limits(&self) -> anyhow::Result<String> {
        let plans = self.rows("plans", "select=id,jobs_per_hour&order=position,id").await?;
        let some = plans.iter().any(|plan| plan["jobs_per_hour"].as_i64() > Some(0));
        ensure!(some, "no plan lets anybody begin a picture: set jobs_per_hour in plans");
        let limits: Vec<String> =
            plans.iter().map(|plan| format!("{} {}", text(&plan["id"]), plan["jobs_per_hour"])).collect();
        Ok(limits.join(", "))
    }

    /// Of a table, as the server.
    async fn rows(&self, table: &str, query: &str) -> anyhow::Result<Vec<Value>> {
        let mut url = self.settings.url("SUPABASE_URL")?.join("/rest/v1/")?.join(table)?;
        url.set_query(Some(query));
        let key = self.settings.text("SUPABASE_SECRET_KEY")?;
        let mut request = client()?.get(url).header("apikey", &key);
        // A legacy key is a JWT, and wanted here too.
        if key.starts_with("eyJ") {
            request = request.bearer_auth(&key);
        }
        let answer =
            request.send().await.map_err(reqwest::Error::without_url).context("the database did not answer")?;
        let status = answer.status();
        ensure!(status.is_success(), "the database answers {status} for {table}: are all migrations applied?");
        Ok(answer.json().await.map_err(reqwest::Error::without_url)?)
    }

    async fn stripe(&mut self) {
        if self.settings.optional("STRIPE_SECRET_KEY").as_deref() == Some(NO_STRIPE) {
            let result = self.nothing_is_for_sale().await;
            return self.note("Stripe", result);
        }
        let result = self.account().await;
        let works = result.is_ok();
        self.note("Stripe", result);
        if !works {
            return (self.say)("  Prices, webhook and portal could not be checked.");
        }
        match self.goods().await {
            Ok(goods) => {
                if goods.iter().all(|one| one.stripe_price_id.is_none()) {
                    let wrong = "nothing is for sale: enter the stripe_price_id of plans and packs";
                    self.note("prices", Err(anyhow::anyhow!(wrong)));
                }
                for one in goods {
                    let result = self.price(&one).await;
                    self.note(&format!("price of {}", name(&one)), result);
                }
            }
            Err(error) => self.note("prices", Err(error)),
        }
        self.webhook().await;
        let result = self.portal().await;
        self.note("Stripe's customer portal", result);
    }

    async fn nothing_is_for_sale(&self) -> anyhow::Result<String> {
        let goods = self.goods().await?;
        let sold: Vec<String> = goods.iter().filter(|one| one.stripe_price_id.is_some()).map(name).collect();
        ensure!(sold.is_empty(), "STRIPE_SECRET_KEY is {NO_STRIPE}, but for sale is {}", sold.join(", "));
        Ok("not used, and nothing is for sale".to_owned())
    }

    fn stripe_client(&self) -> anyhow::Result<Stripe> {
        let url = self.settings.url_or("STRIPE_API_URL", stripe_client::API_URL)?;
        Stripe::new(url, self.settings.secret("STRIPE_SECRET_KEY")?)
    }

    async fn account(&self) -> anyhow::Result<String> {
        let (key, live) = (self.settings.secret("STRIPE_SECRET_KEY")?, self.settings.flag("STRIPE_LIVEMODE")?);
        let of = is_live(&key).context("STRIPE_SECRET_KEY is no secret key: those begin with sk_ or rk_")?;
        ensure!(
            of == live,
            "STRIPE_SECRET_KEY is a {} key, and STRIPE_LIVEMODE is {live}: change one of them",
            mode(of)
        );
        let account =
            self.stripe_client()?.account().await.map_err(trouble)?.context("the key belongs to no account")?;
        ensure!(
            account.charges_enabled || !live,
            "the account {} may not take payments yet: complete it in Stripe's dashboard",
            account.id
        );
        Ok(format!("{} in {} mode", account.id, mode(live)))
    }

    async fn goods(&self) -> anyhow::Result<Vec<Priced>> {
        let database = self.database()?;
        let (mut goods, packs) = (database.paid_plans().await?, database.packs().await?);
        goods.extend(packs);
        Ok(goods)
    }

    async fn price(&self, goods: &Priced) -> anyhow::Result<String> {
        let Some(id) = &goods.stripe_price_id else { return Ok("none, so it is not for sale".to_owned()) };
        let price = self.stripe_client()?.price(id).await.map_err(trouble)?;
        let Price { active, unit_amount, currency, recurring } = price.with_context(|| {
            format!(
                "Stripe has no price {id}: correct its stripe_price_id; test mode and live mode have different ones"
            )
        })?;
        ensure!(active, "{id} is archived at Stripe: nobody can pay it");
        let every = goods.interval.clone().map(|interval| Recurring { interval, interval_count: 1 });
        let often = |recurring: &Option<Recurring>| match recurring {
            Some(Recurring { interval, interval_count: 1 }) => format!("every {interval}"),
            Some(Recurring { interval, interval_count }) => format!("every {interval_count} {interval}s"),
            None => "once".to_owned(),
        };
        ensure!(
            recurring == every,
            "{id} is paid {} at Stripe, and should be paid {}",
            often(&recurring),
            often(&every)
        );
        let (asked, shown) =
            (unit_amount.map_or("no fixed amount".to_owned(), |amount| amount.to_string()), goods.amount);
        ensure!(
            unit_amount == Some(goods.amount) && currency == goods.currency,
            "{id} is {asked} {currency} at Stripe, and our pages say {shown} {} (minor units): correct the row",
            goods.currency
        );
        Ok(format!("{id}, {shown} {currency} in minor units, {}", often(&every)))
    }

    /// Which endpoint is ours, nobody has to tell: it is the one that takes what we sign.
    async fn webhook(&mut self) {
        let asked = async { anyhow::Ok(self.stripe_client()?.webhook_endpoints().await.map_err(trouble)?) };
        let endpoints = match asked.await {
            Ok(endpoints) => endpoints,
            Err(error) => return self.note("webhook", Err(error)),
        };
        let mut others = Vec::new();
        let mut ours = 0;
        for endpoint in &endpoints {
            match self.knock(&endpoint.url).await {
                Ok(()) => {
                    ours += 1;
                    self.note(&format!("webhook {}", endpoint.id), subscribed(endpoint));
                }
                // Of a stranger's address, what follows the host may be a secret.
                Err(error) => others.push(format!("{} at {} {error:#}", endpoint.id, host(&endpoint.url))),
            }
        }
        if ours == 0 {
            let advice = "make one for the stack's output StripeWebhookUrl, for snapshot events of the types in \
                          docs/OPERATIONS.md, and put its signing secret into STRIPE_WEBHOOK_SECRET";
            let wrong = match &others[..] {
                [] => format!("Stripe has no webhook endpoint: {advice}"),
                others => format!("no webhook endpoint at Stripe is ours ({}): {advice}", others.join("; ")),
            };
            self.note("webhook", Err(anyhow::anyhow!(wrong)));
        }
    }

    /// Sends an event of a type that means nothing, signed as Stripe would.
    async fn knock(&self, url: &str) -> anyhow::Result<()> {
        let (secret, now) = (self.settings.secret("STRIPE_WEBHOOK_SECRET")?, Timestamp::now());
        let body = json!({
            "id": "evt_doctor", "object": "event", "type": "doctor.knocks", "created": now.as_second(), "api_version": null,
            "livemode": self.settings.flag("STRIPE_LIVEMODE")?, "data": { "object": {} },
        })
        .to_string();
        let signature = signature::sign(&secret, now, body.as_bytes());
        let request =
            client()?.post(url).header("stripe-signature", signature).header("content-type", "application/json");
        let answer =
            request.body(body).send().await.map_err(reqwest::Error::without_url).context("cannot be reached")?;
        let status = answer.status();
        let said: Value = answer.json().await.map_err(reqwest::Error::without_url).unwrap_or_default();
        match (status, said["code"].as_str()) {
            (StatusCode::OK, _) if said["received"] == true => Ok(()),
            (StatusCode::UNAUTHORIZED, Some("unauthenticated")) => bail!("has another signing secret"),
            (_, Some("wrong_mode")) => bail!("has another STRIPE_LIVEMODE"),
            _ => bail!("answers {status}"),
        }
    }

    async fn portal(&self) -> anyhow::Result<String> {
        let set_up = self.stripe_client()?.portal_is_set_up().await.map_err(trouble)?;
        ensure!(set_up, "it has no settings: save them once in Stripe's dashboard, under Billing, Customer portal");
        Ok("set up".to_owned())
    }

    async fn n8n(&mut self) {
        let result = self.workflow().await;
        self.note("n8n", result);
        let result = self.refuses_strangers("CALLBACK_URL").await;
        self.note("n8n-callback", result);
    }

    /// Asks for n8n's state: asking for the webhook would start the workflow.
    async fn workflow(&self) -> anyhow::Result<String> {
        let url = self.settings.url("N8N_WEBHOOK_URL")?;
        ensure!(
            !url.path().contains("/webhook-test/"),
            "N8N_WEBHOOK_URL is the editor's test address: take the production one, with /webhook/ in it"
        );
        let answer = client()?.get(url.join("/healthz")?).send().await.map_err(reqwest::Error::without_url);
        let status = answer.context("it could not be reached at N8N_WEBHOOK_URL")?.status();
        ensure!(!status.is_server_error(), "it answers {status}");
        Ok("answers".to_owned())
    }

    /// The function URL at this setting, called without a token or a signature.
    async fn refuses_strangers(&self, setting: &'static str) -> anyhow::Result<String> {
        let request = client()?.request(Method::POST, self.settings.url(setting)?);
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let status = answer.with_context(|| format!("it could not be reached at {setting}"))?.status();
        ensure!(
            status == StatusCode::UNAUTHORIZED,
            "{setting} answers {status} to a stranger instead of 401: is it ours?"
        );
        Ok(format!("answers at {setting}"))
    }

    async fn image_models(&mut self) {
        match self.replicate().await {
            Ok(account) => {
                self.note("Replicate", Ok("accepts the token".to_owned()));
                let result = self.replicate_secret(&account);
                self.note("REPLICATE_WEBHOOK_SECRET", result);
            }
            Err(error) => self.note("Replicate", Err(error)),
        }
        let result = self.refuses_strangers("REPLICATE_WEBHOOK_URL").await;
        self.note("replicate-webhook", result);
        let result = self.fal().await;
        self.note("fal", result);
    }

    /// Asks for what the account's webhooks are signed with.
    async fn replicate(&self) -> anyhow::Result<Value> {
        let api = self.settings.url_or("REPLICATE_API_URL", REPLICATE_API_URL)?;
        let url = below(api, &["v1", "webhooks", "default", "secret"]);
        let request = client()?.get(url).bearer_auth(self.settings.text("REPLICATE_API_TOKEN")?);
        let answer = request.send().await.map_err(reqwest::Error::without_url).context("it could not be reached")?;
        match answer.status() {
            StatusCode::OK => Ok(answer.json().await.map_err(reqwest::Error::without_url)?),
            StatusCode::UNAUTHORIZED => bail!(
                "Replicate does not accept REPLICATE_API_TOKEN: make one at https://replicate.com/account/api-tokens"
            ),
            status => bail!("it answers {status}: look at https://www.replicatestatus.com"),
        }
    }

    fn replicate_secret(&self, account: &Value) -> anyhow::Result<String> {
        ensure!(
            account["key"] == self.settings.text("REPLICATE_WEBHOOK_SECRET")?.trim(),
            "it is another than the account's, so every webhook is refused and pictures come late: docs/OPERATIONS.md \
             says how to ask for it"
        );
        Ok("is the account's".to_owned())
    }

    /// Asks for the list in which lost requests are looked for.
    async fn fal(&self) -> anyhow::Result<String> {
        let Some(key) = self.settings.optional("FAL_KEY") else {
            return Ok("not used, since there is no FAL_KEY".to_owned());
        };
        let platform = self.settings.url_or("FAL_PLATFORM_URL", FAL_PLATFORM_URL)?;
        let mut url = below(platform, &["v1", "models", "requests", "by-endpoint"]);
        url.set_query(Some("endpoint_id=fal-ai/flux/dev&limit=1"));
        let request = client()?.get(url).header("authorization", format!("Key {key}"));
        let answer = request.send().await.map_err(reqwest::Error::without_url).context("it could not be reached")?;
        match answer.status() {
            StatusCode::OK => Ok("accepts the key".to_owned()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                bail!("fal does not accept FAL_KEY: make one of the scope API at https://fal.ai/dashboard/keys")
            }
            status => bail!("it answers {status}: look at https://status.fal.ai"),
        }
    }

    async fn aws(&mut self) {
        let config = aws_setup::sdk_config_of_a_shell().await;
        let sqs = aws_sdk_sqs::Client::new(&config);
        for (queue, setting) in QUEUES {
            let result = self.queue(&sqs, queue, setting).await;
            self.note(&format!("queue {queue}"), result);
        }
        let result = self.bucket(aws_sdk_s3::Client::new(&config)).await;
        self.note("image bucket", result);
    }

    /// With its dead letters, which are no fault of the set-up.
    async fn queue(&self, sqs: &aws_sdk_sqs::Client, queue: &str, setting: &'static str) -> anyhow::Result<String> {
        let letters = DeadLetters::of(sqs, self.settings.text(setting)?).await.context(setting)?;
        Ok(match letters.count {
            0 => "is there, without dead letters".to_owned(),
            count => format!("is there, with {count} dead letters: docs/OPERATIONS.md, redrive --queue={queue}"),
        })
    }

    async fn bucket(&self, s3: aws_sdk_s3::Client) -> anyhow::Result<String> {
        let bucket = self.settings.text("MEDIA_BUCKET")?;
        let Err(error) = s3.head_bucket().bucket(&bucket).send().await else { return Ok(format!("{bucket} is there")) };
        match error.raw_response().map(|response| response.status().as_u16()) {
            Some(404) => bail!("there is no bucket {bucket}: check MEDIA_BUCKET, and whether the stack is deployed"),
            Some(status) => bail!("S3 refuses {bucket} with {status}: check AWS_REGION and your credentials"),
            None => bail!("S3 could not be reached: check AWS_REGION and your credentials"),
        }
    }
}

/// What a row or an answer says.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// `base` with a path below it.
fn below(mut base: Url, path: &[&str]) -> Url {
    if let Ok(mut segments) = base.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    base
}

fn name(goods: &Priced) -> String {
    format!("{} {}", if goods.interval.is_some() { "plan" } else { "pack" }, goods.id)
}

fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

/// Whether an endpoint of ours is told everything.
fn subscribed(endpoint: &WebhookEndpoint) -> anyhow::Result<String> {
    let WebhookEndpoint { url, status, enabled_events, api_version, .. } = endpoint;
    ensure!(status == "enabled", "it is {status}: enable it in Stripe's dashboard");
    let told = |kind: &str| enabled_events.iter().any(|one| one == "*" || one == kind);
    let missing: Vec<&str> = EVENT_TYPES.into_iter().filter(|kind| !told(kind)).collect();
    ensure!(missing.is_empty(), "it is not told of {}: add them in Stripe's dashboard", missing.join(", "));
    let version = api_version.as_deref().unwrap_or("the account's default version");
    Ok(format!("{url} takes our signature, and is told everything, in the shape of {version}"))
}

/// The tables that the migrations make.
fn tables(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let mut tables = BTreeSet::new();
    for file in files {
        for line in fs::read_to_string(&file)?.lines() {
            let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
            if let Some(rest) = line.strip_prefix("create table if not exists public.") {
                tables.insert(name(rest));
            } else if let Some(rest) = line.strip_prefix("drop table if exists public.") {
                tables.remove(&name(rest));
            }
        }
    }
    Ok(tables)
}

fn client() -> anyhow::Result<Client> {
    http_client::client(TIMEOUT)
}

/// What Stripe's refusal means for who runs this.
fn trouble(error: StripeError) -> anyhow::Error {
    match error {
        StripeError::Refused { status: StatusCode::UNAUTHORIZED, .. } => {
            anyhow::anyhow!("Stripe does not accept STRIPE_SECRET_KEY: copy it from the dashboard, in the right mode")
        }
        StripeError::Refused { status: StatusCode::FORBIDDEN, .. } => anyhow::anyhow!(
            "STRIPE_SECRET_KEY is a restricted key that may not read this: allow it, or look in Stripe's dashboard"
        ),
        error => error.into(),
    }
}
