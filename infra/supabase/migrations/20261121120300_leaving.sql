-- Leaving: what is kept about a user, all in one answer (export_account), and the end of her account.
--
-- begin_account_deletion writes the wish down and takes her rows away in one transaction. So from that moment nothing moves her
-- credits, sells her anything or starts work for her: there is no such user. What lies elsewhere, at Stripe and in the bucket,
-- erase-account brings to an end afterwards, as often as it takes; account_deletions says whether that is done.

-- No foreign key: it outlives the account.
create table if not exists public.account_deletions (
  user_id uuid primary key,
  requested_at timestamptz not null default now(),
  look_at timestamptz not null default now() + interval '10 minutes',
  finished_at timestamptz
);
create index if not exists account_deletions_unfinished_idx on public.account_deletions (look_at) where finished_at is null;
comment on table public.account_deletions is 'Who left, by a number that says no more of her. What Stripe tells of her later is kept without her name.';
comment on column public.account_deletions.look_at is 'When the sweeper sends its message again, if it is not finished before.';
comment on column public.account_deletions.finished_at is 'When her subscriptions had ended and the bucket held nothing of hers.';

revoke all on public.account_deletions from anon, authenticated;
grant all on public.account_deletions to service_role;
alter table public.account_deletions enable row level security;

-- What an event of Stripe is about, as ids: the object's own, those that it names, and the user's where we wrote it on it.
create or replace function public.stripe_event_ids(p_payload jsonb) returns text[]
  language sql immutable security invoker set search_path = ''
