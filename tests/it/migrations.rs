//! The migrations over a database that already has the prototype's tables and rows, twice.

use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::stack::{database, database_at, setting};

/// What hosted Supabase has before anybody's migrations: the schema auth and its functions. The roles are the server's.
const SUPABASE: &str = "
    create schema auth;
    create table auth.users (id uuid primary key, email text, created_at timestamptz default now());
    create function auth.uid() returns uuid language sql stable as $$ select null::uuid $$;
    create function auth.jwt() returns jsonb language sql stable as
        $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
    -- Hosted Supabase opens every new table to everybody, for row-level security to close.
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
    alter default privileges in schema public grant execute on functions to anon, authenticated, service_role;
    grant usage on schema public to anon, authenticated, service_role;
";

/// The prototype: its five tables, `id` everywhere and `user_id` in three; few rules, and one that is too kind.
const PROTOTYPE: &str = "
    create table public.users (id uuid primary key default gen_random_uuid(), number int generated always as identity,
        email text not null, plan text default 'free',
        credits integer default 4, created_at timestamptz default now());
    create table public.influencers (id uuid primary key default gen_random_uuid(),
        user_id uuid references public.users (id), name text, bio text, vibe text, base_prompt text not null,
        seed bigint, initial_image_url text, is_locked boolean, created_at timestamp default now());
    alter table public.influencers enable row level security;
    create policy everybody on public.influencers for all using (true);
    create table public.images (id uuid primary key default gen_random_uuid(), user_id uuid, image_url text,
        influencer_id uuid references public.influencers (id));
    create table public.chats (id uuid primary key default gen_random_uuid(), user_id uuid);
    create table public.messages (id uuid primary key default gen_random_uuid(),
        chat_id uuid references public.chats (id), content text);
";

/// A database of its own with Supabase's beginnings.
pub async fn empty_project() -> Client {
    let name = format!("migrations_{}", Uuid::new_v4().simple());
    database().await.batch_execute(&format!("create database {name}")).await.unwrap();
    let mut url: url::Url = setting("DATABASE_URL").parse().unwrap();
    url.set_path(&name);
    let db = database_at(url.as_str()).await;
    db.batch_execute(SUPABASE).await.unwrap();
    db
}

