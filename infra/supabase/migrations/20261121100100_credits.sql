-- Credits. The ledger is the truth and only grows; a balance is what its lines add up to, kept in the same transaction by
-- the ledger's own triggers, so that no caller can move one without the other (invariant I5).

create table if not exists public.credit_balances (
  user_id uuid primary key references public.users (id) on delete cascade,
  balance integer not null default 0,
  brought_forward_at timestamptz,
  updated_at timestamptz not null default now()
);
comment on column public.credit_balances.brought_forward_at is 'When an earlier balance became the first lines: what was paid before is in it.';
comment on table public.credit_balances is 'What each user can spend: the sum of her lines in credits_ledger. Below zero only after money was returned.';

-- No foreign key: bookkeeping outlives the account.
create table if not exists public.credits_ledger (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  tx_type text not null,
  amount integer not null,
  balance_after integer not null,
  business_key text not null,
  description text not null,
  created_at timestamptz not null default now(),
  constraint credits_ledger_business_key_key unique (business_key),
  constraint credits_ledger_signs check (
    case tx_type when 'spend' then amount < 0 when 'adjustment' then amount <> 0 else amount > 0 end),
  constraint credits_ledger_types check (tx_type in ('purchase', 'spend', 'refund', 'bonus', 'adjustment')),
  -- What is earned may leave a balance below zero; of what is taken, only an adjustment may.
  constraint credits_ledger_floor check (balance_after >= 0 or amount > 0 or tx_type = 'adjustment')
);
create index if not exists credits_ledger_user_id_id_idx on public.credits_ledger (user_id, id desc);
comment on table public.credits_ledger is 'Every movement of credits, append-only.';
comment on column public.credits_ledger.tx_type is 'purchase, spend, refund (of a spend), bonus, or adjustment (money returned, corrections).';
comment on column public.credits_ledger.business_key is 'What the line is for (invoice:in_1, welcome:<user>): the same key twice is one line.';
comment on column public.credits_ledger.balance_after is 'Written by the trigger, whatever is given.';
comment on column public.credits_ledger.description is 'What the user reads.';

-- Definer, because not even the service role may write a balance; the empty search_path keeps it honest.
create or replace function public.count_ledger_line() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  select balance + new.amount into new.balance_after from public.credit_balances where user_id = new.user_id for update;
  if not found then
    raise exception 'user % has no balance', new.user_id using errcode = 'foreign_key_violation';
  end if;
  return new;
end
$$;

-- After, because a line that meets its business key again is never written, and must not count.
create or replace function public.keep_balance() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  update public.credit_balances set balance = new.balance_after, updated_at = now()
   where user_id = new.user_id and balance = new.balance_after - new.amount;
  if not found then
    raise exception 'one statement may write one line for a user';
  end if;
  return new;
end
$$;

create or replace function public.ledger_only_grows() returns trigger
  language plpgsql security invoker set search_path = ''
as $$
begin
  raise exception 'credits_ledger is append-only: add a line that corrects it' using errcode = 'insufficient_privilege';
end
$$;

create or replace trigger count_ledger_line before insert on public.credits_ledger
  for each row execute function public.count_ledger_line();
create or replace trigger keep_balance after insert on public.credits_ledger
  for each row execute function public.keep_balance();
create or replace trigger ledger_only_grows before update or delete on public.credits_ledger
  for each row execute function public.ledger_only_grows();
create or replace trigger ledger_is_not_emptied before truncate on public.credits_ledger
  for each statement execute function public.ledger_only_grows();

-- A new user's balance and free credits. Who comes back under an old id finds what her lines add up to.
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
  on conflict (business_key) do nothing;
  return new;
end
$$;
create or replace trigger on_user_created after insert on public.users
  for each row execute function public.welcome_user();

revoke execute on function public.count_ledger_line(), public.keep_balance(), public.ledger_only_grows(), public.welcome_user()
  from public, anon, authenticated;

-- Those who were here before: what they had becomes their first lines, and the column goes. Of a free account's credits the
-- free plan's number counts as its free credits.
do $$
declare
  old record;