as $$
  select array_agg(distinct coalesce(named->>'id', named#>>'{}'))
    from (select p_payload #> '{data,object}') as event (about),
         lateral (
           select unnest(array[about->'id', about->'customer', about->'subscription', about->'invoice', about->'charge',
             about->'payment_intent', about->'client_reference_id', about #> '{metadata,user_id}',
             about #> '{parent,subscription_details,subscription}', about #> '{parent,subscription_details,metadata,user_id}',
             about #> '{subscription_details,metadata,user_id}'])
           union all
           select paid #> '{payment,payment_intent}' from jsonb_path_query(about, '$.payments.data[*]') paid
         ) as names (named)
   where jsonb_typeof(named) in ('string', 'object')
$$;
create index if not exists stripe_events_ids_idx on public.stripe_events using gin (public.stripe_event_ids(payload));

-- What Stripe and we call a user where it is about money: her own id, her customer's, her subscriptions', what she paid by.
create or replace function public.ids_at_stripe(p_user_id uuid) returns text[]
  language sql stable security invoker set search_path = ''
as $$
  select array_agg(id) from (
    select p_user_id::text
    union select customer_id from public.stripe_customers where user_id = p_user_id
    union select unnest(array[id, customer_id]) from public.subscriptions where user_id = p_user_id
    union select split_part(key, ':', 2) from public.credit_purchases where user_id = p_user_id
    union select r.id from public.payment_reversals r join public.credit_purchases p on p.key = r.purchase_key
           where p.user_id = p_user_id
  ) as hers (id)
$$;

-- Her events: those that name one of these ids, and what names a payment of those (a dispute names no customer).
create or replace function public.stripe_events_of(p_user_id uuid) returns setof public.stripe_events
  language sql stable security invoker set search_path = ''
as $$
  with named as (
    select public.ids_at_stripe(p_user_id) as ids
  ), paid as (
    select coalesce(array_agg(payment), '{}') as ids
      from named, public.stripe_events e, unnest(public.stripe_event_ids(e.payload)) payment
     where public.stripe_event_ids(e.payload) && named.ids and payment ~ '^(pi|py|ch|in)_'
  )
  select e.* from public.stripe_events e, named, paid where public.stripe_event_ids(e.payload) && (named.ids || paid.ids)
$$;

-- What bookkeeping needs of Stripe's JSON and nobody can be known by: numbers, dates, and texts that are ids or words of
-- Stripe's. Named is what stays, not what goes, since Stripe adds fields as it likes.
create or replace function public.without_person(p jsonb, p_key text default null) returns jsonb
  language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return case jsonb_typeof(p)
    when 'object' then (
      select coalesce(jsonb_object_agg(key, kept) filter (where kept is not null), '{}')
        from jsonb_each(p) as field (key, value), lateral public.without_person(value, key) kept
       where key not in ('card', 'exp_month', 'exp_year'))
    when 'array' then (
      select coalesce(jsonb_agg(kept order by place) filter (where kept is not null), '[]')
        from jsonb_array_elements(p) with ordinality as element (value, place), lateral public.without_person(value, p_key) kept)
    when 'string' then case when p_key in (
      'id', 'object', 'type', 'api_version', 'status', 'mode', 'payment_status', 'currency', 'number', 'billing_reason', 'reason',
      'customer', 'subscription', 'subscription_item', 'invoice', 'charge', 'payment_intent', 'price', 'product', 'plan', 'interval',
      'client_reference_id', 'user_id', 'plan_id', 'pack_id', 'credits') then p end
    else p end;
end
$$;

-- Events that come after she left: her customer is known for as long as its purchases are, and it is nobody any more.
create or replace function public.forget_who_left() returns trigger
  language plpgsql security definer set search_path = ''
as $$
declare
  ids constant text[] := public.stripe_event_ids(new.payload);
begin
  if exists (
    select from public.account_deletions d where not exists (select from public.users u where u.id = d.user_id) and d.user_id in (
      select id::uuid from unnest(ids) id where id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      union select user_id from public.stripe_customers where customer_id = any (ids)
      union select user_id from public.subscriptions where id = any (ids)
      union select p.user_id from public.credit_purchases p
             where p.key in (select kind || ':' || id from unnest(ids) id, unnest(array['invoice', 'payment_intent', 'checkout_session']) kind)
                or p.key in (select purchase_key from public.payment_reversals where id = any (ids)))
  ) then
    new.payload := public.without_person(new.payload);
  end if;
  return new;
end
$$;
revoke execute on function public.forget_who_left() from public, anon, authenticated;
create or replace trigger forget_who_left before insert or update on public.stripe_events
  for each row execute function public.forget_who_left();

-- As in *_clean_up.sql, but for those that are to be removed later.
create or replace function public.orphaned_object_keys(p_limit integer) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select coalesce(jsonb_agg(object_key), '[]')
    from (select object_key from public.orphaned_objects where since <= now() order by since, object_key limit p_limit) oldest
$$;
comment on column public.orphaned_objects.since is 'From when on clean-up removes it.';

-- Takes a user away, with every row that goes with her. Definer, because only the tables' owner may delete from auth.users.
create or replace function public.delete_user(p_user_id uuid) returns void
  language plpgsql security definer set search_path = ''
as $$
begin
  delete from auth.users where id = p_user_id;
  -- Who signed in elsewhere has no row there.
  delete from public.users where id = p_user_id;
end
$$;

-- Writes down that a user leaves, and takes her rows away. What was not started is cancelled before, so that the ledger tells it.
-- Ledger, purchases, reversals, customer, subscriptions and events stay for the books, with ids and amounts and no person.
-- Again, before it is finished, it says the same. outcome: leaving | no_user.
create or replace function public.begin_account_deletion(p_user_id uuid) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  job record;
begin
  -- Locks in the order in which everybody takes them: jobs, balance, user.
  perform from public.generation_jobs where user_id = p_user_id order by id for update;
  perform from public.credit_balances where user_id = p_user_id for update;
  perform from public.users where id = p_user_id for update;
  if not found then
    return jsonb_build_object('outcome', case
      when exists (select from public.account_deletions where user_id = p_user_id and finished_at is null) then 'leaving'
      else 'no_user' end);
  end if;

  insert into public.account_deletions (user_id) values (p_user_id)
  on conflict (user_id) do update set requested_at = now(), look_at = excluded.look_at, finished_at = null;
  for job in
    select id from public.generation_jobs where user_id = p_user_id and status in ('pending', 'queued') order by id
  loop
    perform public.end_generation_job(job.id, 'cancelled', null, null);
  end loop;
  update public.stripe_events set payload = public.without_person(payload)
   where id in (select id from public.stripe_events_of(p_user_id));
  insert into public.left_identities (hash)
  select public.identity_hash(issuer, subject) from public.identities where user_id = p_user_id
  on conflict (hash) do update set left_at = now();
  -- Whoever is still at work on something of hers may store it after erase-account has looked: clean-up looks again, later.
  insert into public.orphaned_objects (object_key, since)
  select folder || '/' || p_user_id || '/', now() + interval '1 hour' from unnest(array['users', 'uploads', 'assets', 'outputs']) folder
  on conflict do nothing;
  perform public.delete_user(p_user_id);
  return jsonb_build_object('outcome', 'leaving');
end
$$;

-- How far the end of an account is. outcome: leaving with customer_ids, hers at Stripe | finished | unknown.
create or replace function public.account_deletion(p_user_id uuid) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select coalesce(
    (select case
       when finished_at is not null then jsonb_build_object('outcome', 'finished')
       else jsonb_build_object('outcome', 'leaving', 'customer_ids', (
         select coalesce(jsonb_agg(customer_id), '[]') from (
           select customer_id from public.stripe_customers where user_id = p_user_id
           union select customer_id from public.subscriptions where user_id = p_user_id) hers))
       end
       from public.account_deletions where user_id = p_user_id),
    jsonb_build_object('outcome', 'unknown'))
$$;

-- Nothing of hers is left anywhere. outcome: finished | unknown.
create or replace function public.finish_account_deletion(p_user_id uuid) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
begin
  update public.account_deletions set finished_at = coalesce(finished_at, now()) where user_id = p_user_id;
  return jsonb_build_object('outcome', case when found then 'finished' else 'unknown' end);
end
$$;

-- Whose message is to be sent again, at most p_limit, and not again for an hour.
create or replace function public.sweep_account_deletions(p_limit integer) returns jsonb
  language sql volatile security invoker set search_path = ''
as $$
  with waiting as (
    select user_id from public.account_deletions
     where finished_at is null and look_at < now() order by look_at limit p_limit for update skip locked
  ), looked as (
    update public.account_deletions d set look_at = now() + interval '1 hour'
      from waiting where d.user_id = waiting.user_id returning d.user_id
  )
  select coalesce(jsonb_agg(user_id), '[]') from looked
$$;

-- All that is kept about a user, by table: null when there is no such user. Without what is not about her but about how it
-- was made: leases, request keys, prompts of ours. Definer, because her address is in auth.users.
create or replace function public.export_account(p_user_id uuid) returns jsonb
  language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'sign_in', (select jsonb_build_object('email', a.email, 'phone', to_jsonb(a)->'phone', 'created_at', a.created_at,
                  'last_sign_in_at', to_jsonb(a)->'last_sign_in_at', 'profile', to_jsonb(a)->'raw_user_meta_data')
                  from auth.users a where a.id = p_user_id),
    'users', jsonb_build_array(to_jsonb(u)),
    'user_roles', (select coalesce(jsonb_agg(to_jsonb(t)), '[]') from public.user_roles t where user_id = p_user_id),
    'identities', (select coalesce(jsonb_agg(to_jsonb(t)), '[]') from public.identities t where user_id = p_user_id),
    'influencers', (select coalesce(jsonb_agg(to_jsonb(t) - '{base_prompt,seed,attempt,request_id,callback_digest}'::text[]), '[]')
                      from public.influencers t where user_id = p_user_id),
    'influencers_replaced', (select coalesce(jsonb_agg(to_jsonb(t) - '{base_prompt,seed,attempt,request_id,callback_digest}'::text[]), '[]')
                      from public.influencers_replaced t where user_id = p_user_id),
    'chats', (select coalesce(jsonb_agg(to_jsonb(t) order by t.created_at), '[]') from public.chats t where user_id = p_user_id),
    'messages', (select coalesce(jsonb_agg(to_jsonb(t) order by t.created_at), '[]')
                   from public.messages t join public.chats c on c.id = t.chat_id where c.user_id = p_user_id),
    'assets', (select coalesce(jsonb_agg(to_jsonb(t) order by t.created_at), '[]') from public.assets t where user_id = p_user_id),
    'generation_jobs', (select coalesce(jsonb_agg(to_jsonb(t) - '{request_key,prediction_id,submitting_since,predictions,lease_token,lease_until,poked,look_at,seed}'::text[]
                        order by t.created_at), '[]') from public.generation_jobs t where user_id = p_user_id),
    'job_events', (select coalesce(jsonb_agg(to_jsonb(t) order by t.id), '[]')
                     from public.job_events t join public.generation_jobs j on j.id = t.job_id where j.user_id = p_user_id),
    -- Who hid one is somebody else.
    'images', (select coalesce(jsonb_agg(to_jsonb(t) - 'hidden_by' order by t.created_at), '[]') from public.images t where user_id = p_user_id),
    'image_likes', (select coalesce(jsonb_agg(to_jsonb(t) order by t.created_at), '[]') from public.image_likes t where user_id = p_user_id),
    'image_reports', (select coalesce(jsonb_agg(to_jsonb(t) order by t.created_at), '[]') from public.image_reports t where user_id = p_user_id),
    'credit_balances', (select coalesce(jsonb_agg(to_jsonb(t)), '[]') from public.credit_balances t where user_id = p_user_id),
    'credits_ledger', (select coalesce(jsonb_agg(to_jsonb(t) order by t.id), '[]') from public.credits_ledger t where user_id = p_user_id),
    'credit_purchases', (select coalesce(jsonb_agg(to_jsonb(t) order by t.created_at), '[]') from public.credit_purchases t where user_id = p_user_id),
    'payment_reversals', (select coalesce(jsonb_agg(to_jsonb(t)), '[]')
                   from public.payment_reversals t join public.credit_purchases p on p.key = t.purchase_key where p.user_id = p_user_id),
    'stripe_customers', (select coalesce(jsonb_agg(to_jsonb(t)), '[]') from public.stripe_customers t where user_id = p_user_id),
    'subscriptions', (select coalesce(jsonb_agg(to_jsonb(t) - 'ticket' order by t.created), '[]') from public.subscriptions t where user_id = p_user_id),
    'stripe_events', (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'type', t.type, 'created', t.created, 'payload', t.payload)
                        order by t.created), '[]') from public.stripe_events_of(p_user_id) t))
    from public.users u where u.id = p_user_id
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.stripe_event_ids(jsonb)',
    'public.ids_at_stripe(uuid)',
    'public.stripe_events_of(uuid)',
    'public.without_person(jsonb, text)',
    'public.delete_user(uuid)',
    'public.begin_account_deletion(uuid)',
    'public.account_deletion(uuid)',
    'public.finish_account_deletion(uuid)',
    'public.sweep_account_deletions(integer)',
    'public.export_account(uuid)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
