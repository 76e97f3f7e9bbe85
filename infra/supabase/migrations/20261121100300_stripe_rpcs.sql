-- What Stripe says takes effect here, once (invariant I6), whatever it sends, how often and in what order. The server reads an
-- event into a change (shared/billing); one call stores the event and applies the change, in one transaction.
--
-- Two kinds of change. A purchase is a fact: it happened, its key is its invoice or payment, and it is counted once. Everything
-- else is state: it was fetched from Stripe after a ticket was drawn, and replaces what was fetched by an earlier ticket. Whoever
-- applied a later ticket fetched after any change whose event drew an earlier one, so the newest truth stays.
--
-- JSON comes as text: @supabase/lite hands an object to a jsonb parameter as a string.
--
-- Locks are taken in one order: the event, the purchase's key, the user's balance.

-- Stores the event, or counts that it came again. outcome: begun with a ticket | duplicate.
-- p_again: also one that took effect before.
create or replace function public.begin_stripe_event(p_event text, p_again boolean default false) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  raw jsonb := p_event::jsonb;
  event public.stripe_events;
begin
  insert into public.stripe_events as old (id, type, created, api_version, payload)
  values (raw->>'id', raw->>'type', to_timestamp((raw->>'created')::bigint), raw->>'api_version', raw)
  on conflict (id) do update set deliveries = old.deliveries + 1
  returning * into event;
  if event.applied_at is not null and not p_again then
    return jsonb_build_object('outcome', 'duplicate');
  end if;
  return jsonb_build_object('outcome', 'begun', 'ticket', nextval('public.stripe_tickets'));
end
$$;

-- A ticket for what no event asks for: the operator's comparison with Stripe.
create or replace function public.stripe_ticket() returns bigint
  language sql volatile security invoker set search_path = ''
as $$
  select nextval('public.stripe_tickets')
$$;

-- Takes credits back, or gives them back, until what is clawed back is in proportion to the money that is gone.
-- Answers by how much the balance moved.
create or replace function public.claw_back_credits(p_purchase_key text) returns integer
  language plpgsql security invoker set search_path = ''
as $$
declare
  purchase public.credit_purchases;
  gone numeric;
  due integer;
begin
  -- A lock on the key, because purchase and reversal may be on their way in at the same time, each unseen by the other.
  perform pg_advisory_xact_lock(hashtextextended(p_purchase_key, 0));
  select * into purchase from public.credit_purchases where key = p_purchase_key for update;
  if not found then
    return 0;
  end if;
  select coalesce(sum(amount), 0) into gone from public.payment_reversals where purchase_key = p_purchase_key;
  due := case
    when purchase.amount_paid = 0 then 0
    else floor(purchase.credits * least(gone, purchase.amount_paid) / purchase.amount_paid) end;
  if due = purchase.clawed_back then
    return 0;
  end if;

  update public.credit_purchases set clawed_back = due, settlements = settlements + 1 where key = p_purchase_key;
  -- First the balance's lock, then the line, which draws its id: lines are in the order in which they count.
  perform from public.credit_balances where user_id = purchase.user_id for update;
  if found then
    insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
    values (purchase.user_id, 'adjustment', purchase.clawed_back - due,
      'clawback:' || p_purchase_key || ':' || purchase.settlements + 1,
      case when due > purchase.clawed_back then 'Taken back, because the payment was returned' else 'Given back, because the payment stands' end);
  end if;
  return purchase.clawed_back - due;
end
$$;

-- Whose a Stripe customer is. Metadata is ours, written when she went to pay; it stands in where the mapping is missing, and
-- where the two differ nobody is meant. outcome: known with user_id | unmatched | mismatched.
create or replace function public.user_of_customer(p_customer_id text, p_user_id uuid) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  known uuid;
begin
  select user_id into known from public.stripe_customers where customer_id = p_customer_id;
  if known is null and p_user_id is not null and exists (select from public.users where id = p_user_id) then
    insert into public.stripe_customers (user_id, customer_id) select p_user_id, p_customer_id where p_customer_id is not null
    on conflict do nothing;
    known := p_user_id;
  end if;
  if known is null then
    return jsonb_build_object('outcome', 'unmatched');
  elsif known <> p_user_id then
    return jsonb_build_object('outcome', 'mismatched');
  end if;
  return jsonb_build_object('outcome', 'known', 'user_id', known);
