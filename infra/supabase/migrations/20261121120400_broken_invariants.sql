-- Which of the invariants (docs/ARCHITECTURE.md) the rows contradict: what check-invariants asks every hour, and `operate invariants`.
-- Nothing here mends anything.
--
-- It takes the same time however large the tables are: it looks at what moved last (the newest 5,000 lines, purchases and moves of
-- jobs), at some five hundred accounts and two hundred pictures wherever it comes down, each time others, and at the schema. Every
-- look is by an index. What no row can tell, whether the bucket has the image of a character (I2), is not looked at.

create index if not exists credit_purchases_created_at_idx on public.credit_purchases (created_at);

-- Answers [{invariant, what, count, sample}], where `sample` are five ids at most; an empty list when all is well.
create or replace function public.broken_invariants() returns jsonb
  language sql volatile security invoker set search_path = ''
as $$
  with guards (invariant, relation, name) as (values
    ('I1', 'influencers', 'influencers_user_id_key'),
    ('I2', 'influencers', 'influencers_are_locked_when_ready'),
    ('I2', 'influencers', 'a_locked_influencer_never_changes'),
    ('I5', 'credits_ledger', 'credits_ledger_floor'),
    ('I5', 'credits_ledger', 'credits_ledger_signs'),
    ('I5', 'credits_ledger', 'count_ledger_line'),
    ('I5', 'credits_ledger', 'keep_balance'),
    ('I5', 'credits_ledger', 'ledger_only_grows'),
    ('I5', 'credits_ledger', 'ledger_is_not_emptied'),
    ('I6', 'credits_ledger', 'credits_ledger_business_key_key'),
    ('I6', 'credit_purchases', 'credit_purchases_pkey'),
    ('I6', 'stripe_events', 'stripe_events_pkey'),
    ('I7', 'generation_jobs', 'reserve_for_job'),
    ('I7', 'generation_jobs', 'watch_job'),
    ('I8', 'image_likes', 'image_likes_pkey'),
    ('I8', 'image_likes', 'count_new_likes'),
    ('I8', 'image_likes', 'count_gone_likes'),
    ('I8', 'image_likes', 'likes_come_and_go')
  ), anywhere as materialized (
    select gen_random_uuid() as id
  ), lines as materialized (
    select * from public.credits_ledger order by id desc limit 5000
  ), accounts as materialized (
    select user_id from lines
    union
    (select user_id from public.credit_balances where user_id > (select id from anywhere) order by user_id limit 500)
  ), purchases as materialized (
    select * from public.credit_purchases order by created_at desc limit 5000
  ), jobs as materialized (
    select * from public.generation_jobs
     where id in (select job_id from (select job_id from public.job_events order by id desc limit 5000) moves)
  ), pictures as materialized (
    (select id, likes_count from public.images where published_at is not null and hidden_at is null
      order by published_at desc, id desc limit 200)
    union
    (select id, likes_count from public.images where id > (select id from anywhere) order by id limit 200)
  ), writes (relation, privilege, role) as (
    -- What anon, authenticated or everybody may write: whole tables and views, then single columns. (Hosted Supabase opens
    -- sequences, too, which the data API does not reach.)
    select c.relname::text, a.privilege_type, a.grantee
      from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select c.relname || '.' || t.attname, a.privilege_type, a.grantee
      from pg_catalog.pg_class c join pg_catalog.pg_attribute t on t.attrelid = c.oid, pg_catalog.aclexplode(t.attacl) a
     where c.relnamespace = 'public'::regnamespace
  ), meant (relation, privilege) as (values
    ('assets', 'DELETE'), ('assets.user_id', 'INSERT'), ('assets.content_type', 'INSERT'), ('assets.filename', 'INSERT'),
    ('assets.filename', 'UPDATE'), ('generation_jobs.user_id', 'INSERT'), ('generation_jobs.prompt', 'INSERT'),
    ('generation_jobs.input_asset_id', 'INSERT'), ('generation_jobs.influencer_id', 'INSERT'),
    ('generation_jobs.model_preset', 'INSERT'), ('generation_jobs.pose_preset', 'INSERT'),
    ('generation_jobs.scene_preset', 'INSERT'), ('generation_jobs.generation_type', 'INSERT')
  ), clients as (
    select oid, rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated')
    union all
    select 0, 'public'
  ), found (invariant, what, id) as (
    select invariant, 'a rule of the schema is missing or switched off', relation || '.' || name
      from guards
     where not exists (
       select from pg_catalog.pg_constraint
        where conrelid = pg_catalog.to_regclass('public.' || relation) and conname = name and convalidated)
       and not exists (
       select from pg_catalog.pg_trigger
        where tgrelid = pg_catalog.to_regclass('public.' || relation) and tgname = name and tgenabled in ('O', 'A'))
    union all
    select 'I5', 'a balance is not what its ledger adds up to', user_id::text
      from accounts join public.credit_balances b using (user_id)
     where balance <> (select coalesce(sum(amount), 0) from public.credits_ledger l where l.user_id = b.user_id)
    union all
    select 'I5', 'more was spent than there was', user_id::text
      from lines where tx_type = 'spend' and balance_after < 0
    union all
    select 'I6', 'credits were given for a purchase that is not there, or is another', business_key
      from lines
     where tx_type = 'purchase' and not exists (
       select from public.credit_purchases p where p.key = business_key and p.user_id = lines.user_id and p.credits = amount)
    union all
    select 'I6', 'a purchase has brought no credits', key
      from purchases
     where not exists (select from public.credits_ledger where business_key = key and tx_type = 'purchase')
    union all
    select 'I7', 'a job has not been paid for', id::text
      from jobs
     where not exists (select from public.credits_ledger where business_key = 'job_reserve:' || jobs.id and tx_type = 'spend')
    union all
    select 'I7', 'a job came to nothing, and its credits did not come back', id::text
      from jobs
     where status in ('failed', 'cancelled')
       and not exists (select from public.credits_ledger where business_key = 'refund:job_reserve:' || jobs.id)
    union all
    select 'I7', 'credits came back of a job that goes on or has its picture', id::text
      from jobs
     where status not in ('failed', 'cancelled')
       and exists (select from public.credits_ledger where business_key = 'refund:job_reserve:' || jobs.id)
    union all
    -- The sweeper ends it a quarter of an hour after its deadline.
    (select 'I7', 'a job goes on long after its deadline', id::text
       from public.generation_jobs
      where finished_at is null and deadline_at < now() - interval '1 hour'
      limit 5000)
    union all
    select 'I8', 'a table has no row-level security', relname::text
      from pg_catalog.pg_class
     where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relrowsecurity
    union all
    select 'I8', 'somebody may write what is not for clients to write', relation || ' ' || privilege || ' ' || rolname
      from writes join clients on clients.oid = writes.role
     where privilege in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
       and not exists (
         select from meant where (meant.relation, meant.privilege) = (writes.relation, writes.privilege) and rolname = 'authenticated')
    union all
    select 'I8', 'clients may call what runs with the rights of its owner', p.proname || ' ' || rolname
      from pg_catalog.pg_proc p, clients
     where p.pronamespace = 'public'::regnamespace and p.prosecdef and p.prorettype <> 'trigger'::regtype
       and p.proname not in ('caller_id', 'enter') and clients.oid <> 0
       and pg_catalog.has_function_privilege(clients.oid, p.oid, 'execute')
    union all
    select 'I8', 'a count of likes is not the number of likes', id::text
      from pictures
     -- Counting a picture that everybody likes takes too long for this.
     where likes_count < 10000
       and likes_count <> (select count(*) from public.image_likes l where l.image_id = pictures.id)
  )
  select coalesce(jsonb_agg(to_jsonb(broken) order by invariant, what), '[]')
    from (select invariant, what, count(*) as count, (array_agg(id order by id))[1:5] as sample
            from found group by invariant, what) broken
$$;
revoke execute on function public.broken_invariants() from public, anon, authenticated;
grant execute on function public.broken_invariants() to service_role;
