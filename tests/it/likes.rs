//! A crowd that likes at random: what is counted is what is there, whatever runs at once and whoever leaves.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use jiff::Timestamp;
use lambda_kit::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    grid::{like, published, published_in, row, seen_in},
    money_model::dice::Dice,
    stack::{User, claims, database, setting, user_token},
};

const USERS: usize = 200;
const PICTURES: i32 = 8;
/// Of each user, one after the other; those of all users at once.
const MOVES: usize = 12;

/// Many who signed up, by one statement.
async fn users(count: usize) -> Vec<User> {
    let insert = "insert into auth.users (id, email, email_confirmed_at)
                  select id, id || '@example.com', now() from unnest($1::uuid[]) id";
    let ids: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
    database().await.execute(insert, &[&ids]).await.unwrap();
    let user = |id: Uuid| {
        let email = format!("{id}@example.com");
        User { token: user_token(&claims(id, &email)), id, email }
    };
    ids.into_iter().map(user).collect()
}

async fn likes_of(image: Uuid) -> BTreeSet<Uuid> {
    let select = "select user_id from public.image_likes where image_id = $1";
    database().await.query(select, &[&image]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Every count is the number of rows, in the table and in the grid.
async fn is_counted(era: Timestamp, images: &[Uuid]) {
    let shown = seen_in(era, None).await;
    assert_eq!(shown.len(), images.len());
    for image in images {
        let rows = likes_of(*image).await.len();
        assert_eq!(row(*image).await["likes_count"], json!(rows), "{image}");
        let shown = shown.iter().find(|shown| shown["id"] == json!(image)).unwrap();
        assert_eq!(shown["likes_count"], json!(rows), "{image} in the grid");
    }
}

/// `LIKES_SEED=<seed> make test-rust T=likes` throws the same dice again.
#[tokio::test]
async fn two_hundred_users_like_and_unlike_at_random_and_every_count_is_right() {
    let given = Settings::from_env().optional("LIKES_SEED").map(|seed| seed.parse().unwrap());
    let seed: u64 = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    eprintln!("LIKES_SEED={seed}");
    let era = crate::grid::era();
    let images = published_in(era, &User::new().await, PICTURES).await;
    let users = users(USERS).await;

    let live = async |place: usize| {
        let (user, mut dice) = (&users[place], Dice::new(seed.wrapping_add(place as u64)));
        let mut liked = BTreeSet::new();
        for _ in 0..MOVES {
            let image = dice.pick(&images);
            let likes = dice.percent(60);
            let answer = like(if likes { "PUT" } else { "DELETE" }, user, image).await;
            assert_eq!((answer.status, &answer.body["liked"]), (200, &json!(likes)), "{answer:?}");
            let count = answer.body["likes_count"].as_i64().unwrap();
            assert!((i64::from(likes)..=USERS as i64).contains(&count), "{answer:?}");
            if likes {
                liked.insert(image)
            } else {
                liked.remove(&image)
            };
        }
        liked
    };
    let liked = join_all((0..USERS).map(live)).await;

    is_counted(era, &images).await;
    for image in &images {
        let fans = users.iter().zip(&liked).filter(|(_, liked)| liked.contains(image)).map(|(user, _)| user.id);
        assert_eq!(likes_of(*image).await, fans.collect(), "{image} is liked by whom the dice say");
    }
    for place in [0, USERS / 2, USERS - 1] {
        let seen = seen_in(era, Some(&users[place])).await;
        let hearts = seen.iter().filter(|image| image["liked"] == true);
        let hearts: BTreeSet<Uuid> = hearts.map(|image| image["id"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(hearts, liked[place], "her hearts");
    }

    // Half of them leave, ten at once, and take their likes along.
    let leave = async |chunk: &[User]| {
        let db = database().await;
        for user in chunk {
            db.execute("delete from auth.users where id = $1", &[&user.id]).await.unwrap();
        }
    };
    join_all(users[..USERS / 2].chunks(10).map(leave)).await;
    is_counted(era, &images).await;
    for image in &images {
        let stayed = users[USERS / 2..].iter().zip(&liked[USERS / 2..]);
        let fans = stayed.filter(|(_, liked)| liked.contains(image)).map(|(user, _)| user.id);
        assert_eq!(likes_of(*image).await, fans.collect(), "{image}");
    }
}

#[tokio::test]
async fn fifty_likes_at_once_by_one_user_are_one() {
    let (owner, fan) = (User::new().await, User::new().await);
    let image = published(&owner).await;
    for answer in join_all((0..50).map(|_| like("PUT", &fan, image))).await {
        assert_eq!((answer.status, &answer.body["likes_count"]), (200, &json!(1)), "{answer:?}");
    }
    for answer in join_all((0..50).map(|_| like("DELETE", &fan, image))).await {
        assert_eq!((answer.status, &answer.body["likes_count"]), (200, &json!(0)), "{answer:?}");
    }
}

#[tokio::test]
async fn whoever_writes_likes_they_are_counted_and_nobody_changes_one() {
    let users = users(30).await;
    let images = [published(&users[0]).await, published(&users[1]).await];
    let db = database().await;
    let ids: Vec<Uuid> = users.iter().map(|user| user.id).collect();
    let crowd = "insert into public.image_likes (image_id, user_id) select image, person
                   from unnest($1::uuid[]) image, unnest($2::uuid[]) person on conflict do nothing";
    for _ in 0..2 {
        db.execute(crowd, &[&&images[..], &ids]).await.unwrap();
        assert_eq!(
            [row(images[0]).await["likes_count"].clone(), row(images[1]).await["likes_count"].clone()],
            [30, 30]
        );
    }
    let some = "delete from public.image_likes where image_id = any ($1) and user_id = any ($2)";
    db.execute(some, &[&&images[..1], &&ids[..7]]).await.unwrap();
    assert_eq!([row(images[0]).await["likes_count"].clone(), row(images[1]).await["likes_count"].clone()], [23, 30]);

    let move_one = "update public.image_likes set image_id = $1 where user_id = $2";
    assert!(db.execute(move_one, &[&images[1], &ids[8]]).await.is_err());
    assert!(db.batch_execute("truncate public.image_likes").await.is_err());
    let below = "update public.images set likes_count = -1 where id = $1";
    assert!(db.execute(below, &[&images[0]]).await.is_err(), "never below zero");
    db.execute("delete from public.images where id = $1", &[&images[0]]).await.unwrap();
    assert!(likes_of(images[0]).await.is_empty());
}

#[tokio::test]
async fn a_client_writes_neither_likes_nor_their_count() {
    let (owner, fan) = (User::new().await, User::new().await);
    let image = published(&owner).await;
    assert_eq!(like("PUT", &fan, image).await.status, 200);
    let http = http_client::client(std::time::Duration::from_secs(10)).unwrap();
    let mine = json!({ "image_id": image, "user_id": owner.id });
    let arguments = json!({ "p_user_id": fan.id, "p_image_id": image, "p_liked": false });
    for (method, path, body) in [
        (Method::PATCH, format!("images?id=eq.{image}"), json!({ "likes_count": 1000 })),
        (Method::PATCH, format!("images?id=eq.{image}"), json!({ "published_at": null })),
        (Method::PATCH, format!("images?id=eq.{image}"), json!({ "hidden_at": null })),
        (Method::POST, "images".to_owned(), json!({ "user_id": owner.id, "likes_count": 1000 })),
        (Method::POST, "image_likes".to_owned(), mine.clone()),
        (Method::POST, "image_likes?on_conflict=image_id,user_id".to_owned(), mine.clone()),
        (Method::PATCH, format!("image_likes?image_id=eq.{image}"), mine),
        (Method::DELETE, format!("image_likes?image_id=eq.{image}"), Value::Null),
        (
            Method::POST,
            "image_reports".to_owned(),
            json!({ "image_id": image, "user_id": owner.id, "reason": "other" }),
        ),
        (Method::POST, "rpc/like_image".to_owned(), arguments),
        (
            Method::POST,
            "rpc/publish_image".to_owned(),
            json!({ "p_user_id": owner.id, "p_image_id": image, "p_published": false }),
        ),
        (
            Method::POST,
            "rpc/hide_image".to_owned(),
            json!({ "p_user_id": owner.id, "p_image_id": image, "p_reason": "x" }),
        ),
        (
            Method::POST,
            "rpc/report_image".to_owned(),
            json!({ "p_user_id": owner.id, "p_image_id": image, "p_reason": "other" }),
        ),
    ] {
        for token in [None, Some(&owner.token), Some(&fan.token)] {
            let url = format!("{}/rest/v1/{path}", setting("SUPABASE_URL"));
            let request = http.request(method.clone(), url).header("apikey", setting("SUPABASE_PUBLISHABLE_KEY"));
            let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
            let status = request.json(&body).send().await.unwrap().status();
            assert!(status == 401 || status == 403, "{method} {path}: {status}");
        }
    }
    assert_eq!((row(image).await["likes_count"].clone(), likes_of(image).await), (json!(1), BTreeSet::from([fan.id])));
}