end
$$;

-- Counts a payment for credits: {key, customer_id, user_id, lines: [{price, quantity}] or pack_id and credits, amount_paid,
-- currency, created}. outcome: granted | duplicate | ignored (not our goods, or from before her balance was brought forward)
-- | unmatched (nobody that we know, or goods of ours that no row knows any more) | mismatched.
create or replace function public.apply_purchase(p jsonb) returns text
  language plpgsql security invoker set search_path = ''
as $$
declare
  who jsonb;
  buyer uuid;
  bought record;
  brought_forward timestamptz;
  first_plan boolean;
  free integer;
begin
  if p ? 'pack_id' then
    select null as plan_id, id as pack_id, name, (p->>'credits')::integer as credits into bought
      from public.credit_packs where id = p->>'pack_id';
  else
    select min(plan.id) as plan_id, null as pack_id, string_agg(distinct plan.name, ', ') as name,
           sum(plan.credits * line.quantity)::integer as credits
      into bought
      from jsonb_to_recordset(p->'lines') as line (price text, quantity integer)
      join public.plans plan on line.price = plan.stripe_price_id or line.price = any (plan.earlier_price_ids);
  end if;
  if coalesce(bought.credits, 0) <= 0 then
    -- Our own metadata on it: a price or pack was taken out of its row while somebody still pays for it.
    return case when p->>'user_id' is not null then 'unmatched' else 'ignored' end;
  end if;

  perform pg_advisory_xact_lock(hashtextextended(p->>'key', 0));
  if exists (select from public.credit_purchases where key = p->>'key') then
    return 'duplicate';
  end if;
  who := public.user_of_customer(p->>'customer_id', (p->>'user_id')::uuid);
  if who->>'outcome' <> 'known' then
    return who->>'outcome';
  end if;
  buyer := (who->>'user_id')::uuid;
  select brought_forward_at into brought_forward from public.credit_balances where user_id = buyer for update;
  if not found then
    return 'unmatched'; -- she deleted her account; the money came all the same
  elsif (p->>'created')::timestamptz < brought_forward then
    return 'ignored';
  end if;

  first_plan := bought.plan_id is not null
    and not exists (select from public.credit_purchases where user_id = buyer and plan_id is not null);
  insert into public.credit_purchases (key, user_id, plan_id, pack_id, credits, amount_paid, currency)
  values (p->>'key', buyer, bought.plan_id, bought.pack_id, bought.credits, (p->>'amount_paid')::bigint, p->>'currency');
  insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
  values (buyer, 'purchase', bought.credits, p->>'key', bought.name);

  -- A plan's credits replace what is left of the free ones, which were there to try. Free ones are spent first.
  if first_plan then
    select least(bought.credits, sum(amount)) into free from public.credits_ledger
     where user_id = buyer and (tx_type in ('spend', 'refund') or business_key = 'welcome:' || buyer);
    if free > 0 and exists (select from public.credits_ledger where business_key = 'welcome:' || buyer) then
      insert into public.credits_ledger (user_id, tx_type, amount, business_key, description)
      values (buyer, 'adjustment', -free, 'welcome_replaced:' || buyer, 'Free credits, replaced by those of ' || bought.name);
    end if;
  end if;

  perform public.claw_back_credits(p->>'key');
  return 'granted';
end
$$;

-- Stores a subscription as it was fetched: {id, customer_id, user_id, status, items: [{price, current_period_start,
-- current_period_end}], cancel_at, ended_at, created}, or {id, gone: true} when Stripe no longer has it.
-- outcome: stored | stale | ignored | unmatched | mismatched.
create or replace function public.apply_subscription(p jsonb, p_ticket bigint) returns text
  language plpgsql security invoker set search_path = ''
as $$
declare
  who jsonb;
  item record;
