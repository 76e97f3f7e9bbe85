-- What a user sees of herself, in one read as herself: row-level security decides what is found. Null when that is nothing.
create or replace function public.dashboard(p_user_id uuid) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object(
    'id', u.id, 'plan', plan.id, 'plan_name', plan.name, 'credits', coalesce(b.balance, 0),
    'subscription', case when s.id is not null then jsonb_build_object(
      'plan', s.plan_id, 'plan_name', (select name from public.plans where id = s.plan_id), 'status', s.status,
      'live', public.is_live(s), 'current_period_end', s.current_period_end, 'cancel_at', s.cancel_at, 'ended_at', s.ended_at,
      'grace_until', s.past_due_since + make_interval(days => (select past_due_grace_days from public.plans where id = s.plan_id))) end,
    'can_manage_billing', exists (select from public.stripe_customers where user_id = u.id),
    'offers', jsonb_build_object(
      'plans', (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name, 'credits', credits, 'amount', amount,
                  'currency', currency, 'interval', interval) order by position, id), '[]')
                  from public.plans where stripe_price_id is not null),
      'packs', (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name, 'credits', credits, 'amount', amount,
                  'currency', currency) order by position, id), '[]')
                  from public.credit_packs where stripe_price_id is not null)),
    'influencer', case when i.id is not null then jsonb_build_object(
      'id', i.id, 'name', i.name, 'bio', i.bio, 'vibe', i.vibe, 'state', i.state, 'requested_at', i.requested_at,
      'deadline_at', i.deadline_at, 'failure_code', i.failure_code, 'failure_message', i.failure_message,
      'initial_image_url', i.initial_image_url, 'created_at', i.created_at) end)
    from public.users u
    left join public.credit_balances b on b.user_id = u.id
    left join lateral public.plan_of(u.id) plan on true
    left join lateral public.subscription_of(u.id) s on true
    left join public.influencers i on i.user_id = u.id
   where u.id = p_user_id
$$;
revoke execute on function public.dashboard(uuid) from public, anon, service_role;
grant execute on function public.dashboard(uuid) to authenticated;