pub async fn migrate(db: &Client) -> Result<(), tokio_postgres::Error> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/supabase/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        db.batch_execute(&std::fs::read_to_string(file).unwrap()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn pictures_that_jobs_made_before_there_was_a_grid_get_a_row_once() {
    let db = empty_project().await;
    migrate(&db).await.unwrap();
    let user = Uuid::new_v4();
    db.execute("insert into auth.users (id) values ($1)", &[&user]).await.unwrap();
    let made = "
        with her as (
          insert into public.influencers (user_id, name, bio, vibe, deadline_at, state, is_locked, created_at, initial_image_url)
          values ($1, 'Clara', 'b', 'v', now(), 'ready', true, now(),
            'https://media.example/users/' || $1::uuid || '/influencers/x/initial.png') returning id
        ), job as (
          insert into public.generation_jobs (user_id, prompt, influencer_id, model_preset, pose_preset, scene_preset, generation_type)
          select $1, 'By the sea', null, 'fashion_model_v1', 'standing', 'studio', 'standard' from her returning id
        )
        insert into public.assets (user_id, kind, object_key, content_type, bytes, width, height, job_id, verified_at)
        select $1, 'output', 'outputs/' || $1::uuid || '/j/original.png', 'image/png', 5, 2, 3, id, now() from job";
    db.execute(made, &[&user]).await.unwrap();
    let upload = "insert into public.assets (user_id, content_type, bytes, width, height, verified_at)
                  values ($1, 'image/png', 5, 2, 3, now())";
    db.execute(upload, &[&user]).await.unwrap();
    for _ in 0..2 {
        migrate(&db).await.unwrap();
        let images = rows(&db, "images").await;
        assert_eq!(images.as_array().map(Vec::len), Some(1), "{images}");
        let key = format!("outputs/{user}/j/original.png");
        assert_eq!((&images[0]["prompt"], &images[0]["object_key"]), (&json!("By the sea"), &json!(key)));
        assert_eq!(images[0]["image_url"], format!("https://media.example/{key}"));
        assert_eq!((&images[0]["published_at"], &images[0]["width"]), (&Value::Null, &json!(2)));
    }
}

async fn rows(db: &Client, table: &str) -> Value {
    let select = format!("select coalesce(jsonb_agg(to_jsonb(t) order by t.id), '[]') from public.{table} t");
    db.query_one(&select, &[]).await.unwrap().get(0)
}

async fn everything(db: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for table in ["users", "influencers", "influencers_replaced", "images", "chats", "messages"] {
        all.push(rows(db, table).await);
    }
    all
}

#[tokio::test]
async fn an_empty_project_is_migrated_twice_to_the_same() {
    let db = empty_project().await;
    migrate(&db).await.unwrap();
    let id = Uuid::new_v4();
    db.execute("insert into auth.users (id) values ($1)", &[&id]).await.unwrap();
    let before = everything(&db).await;
    migrate(&db).await.unwrap();
    assert_eq!(everything(&db).await, before);
    let user = &rows(&db, "users").await[0];
    assert_eq!((&user["id"], &user["plan"]), (&json!(id), &json!("free")));
    assert_eq!(ledger(&db, id).await, json!([["bonus", 4, 4, format!("welcome:{id}")]]));
}

/// A user's lines: type, amount, balance after it, key.
async fn ledger(db: &Client, user: Uuid) -> Value {
    let select =
        "select coalesce(jsonb_agg(jsonb_build_array(tx_type, amount, balance_after, business_key) order by id), '[]')
                  from public.credits_ledger where user_id = $1";
    db.query_one(select, &[&user]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_prototypes_rows_survive_and_its_tables_get_the_rules() {
    let db = empty_project().await;
    db.batch_execute(PROTOTYPE).await.unwrap();
    let [clara, eve, orphan, late] = [1, 2, 3, 4].map(Uuid::from_u128);
    db.batch_execute(&format!(
        "insert into auth.users (id) values ('{clara}'), ('{eve}'), ('{late}');
         insert into public.users (id, email, plan, credits) values
            ('{clara}', 'c@example.com', 'pro', 17), ('{eve}', 'e@example.com', null, null), ('{orphan}', 'o@example.com', 'free', 0);
         -- Clara has two: a complete one and a newer one that is locked but has no image. Eve has two that were never finished.
         insert into public.influencers (id, user_id, name, bio, vibe, base_prompt, seed, initial_image_url, is_locked, created_at) values
            ('{c1}', '{clara}', 'Ada', 'b', 'v', 'p', 7, 'https://old.example.com/media/ada.png', true, '2025-01-01'),
            ('{c2}', '{clara}', 'Bea', 'b', 'v', '', null, null, true, '2025-02-01'),
            ('{e0}', '{eve}', 'Dora', 'b', 'v', '', null, null, null, '2025-02-01'),
            ('{e1}', '{eve}', 'Cleo', '', null, '', null, null, null, '2025-03-01');
         insert into public.images (user_id, image_url, influencer_id) values ('{clara}', 'u', '{c2}'), ('{orphan}', 'u', null);
         insert into public.chats (id, user_id) values ('{chat}', '{clara}');
         insert into public.messages (chat_id, content) values ('{chat}', 'hello');",
        c1 = Uuid::from_u128(11), c2 = Uuid::from_u128(12), e0 = Uuid::from_u128(13), e1 = Uuid::from_u128(14), chat = Uuid::from_u128(21),
    ))
    .await
    .unwrap();

    migrate(&db).await.unwrap();
    let once = everything(&db).await;
    migrate(&db).await.unwrap();
    assert_eq!(everything(&db).await, once, "the second run changes nothing");

    let users = rows(&db, "users").await;
    assert_eq!(users.as_array().unwrap().len(), 4, "who signed up without a row got one");
    assert_eq!((&users[0]["plan"], &users[0]["email"]), (&json!("pro"), &json!("c@example.com")));
    let opening = json!([["adjustment", 17, 17, format!("opening:{clara}")]]);
    assert_eq!(ledger(&db, clara).await, opening, "what she had is her first line");
    assert_eq!(ledger(&db, orphan).await, json!([]), "nothing is brought forward as nothing");

    let influencers = rows(&db, "influencers").await;
    assert_eq!(influencers.as_array().unwrap().len(), 2, "one for each user");
    let (ada, cleo) = (&influencers[0], &influencers[1]);
    assert_eq!(
        (&ada["name"], &ada["state"], &ada["is_locked"], &ada["seed"]),
        (&json!("Ada"), &json!("ready"), &json!(true), &json!(7))
    );
    assert!(ada["created_at"].as_str().unwrap().starts_with("2025-01-01"));
    assert_eq!(
        (&cleo["state"], &cleo["is_locked"], &cleo["created_at"]),
        (&json!("failed"), &json!(false), &Value::Null)
    );
    assert_eq!((&cleo["name"], &cleo["vibe"]), (&json!("Cleo"), &json!("")), "the newer one");
    assert!(cleo["requested_at"].as_str().unwrap().starts_with("2025-03-01"));
    let replaced = rows(&db, "influencers_replaced").await;
    assert_eq!(
        (&replaced[0]["name"], &replaced[1]["name"]),
        (&json!("Bea"), &json!("Dora")),
        "kept aside, not thrown away"
    );
    let images = rows(&db, "images").await;
    let images = images.as_array().unwrap();
    assert_eq!(images.len(), 2, "nothing went with the replaced ones");
    assert!(
        images.iter().any(|image| image["influencer_id"] == ada["id"]),
        "what pointed to the replaced one points to her"
    );
    let policies = "select count(*) from pg_policies where schemaname = 'public' and policyname = 'everybody'";
    assert_eq!(db.query_one(policies, &[]).await.unwrap().get::<_, i64>(0), 0, "the prototype's policies are gone");
    let eve_row = users.as_array().unwrap().iter().find(|user| user["id"] == json!(eve)).unwrap();
    assert_eq!(&eve_row["plan"], "free");
    assert_eq!(ledger(&db, eve).await, json!([["bonus", 4, 4, format!("welcome:{eve}")]]));
    assert_eq!(rows(&db, "messages").await[0]["content"], "hello");

    // The rules hold for what comes now.
    let second = format!(
        "insert into public.influencers (user_id, name, bio, vibe, deadline_at) values ('{clara}', 'n', 'b', 'v', now())"
    );
    assert!(db.execute(&second, &[]).await.is_err(), "a second influencer");
    let again = "select public.request_influencer($1, gen_random_uuid(), 'Dora', 'b', 'v', 60) ->> 'outcome'";
    assert_eq!(
        db.query_one(again, &[&eve]).await.unwrap().get::<_, String>(0),
        "started",
        "an unfinished one may be tried again"
    );
    let gone = "delete from auth.users where id = $1";
    db.execute(gone, &[&clara]).await.unwrap();
    assert_eq!(rows(&db, "influencers").await.as_array().unwrap().len(), 1, "her rows go with her");
    assert_eq!(rows(&db, "messages").await, json!([]));
    let open = "select count(*) from information_schema.role_table_grants
                where table_schema = 'public' and grantee in ('anon', 'authenticated')
                and privilege_type <> 'SELECT' and (table_name, privilege_type) <> ('assets', 'DELETE')";
    assert_eq!(db.query_one(open, &[]).await.unwrap().get::<_, i64>(0), 0, "default privileges are taken back");
    let anon =
        "select count(*) from information_schema.role_table_grants where table_schema = 'public' and grantee = 'anon'";
    assert_eq!(db.query_one(anon, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn duplicates_of_a_user_who_is_gone_are_kept_aside_too() {
    let db = empty_project().await;
    db.batch_execute(PROTOTYPE).await.unwrap();
    db.batch_execute(&format!(
        "alter table public.influencers drop constraint influencers_user_id_fkey;
         insert into public.influencers (user_id, name, base_prompt) values ('{gone}', 'Ada', ''), ('{gone}', 'Bea', '');",
        gone = Uuid::from_u128(9),
    ))
    .await
    .unwrap();
    migrate(&db).await.unwrap();
    migrate(&db).await.unwrap();
    assert_eq!(rows(&db, "influencers").await.as_array().unwrap().len(), 1);
    assert_eq!(rows(&db, "influencers_replaced").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn ids_that_are_numbers_stop_the_migration_with_a_hint() {
    let db = empty_project().await;
    db.batch_execute("create table public.chats (id bigint primary key, user_id uuid)").await.unwrap();
    let error = migrate(&db).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(error.message().contains("public.chats.id is bigint"), "{error}");
    assert!(error.hint().unwrap().contains("docs/IDS.md"));
}