begin
  if p ? 'gone' then
    update public.subscriptions set status = 'canceled', ended_at = coalesce(ended_at, now()), past_due_since = null, ticket = p_ticket
     where id = p->>'id' and ticket < p_ticket;
    return case when found then 'stored' else 'ignored' end;
  end if;

  -- The item that is a plan of ours; another one's period will do where none is.
  select plan.id as plan_id, i.current_period_start, i.current_period_end into item
    from jsonb_to_recordset(p->'items') as i (price text, current_period_start timestamptz, current_period_end timestamptz)
    left join public.plans plan on i.price = plan.stripe_price_id or i.price = any (plan.earlier_price_ids)
   order by plan.credits desc nulls last limit 1;
  who := public.user_of_customer(p->>'customer_id', (p->>'user_id')::uuid);
  if who->>'outcome' <> 'known' then
    return case when item.plan_id is null then 'ignored' else who->>'outcome' end;
  end if;

  insert into public.subscriptions as old (id, user_id, customer_id, plan_id, status, current_period_start, current_period_end,
    cancel_at, ended_at, past_due_since, created, ticket)
  values (p->>'id', (who->>'user_id')::uuid, p->>'customer_id', item.plan_id, p->>'status', item.current_period_start,
    item.current_period_end, (p->>'cancel_at')::timestamptz, (p->>'ended_at')::timestamptz,
    case when p->>'status' = 'past_due' then now() end, (p->>'created')::timestamptz, p_ticket)
  on conflict (id) do update
     set plan_id = excluded.plan_id, status = excluded.status, current_period_start = excluded.current_period_start,
         current_period_end = excluded.current_period_end, cancel_at = excluded.cancel_at, ended_at = excluded.ended_at,
         past_due_since = case when excluded.status = 'past_due' then coalesce(old.past_due_since, now()) end,
         ticket = excluded.ticket
   where old.ticket < excluded.ticket;
  return case when found then 'stored' else 'stale' end;
end
$$;

-- Stores how much of a payment is gone: {id, purchase_key, amount}. outcome: stored | stale.
create or replace function public.apply_reversal(p jsonb, p_ticket bigint) returns text
  language plpgsql security invoker set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(p->>'purchase_key', 0));
  insert into public.payment_reversals as old (id, purchase_key, amount, ticket)
  values (p->>'id', p->>'purchase_key', (p->>'amount')::bigint, p_ticket)
  on conflict (id) do update set amount = excluded.amount, ticket = excluded.ticket
   where old.ticket < excluded.ticket;
  if not found then
    return 'stale';
  end if;
  perform public.claw_back_credits(p->>'purchase_key');
  return 'stored';
end
$$;

-- Applies one change: {purchase: …}, {subscription: …}, {reversal: …} or {nothing: {}}, as the functions above say.
create or replace function public.apply_stripe_change(p_change text, p_ticket bigint default null) returns text
  language sql volatile security invoker set search_path = ''
as $$
  select case
    when change ? 'purchase' then public.apply_purchase(change->'purchase')
    when change ? 'subscription' then public.apply_subscription(change->'subscription', p_ticket)
    when change ? 'reversal' then public.apply_reversal(change->'reversal', p_ticket)
    else 'noted' end
    from (select p_change::jsonb) as given (change)
$$;

-- Stores the event and applies its change, unless it took effect before. outcome: those of apply_stripe_change | duplicate.
-- One that nobody could be found for stays unapplied, so that it can be applied when the cause is mended.
create or replace function public.apply_stripe_event(
  p_event text, p_change text, p_ticket bigint default null, p_again boolean default false
) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  raw jsonb := p_event::jsonb;
  event public.stripe_events;
  result text;
begin
  insert into public.stripe_events as old (id, type, created, api_version, payload)
  values (raw->>'id', raw->>'type', to_timestamp((raw->>'created')::bigint), raw->>'api_version', raw)
  -- What has a ticket was counted when it drew it.
  on conflict (id) do update set deliveries = old.deliveries + case when p_ticket is null then 1 else 0 end
  returning * into event;
  if event.applied_at is not null and not p_again then
    return jsonb_build_object('outcome', 'duplicate');
  end if;

  result := public.apply_stripe_change(p_change, p_ticket);
  update public.stripe_events
     set outcome = result,
         applied_at = case when result in ('unmatched', 'mismatched') then null else coalesce(applied_at, now()) end
   where id = event.id;
  return jsonb_build_object('outcome', result);
end
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.begin_stripe_event(text, boolean)',
    'public.stripe_ticket()',
    'public.claw_back_credits(text)',
    'public.user_of_customer(text, uuid)',
    'public.apply_purchase(jsonb)',
    'public.apply_subscription(jsonb, bigint)',
    'public.apply_reversal(jsonb, bigint)',
    'public.apply_stripe_change(text, bigint)',
    'public.apply_stripe_event(text, text, bigint, boolean)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
