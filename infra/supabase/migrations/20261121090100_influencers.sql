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
comment on column public.influencers.deadline_at is 'An unfinished set-up past this moment has timed out.';
comment on column public.influencers.callback_digest is 'SHA-256 of the recorded callback, to know it when it comes again.';

-- created_at now says when she was complete, not when the row was inserted.
alter table public.influencers alter column created_at drop default, alter column created_at drop not null;

-- The prototype's rows, once: complete ones are ready, the others failed and may be tried again.
drop trigger if exists a_locked_influencer_never_changes on public.influencers;
update public.influencers
   set is_locked = coalesce(is_locked and initial_image_url is not null, false),
       created_at = case when is_locked and initial_image_url is not null then coalesce(created_at, now()) end,
       state = case when is_locked and initial_image_url is not null then 'ready' else 'failed' end,
       failure_code = case when is_locked and initial_image_url is not null then null else 'incomplete' end,
       failure_message = case when is_locked and initial_image_url is not null then null
                              else 'Her set-up was never finished. Please try again.' end
 where state is null;

-- More than one for a user: the best stays (locked, then newest), the others are kept aside, never thrown away.
create table if not exists public.influencers_replaced (like public.influencers);
comment on table public.influencers_replaced is 'Second and later characters of one user, from before a user had at most one.';
revoke all on public.influencers_replaced from anon, authenticated;
grant all on public.influencers_replaced to service_role;
alter table public.influencers_replaced enable row level security;

do $$
begin
  if exists (select from public.influencers group by user_id having count(*) > 1) then
    with ranked as (
      select id, row_number() over (partition by user_id order by is_locked desc, created_at desc nulls last, id) as place
        from public.influencers
    ), replaced as (
      delete from public.influencers using ranked
       where influencers.id = ranked.id and ranked.place > 1
      returning influencers.*
    )
    insert into public.influencers_replaced select * from replaced;
  end if;
end
$$;

alter table public.influencers
  alter column is_locked set default false, alter column is_locked set not null,
  alter column state set default 'requested', alter column state set not null;

create unique index if not exists influencers_user_id_key on public.influencers (user_id);

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
drop policy if exists "users see their own influencer" on public.influencers;
create policy "users see their own influencer" on public.influencers
  for select to authenticated using (user_id = (select auth.uid()));
