//! The invariants of the design that a database and a bucket can show, for the users of a flow.

use media_store::MediaStore;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::stack::{database, setting};

/// What must answer no row: what is broken, and where.
const BROKEN: &str = "
    select 'I1: several characters' as what, user_id::text as where_
      from public.influencers where user_id = any($1) group by user_id having count(*) > 1
    union all select 'I2: ready and not locked, or the other way round', id::text
      from public.influencers where user_id = any($1) and (state = 'ready') is distinct from is_locked
    union all select 'I5: a balance is not the sum of its lines, or below nothing', user_id::text
      from public.credit_balances b where user_id = any($1)
       and (balance < 0 or balance <> (select coalesce(sum(amount), 0) from public.credits_ledger l where l.user_id = b.user_id))
    union all select 'I5: a line says another balance than its predecessors', business_key
      from (select business_key, balance_after, sum(amount) over (partition by user_id order by id) as total
              from public.credits_ledger where user_id = any($1)) line where balance_after <> total
    union all select 'I6: a purchase is not one line', key
      from public.credit_purchases p where user_id = any($1)
       and 1 <> (select count(*) from public.credits_ledger l where l.business_key = p.key and l.amount = p.credits)
    union all select 'I6: one payment is two purchases', min(key)
      from public.credit_purchases where user_id = any($1) group by user_id having count(*) > 1
    union all select 'I7: a job goes on', id::text
      from public.generation_jobs where user_id = any($1) and finished_at is null
    union all select 'I7: a job is not paid for when completed, or paid for when not', j.id::text
      from public.generation_jobs j where user_id = any($1)
       and case status when 'completed' then -cost_credits else 0 end <>
           (select coalesce(sum(amount), 0) from public.credits_ledger
             where business_key in ('job_reserve:' || j.id, 'refund:job_reserve:' || j.id))
    union all select 'I7: a job did not end once', j.id::text
      from public.generation_jobs j where user_id = any($1)
       and 1 <> (select count(*) from public.job_events e where e.job_id = j.id and e.to_status in ('completed', 'failed', 'cancelled'))
    union all select 'I7: a completed job has not one picture', j.id::text
      from public.generation_jobs j where user_id = any($1) and status = 'completed'
       and 1 <> (select count(*) from public.assets a where a.job_id = j.id and a.kind = 'output')
    union all select 'I8: likes are counted wrongly', i.id::text
      from public.images i where user_id = any($1)
       and likes_count <> (select count(*) from public.image_likes l where l.image_id = i.id)
    union all select 'I10: the end of an account was not reached', user_id::text
      from public.account_deletions where user_id = any($1) and finished_at is null";

/// What the database says lies in the bucket.
const OBJECTS: &str = "
    select substr(initial_image_url, length($2::text) + 2) from public.influencers where user_id = any($1) and is_locked
    union all select object_key from public.assets where user_id = any($1) and job_id is not null
    union all select replace(object_key, regexp_replace(object_key, '^.*/', ''), size || '.webp')
      from public.assets, unnest(array['screen', 'thumb']) size where user_id = any($1) and job_id is not null";

/// Holds all of them against what there is of these users.
pub async fn hold(s3: &aws_sdk_s3::Client, users: &[Uuid], case: &str) {
    let database = database().await;
    let broken = database.query(BROKEN, &[&users]).await.unwrap();
    let broken: Vec<(String, String)> = broken.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(broken.is_empty(), "{case}: {broken:?}");
    for row in database.query(OBJECTS, &[&users, &setting("MEDIA_BASE_URL")]).await.unwrap() {
        let key: String = row.get(0);
        let there = s3.get_object().bucket(setting("MEDIA_BUCKET")).key(&key).send().await;
        let there = there.unwrap_or_else(|error| panic!("{case}: I2: {key} is not in the bucket: {error:?}"));
        let bytes = there.body.collect().await.unwrap().to_vec();
        assert!(image::load_from_memory(&bytes).is_ok(), "{case}: I2: {key} is no picture");
    }
    for user in users {
        is_gone_if_she_left(&database, s3, *user, case).await;
    }
}

/// Who left has no objects, and no rows but the books.
async fn is_gone_if_she_left(database: &Client, s3: &aws_sdk_s3::Client, user: Uuid, case: &str) {
    let left = "select exists (select from public.account_deletions where user_id = $1)";
    if !database.query_one(left, &[&user]).await.unwrap().get::<_, bool>(0) {
        return;
    }
    for folder in MediaStore::folders_of(domain::id::UserId(user)) {
        let left = s3.list_objects_v2().bucket(setting("MEDIA_BUCKET")).prefix(folder).send().await.unwrap();
        assert_eq!(left.contents(), [], "{case}: objects of who left");
    }
    let rows = "select coalesce(to_jsonb((select u from public.users u where id = $1)), 'null')";
    assert!(
        database.query_one(rows, &[&user]).await.unwrap().get::<_, Value>(0).is_null(),
        "{case}: she is still there"
    );
}
