-- Pictures that a user has made: what goes in (assets), the work (generation_jobs), and its history (job_events).
-- Presets and prices are rows: an operator changes them here.

alter table public.plans add column if not exists jobs_per_hour integer not null default 10 check (jobs_per_hour >= 0);
comment on column public.plans.jobs_per_hour is 'How many generation jobs a user of this plan may begin in any hour.';

create table if not exists public.model_presets (
  id text primary key,
  name text not null,
  provider text not null check (provider in ('replicate', 'fal')),
  model text not null,
  prompt text not null default '',
  position integer not null default 0,
  offered boolean not null default true
);
comment on table public.model_presets is 'Image models by the name that users choose.';
comment on column public.model_presets.model is 'The provider''s name for it.';
comment on column public.model_presets.prompt is 'Joins every prompt that is made with it.';

create table if not exists public.pose_presets (
  id text primary key,
  name text not null,
  prompt text not null,
  position integer not null default 0,
  offered boolean not null default true
);
create table if not exists public.scene_presets (
  id text primary key,
  name text not null,
  prompt text not null,
  position integer not null default 0,
  offered boolean not null default true
);
create table if not exists public.generation_types (
  id text primary key,
  name text not null,
  cost_credits integer not null check (cost_credits > 0),
  position integer not null default 0,
  offered boolean not null default true
);
comment on table public.generation_types is 'What a job costs.';

-- fal's is for operators who set up fal.
insert into public.model_presets (id, name, provider, model, prompt, position, offered) values
  ('fashion_model_v1', 'Fashion model', 'replicate', 'black-forest-labs/flux-1.1-pro', 'editorial fashion photograph of an adult', 0, true),
  ('fashion_model_fal', 'Fashion model, by fal', 'fal', 'fal-ai/flux/dev', 'editorial fashion photograph of an adult', 1, false)
on conflict (id) do nothing;
insert into public.pose_presets (id, name, prompt, position) values
  ('standing', 'Standing', 'standing, relaxed', 0),
  ('sitting', 'Sitting', 'sitting', 1),
  ('walking', 'Walking', 'walking towards the camera', 2)
on conflict (id) do nothing;
insert into public.scene_presets (id, name, prompt, position) values
  ('studio', 'Studio', 'in a photographer''s studio, soft light', 0),
  ('street', 'Street', 'on a street in a city, afternoon light', 1),
  ('beach', 'Beach', 'on a beach, golden hour', 2)
on conflict (id) do nothing;
insert into public.generation_types (id, name, cost_credits, position) values
  ('standard', 'Standard', 1, 0),
  ('high_quality', 'High quality', 2, 1)
on conflict (id) do nothing;

create table if not exists public.assets (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  kind text not null default 'upload' check (kind in ('upload', 'output')),
  object_key text not null unique,
  content_type text not null,
  filename text not null default '' check (length(filename) <= 200),
  bytes bigint,
  width integer,
  height integer,
  blurhash text,
  job_id uuid,
  verified_at timestamptz,
  rejected_code text,
  created_at timestamptz not null default now(),
  constraint assets_are_one_or_the_other check (verified_at is null or rejected_code is null),
  constraint verified_assets_are_measured check (verified_at is null or (bytes > 0 and width > 0 and height > 0))
);
create index if not exists assets_user_id_created_at_idx on public.assets (user_id, created_at desc);
create index if not exists assets_job_id_idx on public.assets (job_id);
comment on table public.assets is 'Files of a user: uploads and generated pictures. One may be used once its bytes were read (verified_at).';

-- A client that inserts a row by itself says only what the file is called and claims to be; the key is ours.
create or replace function public.key_asset() returns trigger
  language plpgsql security invoker set search_path = ''
as $$
begin
  if new.object_key is null then
    new.object_key := 'uploads/' || new.user_id || '/' || new.id || '.' || case new.content_type
      when 'image/jpeg' then 'jpg' when 'image/png' then 'png' when 'image/webp' then 'webp' when 'image/gif' then 'gif' end;
  end if;
  return new;
end
$$;
create or replace trigger key_asset before insert on public.assets for each row execute function public.key_asset();

