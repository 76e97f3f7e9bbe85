-- Who our users are. `users.id` is `auth.users.id`: one person, one id, everywhere (docs/IDS.md).
--
-- This file and the next ones create what is missing and complete what is there: they run over an empty project, over one
-- that already has the prototype's tables and rows, and a second time over either.

do $$
declare
  wrong text;
  old record;
begin
  select string_agg(format('public.%I.%I is %s', c.table_name, c.column_name, c.data_type), ', ' order by c.table_name, c.column_name)
    into wrong
    from information_schema.columns c
   where c.table_schema = 'public'
     and c.table_name in ('users', 'influencers', 'images', 'chats', 'messages')
     and c.column_name in ('id', 'user_id', 'influencer_id', 'chat_id')
     and c.data_type <> 'uuid';
  if wrong is not null then
    raise exception 'cannot upgrade: %', wrong
      using hint = 'Ids have to be uuid first. docs/IDS.md, "Ids that are numbers", has the statements.';
  end if;

  -- Policies add up: one of the prototype's that lets everybody read would go on doing so beside ours.
  for old in
    select tablename, policyname from pg_policies
     where schemaname = 'public' and tablename in ('users', 'influencers', 'images', 'chats', 'messages')
  loop
    execute format('drop policy %I on public.%I', old.policyname, old.tablename);
  end loop;

  -- Columns of the prototype's own that must be given: nobody gives them any more.
  for old in
    select table_name, column_name from information_schema.columns
     where table_schema = 'public' and table_name in ('users', 'influencers') and is_nullable = 'NO'
       and column_default is null and is_identity = 'NO' and is_generated = 'NEVER'
       and column_name not in ('id', 'user_id', 'name', 'bio', 'vibe', 'plan', 'credits', 'created_at')
  loop
    execute format('alter table public.%I alter column %I drop not null', old.table_name, old.column_name);
  end loop;

  -- Foreign keys of the prototype's to a user: ours let the rows go with her, and one that does not would hold her back.
  for old in
    select conrelid::regclass as child, conname from pg_constraint
     where contype = 'f' and confrelid in (to_regclass('public.users'), to_regclass('auth.users'))
       and conrelid in (to_regclass('public.influencers'), to_regclass('public.images'), to_regclass('public.chats'))
  loop
    execute format('alter table %s drop constraint %I', old.child, old.conname);
  end loop;
end
$$;

create table if not exists public.users (
  id uuid primary key,
  plan text not null default 'free',
  credits integer not null default 4,
  created_at timestamptz not null default now()
);

alter table public.users
  add column if not exists plan text not null default 'free',
  add column if not exists credits integer not null default 4,
  add column if not exists created_at timestamptz not null default now();

-- The prototype's gaps.
update public.users set plan = coalesce(plan, 'free'), credits = coalesce(credits, 4) where plan is null or credits is null;
alter table public.users
  alter column plan set default 'free', alter column plan set not null,
  alter column credits set default 4, alter column credits set not null,
  alter column created_at set default now();

comment on table public.users is 'One row for each person who signed up; the id is auth.users.id.';
comment on column public.users.plan is 'free or pro.';
comment on column public.users.credits is 'What she can spend, in credits; never below zero.';

-- The prototype may hold rows that break these rules. `not valid` leaves those alone and holds every new or changed row.
alter table public.users drop constraint if exists users_id_is_auth_user;
alter table public.users add constraint users_id_is_auth_user
  foreign key (id) references auth.users (id) on delete cascade not valid;
alter table public.users drop constraint if exists users_plan_is_known;
alter table public.users add constraint users_plan_is_known check (plan in ('free', 'pro')) not valid;
alter table public.users drop constraint if exists users_credits_are_not_negative;
alter table public.users add constraint users_credits_are_not_negative check (credits >= 0) not valid;

-- The publishable key and a user's own token read; nothing but the server writes.
revoke all on public.users from anon, authenticated;
grant select (id, plan, credits, created_at) on public.users to authenticated;
grant all on public.users to service_role;

alter table public.users enable row level security;
create policy "users see their own row" on public.users
  for select to authenticated using (id = (select auth.uid()));

-- Signing up makes the row. Definer, because auth's role may not write to public; the empty search_path keeps it honest.
create or replace function public.handle_new_user() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.users (id) values (new.id) on conflict (id) do nothing;
  return new;
end
$$;
revoke execute on function public.handle_new_user() from public, anon, authenticated;

create or replace trigger on_auth_user_created after insert on auth.users
  for each row execute function public.handle_new_user();

-- Those who signed up before the trigger existed.
insert into public.users (id) select id from auth.users on conflict (id) do nothing;