begin
  for old in
    select u.id, u.credits, case when u.plan = 'free' then least(greatest(u.credits, 0), p.credits) else 0 end as free
      from public.users u, public.plans p
     where p.id = 'free' and not exists (select from public.credit_balances b where b.user_id = u.id)
  loop
    insert into public.credit_balances (user_id, brought_forward_at) values (old.id, now());
    if old.free > 0 then
      insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
      values (old.id, 'bonus', old.free, 'welcome:' || old.id, 'Free credits to start with');
    end if;
    if old.credits <> old.free then
      insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
      values (old.id, 'adjustment', old.credits - old.free, 'opening:' || old.id, 'Balance brought forward');
    end if;
  end loop;
end
$$;

alter table public.users drop column if exists credits;

revoke all on public.credit_balances, public.credits_ledger from anon, authenticated, service_role;
grant select (user_id, balance) on public.credit_balances to authenticated;
grant select (id, user_id, tx_type, amount, balance_after, description, created_at) on public.credits_ledger to authenticated;
-- A row can be locked only by who may update some column of it.
grant select, update (updated_at) on public.credit_balances to service_role;
grant select, insert on public.credits_ledger to service_role;

alter table public.credit_balances enable row level security;
drop policy if exists "users see their own balance" on public.credit_balances;
create policy "users see their own balance" on public.credit_balances
  for select to authenticated using (user_id = (select auth.uid()));

alter table public.credits_ledger enable row level security;
drop policy if exists "users see their own lines" on public.credits_ledger;
create policy "users see their own lines" on public.credits_ledger
  for select to authenticated using (user_id = (select auth.uid()));

-- Writes one line, once. outcome: done | duplicate | conflict | insufficient | no_user, with the balance where there is one.
-- conflict: the key was used for something else. Only an adjustment may take more than there is.
create or replace function public.add_ledger_line(
  p_user_id uuid, p_tx_type text, p_amount integer, p_business_key text, p_description text
) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  have integer;
  line public.credits_ledger;
begin
  select balance into have from public.credit_balances where user_id = p_user_id for update;
  if not found then
    return jsonb_build_object('outcome', 'no_user');
  end if;
  select * into line from public.credits_ledger where business_key = p_business_key;
  if found then
    return jsonb_build_object('balance', have, 'outcome', case
      when (line.user_id, line.tx_type, line.amount) = (p_user_id, p_tx_type, p_amount) then 'duplicate' else 'conflict' end);
  end if;
  if p_tx_type = 'spend' and have + p_amount < 0 then
    return jsonb_build_object('outcome', 'insufficient', 'balance', have);
  end if;
  insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
  values (p_user_id, p_tx_type, p_amount, p_business_key, p_description);
  return jsonb_build_object('outcome', 'done', 'balance', have + p_amount);
end
$$;

-- Gives credits for no money: a bonus. outcome: done | duplicate | conflict | no_user.
create or replace function public.grant_credits(p_user_id uuid, p_amount integer, p_business_key text, p_description text)
  returns jsonb language sql security invoker set search_path = ''
as $$
  select public.add_ledger_line(p_user_id, 'bonus', p_amount, p_business_key, p_description)
$$;

-- Takes credits for work. outcome: done | duplicate | conflict | insufficient | no_user.
create or replace function public.spend_credits(p_user_id uuid, p_amount integer, p_business_key text, p_description text)
  returns jsonb language sql security invoker set search_path = ''
as $$
  select public.add_ledger_line(p_user_id, 'spend', -p_amount, p_business_key, p_description)
$$;

-- Gives back what was spent under a key, whole and once. outcome: done | duplicate | not_spent | no_user.
create or replace function public.refund_credits(p_business_key text, p_description text) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  spent public.credits_ledger;
begin
  select * into spent from public.credits_ledger where business_key = p_business_key and tx_type = 'spend';
  if not found then
    return jsonb_build_object('outcome', 'not_spent');
  end if;
  return public.add_ledger_line(spent.user_id, 'refund', -spent.amount, 'refund:' || p_business_key, p_description);
end
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.add_ledger_line(uuid, text, integer, text, text)',
    'public.grant_credits(uuid, integer, text, text)',
    'public.spend_credits(uuid, integer, text, text)',
    'public.refund_credits(text, text)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