-- Objects whose row is gone: clean-up removes them, so that nothing is paid for that nobody can see.
create table if not exists public.orphaned_objects (
  object_key text primary key,
  since timestamptz not null default now()
);
comment on table public.orphaned_objects is 'Keys, or prefixes that end in a slash, of objects to remove from the bucket.';

create table if not exists public.generation_jobs (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  status text not null default 'pending'
    check (status in ('pending', 'queued', 'processing', 'completed', 'failed', 'cancelled')),
  prompt text not null check (length(prompt) between 1 and 1000),
  input_asset_id uuid references public.assets (id) on delete set null,
  had_input boolean not null default false,
  influencer_id uuid references public.influencers (id) on delete set null,
  model_preset text not null references public.model_presets (id),
  pose_preset text not null references public.pose_presets (id),
  scene_preset text not null references public.scene_presets (id),
  generation_type text not null references public.generation_types (id),
  cost_credits integer not null default 0 check (cost_credits >= 0),
  request_key text,
  provider text,
  model text,
  prediction_id text,
  submitting_since timestamptz,
  predictions integer not null default 0,
  lease_token uuid,
  lease_until timestamptz,
  poked boolean not null default false,
  look_at timestamptz not null default now(),
  deadline_at timestamptz not null default now() + interval '30 minutes',
  progress smallint check (progress between 0 and 100),
  seed bigint,
  failure_code text,
  failure_message text,
  -- Not now(): of requests that waited for each other, the one that came first may have begun last.
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz,
  constraint generation_jobs_request_key_key unique (user_id, request_key),
  constraint generation_jobs_finish check ((status in ('completed', 'failed', 'cancelled')) = (finished_at is not null)),
  constraint generation_jobs_fail_with_a_reason check ((status = 'failed') = (failure_code is not null))
);
create index if not exists generation_jobs_user_id_created_at_idx on public.generation_jobs (user_id, created_at desc, id desc);
create index if not exists generation_jobs_unfinished_idx on public.generation_jobs (look_at) where finished_at is null;
comment on table public.generation_jobs is 'One picture asked for: reserved credits, the work, how it ended.';
comment on column public.generation_jobs.had_input is 'It started from an upload, which may be deleted by now.';
comment on column public.generation_jobs.request_key is 'The client''s Idempotency-Key: the same one again is the same job.';
comment on column public.generation_jobs.submitting_since is 'Set before the provider is asked: after a kill the prediction may exist although prediction_id is null.';
comment on column public.generation_jobs.predictions is 'How many were asked for: more than one only where one failed in a way that another may mend.';
comment on column public.generation_jobs.lease_until is 'Until then the worker with lease_token is at it.';
comment on column public.generation_jobs.poked is 'A message for it came while somebody was at it: there may be news that the lease''s holder did not see.';
comment on column public.generation_jobs.look_at is 'When the sweeper puts it into the queue again, if nothing happens before.';

alter table public.assets drop constraint if exists assets_come_from_a_job;
alter table public.assets add constraint assets_come_from_a_job
  foreign key (job_id) references public.generation_jobs (id) on delete set null;

create table if not exists public.job_events (
  id bigint generated always as identity primary key,
  job_id uuid not null references public.generation_jobs (id) on delete cascade,
  from_status text,
  to_status text not null,
  detail text,
  created_at timestamptz not null default now()
);
create index if not exists job_events_job_id_idx on public.job_events (job_id, id);
create index if not exists job_events_created_at_idx on public.job_events (created_at);
comment on table public.job_events is 'Every move of every job, written by the database.';

-- Whether a job may go from one state to another. shared/domain has the same table; a test compares them.
create or replace function public.is_legal_move(p_from text, p_to text) returns boolean
  language sql immutable security invoker set search_path = ''
as $$
  select (p_from, p_to) in (
    ('pending', 'queued'), ('pending', 'cancelled'), ('pending', 'failed'),
    ('queued', 'processing'), ('queued', 'cancelled'), ('queued', 'failed'),
    ('processing', 'completed'), ('processing', 'failed'))
$$;

