-- People who sign in elsewhere than at Supabase Auth (Clerk; docs/IDS.md): whose `sub` is which user. From here on "who asks" is
-- public.caller_id(), never auth.uid(), which fails on a `sub` that is no uuid and would believe one of another issuer that is.

-- They have no row in auth.users, so users.id cannot point there. A trigger does what the key did when a row there is deleted.
alter table public.users drop constraint if exists users_id_is_auth_user;
comment on table public.users is
  'One row for each person. The id is auth.users.id for who signed up at Supabase, and made by public.enter() for the others.';

create or replace function public.handle_deleted_user() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  delete from public.users where id = old.id;
  return old;
end
$$;
revoke execute on function public.handle_deleted_user() from public, anon, authenticated;

create or replace trigger on_auth_user_deleted after delete on auth.users
  for each row execute function public.handle_deleted_user();

-- The key is deferred: the identity comes first, because its uniqueness decides who makes the user.
create table if not exists public.identities (
  issuer text not null,
  subject text not null,
  user_id uuid not null references public.users (id) on delete cascade deferrable initially deferred,
  created_at timestamptz not null default now(),
  primary key (issuer, subject)
);
comment on table public.identities is 'Who a token of another issuer than Supabase Auth belongs to: its iss and sub.';
create index if not exists identities_user_id_idx on public.identities (user_id);

-- No foreign key: it outlives the account.
create table if not exists public.left_identities (
  hash bytea primary key,
  left_at timestamptz not null default now()
);
comment on table public.left_identities is
  'Who deleted her account, as public.identity_hash() of her identity: free credits are given once, however often somebody leaves.';

revoke all on public.identities, public.left_identities from anon, authenticated;
grant all on public.identities, public.left_identities to service_role;
alter table public.identities enable row level security;
alter table public.left_identities enable row level security;

create or replace function public.identity_hash(p_issuer text, p_subject text) returns bytea
  language sql stable set search_path = ''
as $$ select sha256(convert_to(p_issuer || ' ' || p_subject, 'UTF8')) $$;

-- The user whose token this request carries; null when it is nobody's. Supabase's own issuer ends in /auth/v1, and
-- @supabase/lite leaves it out. Definer, so that policies may ask while nobody reads the table.
create or replace function public.caller_id() returns uuid
  language sql stable security definer set search_path = ''
as $$
  select case
    when claims ->> 'iss' is null or claims ->> 'iss' like '%/auth/v1' then
      case when claims ->> 'sub' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        -- Not the bare number: what is kept for the books of who left is nobody's to read, however long her token lives.
        (select u.id from public.users u where u.id = (claims ->> 'sub')::uuid)
      end
    when claims ->> 'sts' is distinct from 'pending' then
      (select i.user_id from public.identities i where i.issuer = claims ->> 'iss' and i.subject = claims ->> 'sub')
    end
    from auth.jwt() claims
$$;

-- The caller's user, made when she comes for the first time from another issuer than Supabase. outcome: ok with user_id |
-- no_user: the token is nobody's, her session is pending, or she deleted her account after the token was made.
create or replace function public.enter() returns jsonb
  language plpgsql security definer set search_path = ''
as $$
declare
  claims constant jsonb := auth.jwt();
  iss constant text := claims ->> 'iss';
  sub constant text := claims ->> 'sub';
  her uuid := public.caller_id();
begin
  if her is null and iss not like '%/auth/v1' and sub <> '' and claims ->> 'sts' is distinct from 'pending'
    and not exists (select from public.left_identities where hash = public.identity_hash(iss, sub)
                     and left_at >= to_timestamp(coalesce((claims ->> 'iat')::double precision, 0)))
  then
    -- Of many first requests at once one inserts; the others wait for it here and find hers.
    insert into public.identities (issuer, subject, user_id) values (iss, sub, gen_random_uuid())
      on conflict (issuer, subject) do nothing
      returning user_id into her;
    if found then
      insert into public.users (id) values (her);
    else
      her := public.caller_id();
    end if;
  end if;
  if her is null then
    return jsonb_build_object('outcome', 'no_user');
  end if;
  return jsonb_build_object('outcome', 'ok', 'user_id', her);
end
$$;

revoke execute on function public.identity_hash(text, text) from public, anon, authenticated;
grant execute on function public.identity_hash(text, text) to service_role;
revoke execute on function public.caller_id() from public;
grant execute on function public.caller_id() to anon, authenticated, service_role;
revoke execute on function public.enter() from public, anon, service_role;
grant execute on function public.enter() to authenticated;

-- Free credits once: not for who left and comes again.
create or replace function public.welcome_user() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.credit_balances (user_id, balance)
  select new.id, coalesce(sum(amount), 0) from public.credits_ledger where user_id = new.id
  on conflict (user_id) do nothing;

  insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
  select new.id, 'bonus', credits, 'welcome:' || new.id, 'Free credits to start with'
    from public.plans where id = 'free' and credits > 0
     and not exists (select from public.identities i join public.left_identities l on l.hash = public.identity_hash(i.issuer, i.subject)
                      where i.user_id = new.id)
  on conflict (business_key) do nothing;
  return new;
end
$$;

-- Who asks, in every policy.
alter policy "users see their own row" on public.users using (id = (select public.caller_id()));
alter policy "users see their own influencer" on public.influencers using (user_id = (select public.caller_id()));
alter policy "users see their own images" on public.images using (user_id = (select public.caller_id()));
alter policy "users see their own chats" on public.chats using (user_id = (select public.caller_id()));
alter policy "users see the messages of their chats" on public.messages using (
  exists (select from public.chats where chats.id = messages.chat_id and chats.user_id = (select public.caller_id()))
);
alter policy "users see their own balance" on public.credit_balances using (user_id = (select public.caller_id()));
alter policy "users see their own lines" on public.credits_ledger using (user_id = (select public.caller_id()));
alter policy "users see their own customer" on public.stripe_customers using (user_id = (select public.caller_id()));
alter policy "users see their own subscriptions" on public.subscriptions using (user_id = (select public.caller_id()));
alter policy "users see their own roles" on public.user_roles using (user_id = (select public.caller_id()));
alter policy "users see their own assets" on public.assets using (user_id = (select public.caller_id()));
alter policy "users announce their own uploads" on public.assets
  with check (user_id = (select public.caller_id()) and kind = 'upload' and verified_at is null);
alter policy "users rename their own assets" on public.assets
  using (user_id = (select public.caller_id())) with check (user_id = (select public.caller_id()));
alter policy "users delete their own assets" on public.assets using (user_id = (select public.caller_id()));
alter policy "users see their own jobs" on public.generation_jobs using (user_id = (select public.caller_id()));
alter policy "users ask for their own jobs" on public.generation_jobs with check (user_id = (select public.caller_id()));
alter policy "users see events of their own jobs" on public.job_events
  using (exists (select from public.generation_jobs j where j.id = job_id and j.user_id = (select public.caller_id())));
do $$
begin
  if to_regclass('realtime.messages') is not null then
    alter policy "users listen to their own jobs" on realtime.messages
      using (extension = 'broadcast' and realtime.topic() = 'generation-jobs:' || (select public.caller_id()));
  end if;
end
$$;

create or replace view public.calling_admin with (security_barrier = true) as
  select true as allowed
   where current_user in ('service_role', 'postgres')
      or exists (select from public.user_roles where user_id = (select public.caller_id()) and role = 'admin');
