-- The character: one for each user, set up by a workflow, then locked for good.
--
--   requested ──callback──▶ image_pending ──image stored──▶ ready (locked)
--       └────────── failed ◀──────┘            failed, or past deadline_at: may be requested again (attempt + 1)

create table if not exists public.influencers (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  name text not null,
  bio text not null,
  vibe text not null
);

alter table public.influencers
  add column if not exists base_prompt text,
  add column if not exists seed bigint,
  add column if not exists initial_image_url text,
  add column if not exists is_locked boolean default false,
  add column if not exists created_at timestamptz,
  add column if not exists state text,
  add column if not exists attempt integer not null default 1,
  add column if not exists request_id uuid,
  add column if not exists requested_at timestamptz not null default now(),
  add column if not exists deadline_at timestamptz not null default now(),
  add column if not exists failure_code text,
  add column if not exists failure_message text,
  add column if not exists callback_digest text;

comment on table public.influencers is 'The character of a user, and how far her set-up has come.';
comment on column public.influencers.base_prompt is 'Part of every image made of her.';
comment on column public.influencers.seed is 'Seed of the first image.';
comment on column public.influencers.initial_image_url is 'Our own URL of the first image, never the vendor''s temporary one.';
comment on column public.influencers.is_locked is 'True once the image is in the bucket; from then on the row never changes.';
comment on column public.influencers.created_at is 'When the set-up was complete.';
comment on column public.influencers.attempt is 'Counts the starts of the set-up; answers to an earlier start are ignored.';
comment on column public.influencers.request_id is 'The request that started this attempt, to know it when it is repeated.';
comment on column public.influencers.deadline_at is 'An unfinished set-up past this moment has timed out.';
comment on column public.influencers.callback_digest is 'SHA-256 of the recorded callback, to know it when it comes again.';

-- created_at now says when she was complete, not when the row was inserted; and it knows its time zone.
alter table public.influencers alter column created_at drop default, alter column created_at drop not null;
do $$
begin
  if exists (select from information_schema.columns where table_schema = 'public' and table_name = 'influencers'
             and column_name = 'created_at' and data_type = 'timestamp without time zone') then
    alter table public.influencers alter column created_at type timestamptz using created_at at time zone 'UTC';
  end if;
end
$$;

drop trigger if exists a_locked_influencer_never_changes on public.influencers;

-- More than one for a user: the best stays (complete, then newest). The others are kept aside, never thrown away; what points
-- to them points to her from now on.
create table if not exists public.influencers_replaced (like public.influencers);
comment on table public.influencers_replaced is 'Second and later characters of one user, from before a user had at most one.';
revoke all on public.influencers_replaced from anon, authenticated;
grant all on public.influencers_replaced to service_role;
alter table public.influencers_replaced enable row level security;

do $$
declare
  pointer record;
begin
  create temporary table replacement as
    select id, first_value(id) over best as kept
      from public.influencers
     where user_id is not null
    window best as (partition by user_id order by (is_locked and initial_image_url is not null) desc nulls last,
                    created_at desc nulls last, id);
  delete from replacement where id = kept;

  for pointer in
    select c.conrelid::regclass as child, a.attname as col
      from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
     where c.contype = 'f' and c.confrelid = 'public.influencers'::regclass
  loop
    execute format('update %s child set %I = r.kept from replacement r where child.%I = r.id', pointer.child, pointer.col, pointer.col);
  end loop;

  -- Only where there is one: later migrations add columns, which the table of the replaced ones does not have.
  if exists (select from replacement) then
    with replaced as (
      delete from public.influencers using replacement where influencers.id = replacement.id returning influencers.*
    )
    insert into public.influencers_replaced select * from replaced;
  end if;
  drop table replacement;
end
$$;

-- They go with their user. Only now, as some of them may have none any more.
alter table public.influencers_replaced drop constraint if exists influencers_replaced_belong_to_a_user;
alter table public.influencers_replaced add constraint influencers_replaced_belong_to_a_user
  foreign key (user_id) references public.users (id) on delete cascade not valid;

-- The prototype's rows, once: complete ones are ready, the others failed and may be tried again.
update public.influencers
   set name = coalesce(name, ''), bio = coalesce(bio, ''), vibe = coalesce(vibe, ''),
       is_locked = coalesce(is_locked and initial_image_url is not null, false),
       requested_at = coalesce(created_at, requested_at),
       created_at = case when is_locked and initial_image_url is not null then coalesce(created_at, now()) end,
       state = case when is_locked and initial_image_url is not null then 'ready' else 'failed' end,
       failure_code = case when is_locked and initial_image_url is not null then null else 'incomplete' end,
       failure_message = case when is_locked and initial_image_url is not null then null
                              else 'Her set-up was never finished. Please try again.' end
 where state is null;

alter table public.influencers
  alter column name set not null, alter column bio set not null, alter column vibe set not null,
  alter column is_locked set default false, alter column is_locked set not null,
  alter column state set default 'requested', alter column state set not null;

-- A constraint and not just an index: PostgREST tells by it that a user has one influencer and not a list.
alter table public.influencers drop constraint if exists influencers_user_id_key;
alter table public.influencers add constraint influencers_user_id_key unique (user_id);

alter table public.influencers drop constraint if exists influencers_belong_to_a_user;
alter table public.influencers add constraint influencers_belong_to_a_user
  foreign key (user_id) references public.users (id) on delete cascade not valid;
alter table public.influencers drop constraint if exists influencers_state_is_known;
alter table public.influencers add constraint influencers_state_is_known
  check (state in ('requested', 'image_pending', 'ready', 'failed'));
alter table public.influencers drop constraint if exists influencers_texts_have_their_lengths;
alter table public.influencers add constraint influencers_texts_have_their_lengths
  check (char_length(name) between 1 and 40 and char_length(bio) between 1 and 1000
         and char_length(vibe) between 1 and 200) not valid;
alter table public.influencers drop constraint if exists influencers_are_locked_when_ready;
alter table public.influencers add constraint influencers_are_locked_when_ready
  check (is_locked = (state = 'ready')
         and (not is_locked or (initial_image_url is not null and created_at is not null)));
alter table public.influencers drop constraint if exists influencers_say_why_they_failed;
alter table public.influencers add constraint influencers_say_why_they_failed
  check ((state = 'failed') = (failure_code is not null) and (failure_code is null) = (failure_message is null));

-- I2 for every writer, the service role and the SQL editor included.
create or replace function public.refuse_change_of_locked_influencer() returns trigger
  language plpgsql set search_path = ''
as $$
begin
  raise exception 'influencer % is locked', old.id using errcode = 'check_violation';
end
$$;
revoke execute on function public.refuse_change_of_locked_influencer() from public, anon, authenticated;

create trigger a_locked_influencer_never_changes before update on public.influencers
  for each row when (old.is_locked) execute function public.refuse_change_of_locked_influencer();

-- The owner sees her character; the prompt, the seed and the bookkeeping stay with the server.
revoke all on public.influencers from anon, authenticated;
grant select (id, user_id, name, bio, vibe, state, requested_at, deadline_at, failure_code, failure_message,
              initial_image_url, is_locked, created_at)
  on public.influencers to authenticated;
grant all on public.influencers to service_role;

alter table public.influencers enable row level security;
create policy "users see their own influencer" on public.influencers
  for select to authenticated using (user_id = (select auth.uid()));