create or replace function public.watch_job() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' and new.status <> old.status and not public.is_legal_move(old.status, new.status) then
    raise exception 'a job does not go from % to %', old.status, new.status using errcode = 'check_violation';
  end if;
  if tg_op = 'INSERT' or new.status <> old.status then
    insert into public.job_events (job_id, from_status, to_status, detail)
    values (new.id, case when tg_op = 'UPDATE' then old.status end, new.status, new.failure_code);
    -- Hosted Supabase tells the owner's open pages: a private channel of her own (policy below).
    if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is not null then
      execute 'select realtime.send($1, $2, $3, true)'
        using jsonb_build_object('id', new.id, 'status', new.status), 'job', 'generation-jobs:' || new.user_id;
    end if;
  end if;
  return null;
end
$$;
create or replace trigger watch_job after insert or update of status on public.generation_jobs
  for each row execute function public.watch_job();

-- Credits are reserved where the row is made, whoever makes it: also a client that inserts by itself through the data API, for
-- whom what cannot be is an error. create_generation_job asks first and answers in words.
create or replace function public.reserve_for_job() returns trigger
  language plpgsql security definer set search_path = ''
as $$
declare
  spent jsonb;
begin
  new.had_input := new.input_asset_id is not null;
  select cost_credits into new.cost_credits from public.generation_types where id = new.generation_type and offered;
  select provider, model into new.provider, new.model from public.model_presets where id = new.model_preset and offered;
  if new.cost_credits is null or new.provider is null
     or not exists (select from public.pose_presets where id = new.pose_preset and offered)
     or not exists (select from public.scene_presets where id = new.scene_preset and offered) then
    raise exception 'not offered' using errcode = 'check_violation';
  end if;
  if public.job_wait(new.user_id) > 0 then
    raise exception 'rate_limited' using errcode = 'check_violation';
  end if;
  if num_nonnulls(new.input_asset_id, new.influencer_id) > 1
     or (new.input_asset_id is not null and not exists (
       select from public.assets where id = new.input_asset_id and user_id = new.user_id and verified_at is not null))
     or (new.influencer_id is not null and not exists (
       select from public.influencers where id = new.influencer_id and user_id = new.user_id and is_locked)) then
    raise exception 'no such input' using errcode = 'check_violation';
  end if;
  spent := public.add_ledger_line(new.user_id, 'spend', -new.cost_credits, 'job_reserve:' || new.id, 'Generated picture');
  if spent->>'outcome' <> 'done' then
    raise exception 'insufficient_credits' using errcode = 'check_violation';
  end if;
  return new;
end
$$;
create or replace trigger reserve_for_job before insert on public.generation_jobs
  for each row execute function public.reserve_for_job();

-- Seconds until a user may begin another job; 0 when she may now. Locks her balance, so that parallel requests count each other.
create or replace function public.job_wait(p_user_id uuid) returns integer
  language plpgsql security definer set search_path = ''
as $$
declare
  most integer;
  nth timestamptz;
begin
  perform from public.credit_balances where user_id = p_user_id for update;
  select jobs_per_hour into most from public.plan_of(p_user_id);
  if most = 0 then
    return 3600;
  end if;
  select created_at into nth from public.generation_jobs
   where user_id = p_user_id and created_at > now() - interval '1 hour'
   order by created_at desc offset most - 1 limit 1;
  return case when found then greatest(1, ceil(extract(epoch from nth + interval '1 hour' - now())))::integer else 0 end;
end
$$;
revoke execute on function public.key_asset(), public.watch_job(), public.reserve_for_job() from public, anon, authenticated;
revoke execute on function public.job_wait(uuid), public.is_legal_move(text, text) from public, anon, authenticated;
grant execute on function public.job_wait(uuid), public.is_legal_move(text, text) to service_role;

-- What a job still starts from stays until it has ended; a picture of something else would come out. An account goes with all.
create or replace function public.keep_needed_asset() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  if exists (select from public.generation_jobs where input_asset_id = old.id and finished_at is null)
     and exists (select from public.users where id = old.user_id) then
    raise exception 'a picture is being made from this upload' using errcode = 'foreign_key_violation';
  end if;
  return old;
