-- What the server asks before it sends somebody to Stripe, and what it keeps of that. Only the server may call these.

-- What a checkout page for a plan or a pack is made of; exactly one of the two ids is given.
-- outcome: ok with price_id, credits and customer_id (null: none yet) | no_user | unknown (or not for sale)
-- | already_subscribed with customer_id: she has a subscription that goes on until somebody ends it, paid for or not.
create or replace function public.checkout_context(p_user_id uuid, p_plan_id text, p_pack_id text) returns jsonb
  language plpgsql stable security invoker set search_path = ''
as $$
declare
  goods record;
  subscribed text;
begin
  if not exists (select from public.users where id = p_user_id) then
    return jsonb_build_object('outcome', 'no_user');
  end if;

  select stripe_price_id, credits into goods from public.plans where id = p_plan_id and stripe_price_id is not null
  union all
  select stripe_price_id, credits from public.credit_packs where id = p_pack_id and stripe_price_id is not null;
  if not found then
    return jsonb_build_object('outcome', 'unknown');
  end if;

  if p_plan_id is not null then
    select customer_id into subscribed from public.subscriptions
     where user_id = p_user_id and status not in ('incomplete', 'incomplete_expired', 'canceled')
     order by created desc limit 1;
    if found then
      return jsonb_build_object('outcome', 'already_subscribed', 'customer_id', subscribed);
    end if;
  end if;

  return jsonb_build_object('outcome', 'ok', 'price_id', goods.stripe_price_id, 'credits', goods.credits,
    'customer_id', (select customer_id from public.stripe_customers where user_id = p_user_id));
end
$$;

-- Keeps who a user is at Stripe; the first one that is kept wins. p_gone: one that no longer exists there, to be replaced.
-- outcome: kept with the customer_id that counts | no_user.
create or replace function public.keep_stripe_customer(p_user_id uuid, p_customer_id text, p_gone text) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  kept text;
begin
  -- Whichever key collides: naming one of the two would make the other an error between requests at the same time.
  insert into public.stripe_customers (user_id, customer_id)
  select id, p_customer_id from public.users where id = p_user_id
  on conflict do nothing;
  update public.stripe_customers set customer_id = p_customer_id where user_id = p_user_id and customer_id = p_gone;

  select customer_id into kept from public.stripe_customers where user_id = p_user_id;
  if not found then
    return jsonb_build_object('outcome', 'no_user');
  end if;
  return jsonb_build_object('outcome', 'kept', 'customer_id', kept);
end
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.checkout_context(uuid, text, text)',
    'public.keep_stripe_customer(uuid, text, text)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
