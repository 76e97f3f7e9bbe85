-- What the operator's tool asks (operate/, docs/OPERATIONS.md): what changes from Stripe would come to, and whether the books add
-- up. Nothing here keeps anything. JSON comes as text, as in the RPCs for Stripe's events.

-- What a change is about, as it stands: of a subscription its row; else how much of the payment is gone (returned), whose customer
-- paid (user_id), whether what was bought is nothing that we know (strange), and where the purchase is counted {user_id, credits,
-- clawed_back, balance}. What every fetch moves is left out.
create or replace function public.books_of_stripe_change(p_change jsonb) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select case when p_change ? 'subscription' then (
      select to_jsonb(s) - 'ticket' from public.subscriptions s where s.id = p_change->'subscription'->>'id')
    else jsonb_strip_nulls(jsonb_build_object(
        'returned', (select coalesce(sum(amount), 0) from public.payment_reversals where purchase_key = key),
        'user_id', (select user_id from public.stripe_customers where customer_id = bought->>'customer_id'),
        'strange', not exists (select from public.credit_packs where id = bought->>'pack_id')
          and not exists (
            select from jsonb_to_recordset(bought->'lines') as line (price text)
              join public.plans plan on line.price = plan.stripe_price_id or line.price = any (plan.earlier_price_ids))))
      || coalesce((
        select jsonb_build_object('user_id', p.user_id, 'credits', p.credits, 'clawed_back', p.clawed_back, 'balance', b.balance)
          from public.credit_purchases p left join public.credit_balances b on b.user_id = p.user_id
         where p.key = given.key), '{}')
    end
    from (select p_change->'purchase' as bought, coalesce(p_change->'purchase'->>'key', p_change->'reversal'->>'purchase_key') as key) as given
$$;

-- What public.apply_stripe_change would do with each of these changes, found out by doing it and taking it back. Answers in their
-- order [{outcome, before, after}]: what each is about, before and after.
create or replace function public.preview_stripe_changes(p_changes text) returns jsonb
  language plpgsql volatile security invoker set search_path = ''
as $$
declare
  change jsonb;
  result text;
  before jsonb;
  after jsonb;
  previews jsonb[] := '{}';
begin
  for change in select value from jsonb_array_elements(p_changes::jsonb) loop
    before := public.books_of_stripe_change(change);
    begin
      result := public.apply_stripe_change(change::text, 9223372036854775807);
      after := public.books_of_stripe_change(change);
      raise exception using errcode = 'SW001', message = 'taken back';
    exception when sqlstate 'SW001' then
      -- Variables keep their values; rows and locks do not.
      previews := previews || jsonb_build_object('outcome', result, 'before', before, 'after', after);
    end;
  end loop;
  return to_jsonb(previews);
end
$$;

-- Which of these Stripe customers, [{customer_id, user_id}] by our own metadata, are not known as theirs: those of a user who has no
-- customer here, and those that are somebody else's here (known_as).
create or replace function public.unknown_stripe_customers(p_customers text) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('customer_id', c.customer_id, 'user_id', c.user_id, 'known_as', known.user_id)), '[]')
    from jsonb_to_recordset(p_customers::jsonb) as c (customer_id text, user_id uuid)
    left join public.stripe_customers known on known.customer_id = c.customer_id
   where known.user_id <> c.user_id
      or (known.user_id is null
          and exists (select from public.users where id = c.user_id)
          and not exists (select from public.stripe_customers where user_id = c.user_id))
$$;

-- Users who pay for a plan more than once: [{user_id, subscriptions}], a thousand at most.
create or replace function public.users_subscribed_twice(p_user_id uuid default null) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('user_id', user_id, 'subscriptions', ids)), '[]')
    from (select user_id, array_agg(id order by created, id) as ids
            from public.subscriptions
           where plan_id is not null and status not in ('incomplete', 'incomplete_expired', 'canceled')
             and (p_user_id is null or user_id = p_user_id)
           group by user_id
          having count(*) > 1
           order by user_id
           limit 1000) twice
$$;

-- Looks at a page of balances, those after p_after: {last, accounts}, where `last` is null at the end and `accounts` are those
-- whose balance is not what their ledger adds up to (invariant I5), [{user_id, balance, total}].
create or replace function public.unbalanced_accounts(p_after uuid default null, p_user_id uuid default null) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  with page as (
    select user_id, balance, (select coalesce(sum(amount), 0) from public.credits_ledger l where l.user_id = b.user_id) as total
      from public.credit_balances b
     where (p_after is null or user_id > p_after) and (p_user_id is null or user_id = p_user_id)
     order by user_id
     limit 500)
  select jsonb_build_object(
    'last', (select user_id from page order by user_id desc limit 1),
    'accounts', (select coalesce(jsonb_agg(to_jsonb(page)), '[]') from page where balance <> total))
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.books_of_stripe_change(jsonb)',
    'public.preview_stripe_changes(text)',
    'public.unknown_stripe_customers(text)',
    'public.users_subscribed_twice(uuid)',
    'public.unbalanced_accounts(uuid, uuid)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