end
$$;
create or replace trigger keep_needed_asset before delete on public.assets for each row execute function public.keep_needed_asset();
revoke execute on function public.keep_needed_asset() from public, anon, authenticated;

-- What is deleted leaves its objects behind for clean-up.
create or replace function public.orphan_objects() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.orphaned_objects (object_key)
  select unnest(case old.kind
    when 'upload' then array[old.object_key, 'assets/' || old.user_id || '/' || old.id || '/']
    else array[regexp_replace(old.object_key, '[^/]*$', '')] end)
  on conflict do nothing;
  return null;
end
$$;
create or replace trigger orphan_objects after delete on public.assets for each row execute function public.orphan_objects();
revoke execute on function public.orphan_objects() from public, anon, authenticated;

-- Who may do what: the requirement's table, cell by cell (tests/it/row_security.rs).
revoke all on public.model_presets, public.pose_presets, public.scene_presets, public.generation_types, public.assets,
  public.orphaned_objects, public.generation_jobs, public.job_events from anon, authenticated;
grant select on public.model_presets, public.pose_presets, public.scene_presets, public.generation_types to authenticated;
grant select, delete on public.assets to authenticated;
grant insert (user_id, content_type, filename), update (filename) on public.assets to authenticated;
grant select (id, user_id, status, prompt, input_asset_id, influencer_id, model_preset, pose_preset, scene_preset, generation_type,
  cost_credits, progress, failure_code, failure_message, created_at, started_at, finished_at) on public.generation_jobs to authenticated;
grant insert (user_id, prompt, input_asset_id, influencer_id, model_preset, pose_preset, scene_preset, generation_type)
  on public.generation_jobs to authenticated;
grant select on public.job_events to authenticated;
grant all on public.model_presets, public.pose_presets, public.scene_presets, public.generation_types, public.assets,
  public.orphaned_objects, public.generation_jobs, public.job_events to service_role;

do $$
declare
  t text;
begin
  foreach t in array array['model_presets', 'pose_presets', 'scene_presets', 'generation_types'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('drop policy if exists "presets are for all who are signed in to see" on public.%I', t);
    execute format('create policy "presets are for all who are signed in to see" on public.%I for select to authenticated using (true)', t);
  end loop;
end
$$;

alter table public.assets enable row level security;
drop policy if exists "users see their own assets" on public.assets;
create policy "users see their own assets" on public.assets for select to authenticated using (user_id = (select auth.uid()));
drop policy if exists "users announce their own uploads" on public.assets;
create policy "users announce their own uploads" on public.assets for insert to authenticated
  with check (user_id = (select auth.uid()) and kind = 'upload' and verified_at is null);
drop policy if exists "users rename their own assets" on public.assets;
create policy "users rename their own assets" on public.assets for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
drop policy if exists "users delete their own assets" on public.assets;
create policy "users delete their own assets" on public.assets for delete to authenticated using (user_id = (select auth.uid()));

alter table public.generation_jobs enable row level security;
drop policy if exists "users see their own jobs" on public.generation_jobs;
create policy "users see their own jobs" on public.generation_jobs for select to authenticated using (user_id = (select auth.uid()));
drop policy if exists "users ask for their own jobs" on public.generation_jobs;
create policy "users ask for their own jobs" on public.generation_jobs for insert to authenticated
  with check (user_id = (select auth.uid()));

alter table public.job_events enable row level security;
drop policy if exists "users see events of their own jobs" on public.job_events;
create policy "users see events of their own jobs" on public.job_events for select to authenticated
  using (exists (select from public.generation_jobs j where j.id = job_id and j.user_id = (select auth.uid())));

alter table public.orphaned_objects enable row level security;

-- Realtime: a user may listen to her own channel. Only where Supabase's Realtime is.
do $$
begin
  if to_regclass('realtime.messages') is not null then
    drop policy if exists "users listen to their own jobs" on realtime.messages;
    create policy "users listen to their own jobs" on realtime.messages for select to authenticated
      using (extension = 'broadcast' and realtime.topic() = 'generation-jobs:' || (select auth.uid()));
  end if;
end
$$;
