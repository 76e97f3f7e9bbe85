-- What can be had for money, and what is free. Rows, not code: an operator changes credits, prices and names here
-- (docs/OPERATIONS.md). Amounts are for showing, in the currency's smallest unit; what is charged is Stripe's price.

create table if not exists public.plans (
  id text primary key,
  name text not null,
  credits integer not null check (credits >= 0),
  amount bigint not null default 0 check (amount >= 0),
  currency text not null default 'usd' check (currency ~ '^[a-z]{3}$'),
  interval text not null default 'month' check (interval in ('day', 'week', 'month', 'year')),
  stripe_price_id text unique check (stripe_price_id <> ''),
  earlier_price_ids text[] not null default '{}',
  past_due_grace_days integer not null default 7 check (past_due_grace_days >= 0),
  position integer not null default 0
);
comment on table public.plans is 'Plans: the free one, and those that are subscribed to.';
comment on column public.plans.credits is 'free: given once, at sign-up. Others: given for each billing period that is paid.';
comment on column public.plans.stripe_price_id is 'The price that is sold; without one the plan is not for sale.';
comment on column public.plans.earlier_price_ids is 'Prices that are no longer sold and still paid by those who subscribed then.';
comment on column public.plans.past_due_grace_days is 'How long the plan stays while a payment is overdue.';

create table if not exists public.credit_packs (
  id text primary key,
  name text not null,
  credits integer not null check (credits > 0),
  amount bigint not null check (amount >= 0),
  currency text not null default 'usd' check (currency ~ '^[a-z]{3}$'),
  stripe_price_id text unique check (stripe_price_id <> ''),
  position integer not null default 0
);
comment on table public.credit_packs is 'Credits that are bought once. Without a Stripe price a pack is not for sale.';

insert into public.plans (id, name, credits, amount, position) values
  ('free', 'Free', 4, 0, 0),
  ('pro', 'Pro', 20, 1900, 1)
on conflict (id) do nothing;

insert into public.credit_packs (id, name, credits, amount, position) values
  ('small', '10 credits', 10, 900, 0),
  ('large', '50 credits', 50, 3900, 1)
on conflict (id) do nothing;

revoke all on public.plans, public.credit_packs from anon, authenticated;
grant select on public.plans, public.credit_packs to authenticated;
grant all on public.plans, public.credit_packs to service_role;

alter table public.plans enable row level security;
drop policy if exists "plans are for all who are signed in to see" on public.plans;
create policy "plans are for all who are signed in to see" on public.plans for select to authenticated using (true);

alter table public.credit_packs enable row level security;
drop policy if exists "packs are for all who are signed in to see" on public.credit_packs;
create policy "packs are for all who are signed in to see" on public.credit_packs for select to authenticated using (true);

-- A user's own plan is the one that she has without a subscription: free, but for those whom an operator gave another.
alter table public.users drop constraint if exists users_plan_is_known;
alter table public.users add constraint users_plan_is_known foreign key (plan) references public.plans (id) not valid;
comment on column public.users.plan is 'The plan that she has without a subscription; public.plan_of(id) is the one that counts.';
