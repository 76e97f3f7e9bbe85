-- What we know of Stripe: who is which customer, what it told us, who subscribes to what, what was paid and what was returned.
-- No foreign keys to users: bookkeeping outlives the account, and events of somebody who left must find their way.

create table if not exists public.stripe_customers (
  user_id uuid primary key,
  customer_id text not null unique check (customer_id <> ''),
  created_at timestamptz not null default now()
);
comment on table public.stripe_customers is 'One Stripe customer for each user who ever began to pay. Found here, never by e-mail.';

create table if not exists public.stripe_events (
  id text primary key,
  type text not null,
  created timestamptz not null,
  api_version text,
  payload jsonb not null,
  deliveries integer not null default 1,
  received_at timestamptz not null default now(),
  outcome text,
  applied_at timestamptz
);
create index if not exists stripe_events_unapplied_idx on public.stripe_events (received_at) where applied_at is null;
comment on table public.stripe_events is 'Every event that we handle, as it came, so that it can be applied again.';
comment on column public.stripe_events.outcome is 'granted, duplicate, stored, stale, ignored, noted; unmatched or mismatched: somebody has to look (docs/OPERATIONS.md).';
comment on column public.stripe_events.applied_at is 'Null until it took effect, or until it was found that it has none.';

create table if not exists public.subscriptions (
  id text primary key,
  user_id uuid not null,
  customer_id text not null,
  plan_id text references public.plans (id),
  status text not null,
  current_period_start timestamptz not null,
  current_period_end timestamptz not null,
  cancel_at timestamptz,
  ended_at timestamptz,
  past_due_since timestamptz,
  created timestamptz not null,
  ticket bigint not null
);
create index if not exists subscriptions_user_id_idx on public.subscriptions (user_id);
comment on table public.subscriptions is 'Stripe''s subscriptions as last fetched from there.';
comment on column public.subscriptions.plan_id is 'The plan whose price it has; null when no plan knows its prices.';
comment on column public.subscriptions.status is 'Stripe''s word, also those that Stripe has yet to invent.';
comment on column public.subscriptions.cancel_at is 'When it will end, if it was cancelled.';
comment on column public.subscriptions.ticket is 'Drawn before it was fetched: what was fetched by a later ticket is not overwritten.';

create table if not exists public.credit_purchases (
  key text primary key,
  user_id uuid not null,
  plan_id text,
  pack_id text,
  credits integer not null check (credits > 0),
  amount_paid bigint not null check (amount_paid >= 0),
  currency text not null,
  clawed_back integer not null default 0 check (clawed_back between 0 and credits),
  settlements integer not null default 0,
  created_at timestamptz not null default now()
);
create index if not exists credit_purchases_user_id_idx on public.credit_purchases (user_id);
comment on table public.credit_purchases is 'What was paid for credits. The key is the ledger''s too.';
comment on column public.credit_purchases.key is 'invoice:in_1, payment_intent:pi_1, or checkout_session:cs_1 where nothing was to be paid.';
comment on column public.credit_purchases.amount_paid is 'In the currency''s smallest unit.';
comment on column public.credit_purchases.clawed_back is 'How many of the credits are taken back at present.';
comment on column public.credit_purchases.settlements is 'How often that number moved: part of each such ledger line''s business key.';

create table if not exists public.payment_reversals (
  id text primary key,
  purchase_key text not null,
  amount bigint not null check (amount >= 0),
  ticket bigint not null
);
create index if not exists payment_reversals_purchase_key_idx on public.payment_reversals (purchase_key);
comment on table public.payment_reversals is 'Money that went back: one row for each charge with refunds and for each dispute, whether or not its purchase is known yet.';
comment on column public.payment_reversals.amount is 'How much of the payment is gone at present, in the smallest unit.';

create sequence if not exists public.stripe_tickets;
comment on sequence public.stripe_tickets is 'Orders what was fetched from Stripe: a ticket is drawn before each fetch.';

create table if not exists public.user_roles (
  user_id uuid not null references public.users (id) on delete cascade,
  role text not null check (role in ('admin')),
  created_at timestamptz not null default now(),
  primary key (user_id, role)
);
comment on table public.user_roles is 'Who may do more than others. Rows are made in the SQL editor.';

revoke all on public.stripe_customers, public.stripe_events, public.subscriptions, public.credit_purchases,
  public.payment_reversals, public.user_roles from anon, authenticated;
revoke all on sequence public.stripe_tickets from anon, authenticated;
grant select on public.stripe_customers, public.subscriptions, public.user_roles to authenticated;
grant all on public.stripe_customers, public.stripe_events, public.subscriptions, public.credit_purchases,
  public.payment_reversals, public.user_roles to service_role;
grant usage on sequence public.stripe_tickets to service_role;

alter table public.stripe_customers enable row level security;
drop policy if exists "users see their own customer" on public.stripe_customers;
create policy "users see their own customer" on public.stripe_customers
  for select to authenticated using (user_id = (select auth.uid()));

alter table public.subscriptions enable row level security;
drop policy if exists "users see their own subscriptions" on public.subscriptions;
create policy "users see their own subscriptions" on public.subscriptions
  for select to authenticated using (user_id = (select auth.uid()));

alter table public.user_roles enable row level security;
drop policy if exists "users see their own roles" on public.user_roles;
create policy "users see their own roles" on public.user_roles
  for select to authenticated using (user_id = (select auth.uid()));

-- Nobody but the server reads these: no policies.
alter table public.stripe_events enable row level security;
alter table public.credit_purchases enable row level security;
alter table public.payment_reversals enable row level security;

-- Whether a subscription gives its plan now. A cancelled one does until it ends; one that is overdue does for the plan's grace;
-- one whose renewal nobody told us of does so, too.
create or replace function public.is_live(s public.subscriptions) returns boolean
  language sql stable security invoker set search_path = ''
as $$
  select coalesce((
    select (s.cancel_at is null or s.cancel_at > now()) and case s.status
             when 'active' then s.current_period_end + grace > now()
             when 'trialing' then s.current_period_end + grace > now()
             when 'past_due' then s.past_due_since + grace > now()
             else false end
      from public.plans p, make_interval(days => p.past_due_grace_days) grace
     where p.id = s.plan_id), false)
$$;

-- The subscription that counts for a user: a live one, else the newest; of several live ones the one that gives most.
create or replace function public.subscription_of(p_user_id uuid) returns public.subscriptions
  language sql stable security invoker set search_path = ''
as $$
  select s
    from public.subscriptions s left join public.plans p on p.id = s.plan_id
   where s.user_id = p_user_id
   order by public.is_live(s) desc, case when public.is_live(s) then p.credits end desc, s.created desc, s.id
   limit 1
$$;

-- The plan that a user has now.
create or replace function public.plan_of(p_user_id uuid) returns public.plans
  language sql stable security invoker set search_path = ''
as $$
  select p
    from public.users u
    left join lateral public.subscription_of(u.id) s on public.is_live(s)
    join public.plans p on p.id = coalesce(s.plan_id, (select id from public.plans where id = u.plan), 'free')
   where u.id = p_user_id
$$;

-- The caller's own reading uses them, too; row-level security decides what they find.
revoke execute on function public.is_live(public.subscriptions), public.subscription_of(uuid), public.plan_of(uuid) from public, anon;
grant execute on function public.is_live(public.subscriptions), public.subscription_of(uuid), public.plan_of(uuid)
  to authenticated, service_role;
