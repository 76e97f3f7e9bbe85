-- The moves of a set-up, each one atomic and one round trip. They return what came of it as a value: an expected outcome
-- is no error. Only the server may call them.

-- What a caller of these functions gets to know about an influencer.
create or replace function public.influencer_summary(i public.influencers) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object(
    'id', i.id, 'user_id', i.user_id, 'name', i.name, 'bio', i.bio, 'vibe', i.vibe,
    'state', i.state, 'attempt', i.attempt, 'requested_at', i.requested_at, 'deadline_at', i.deadline_at,
    'failure_code', i.failure_code, 'failure_message', i.failure_message,
    'initial_image_url', i.initial_image_url, 'created_at', i.created_at)
$$;

-- Starts a user's set-up. outcome: started | exists | no_user.
-- A failed or timed-out one is started again under the same id, with the next attempt number. The same request again (its
-- answer was lost) has started it, too.
create or replace function public.request_influencer(
  p_user_id uuid, p_request_id uuid, p_name text, p_bio text, p_vibe text, p_deadline_seconds integer
) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  her public.influencers;
begin
  insert into public.influencers as old (user_id, request_id, name, bio, vibe, state, requested_at, deadline_at)
  select id, p_request_id, p_name, p_bio, p_vibe, 'requested', now(), now() + make_interval(secs => p_deadline_seconds)
    from public.users where id = p_user_id
  on conflict (user_id) do update
     set request_id = excluded.request_id, name = excluded.name, bio = excluded.bio, vibe = excluded.vibe, state = 'requested',
         requested_at = excluded.requested_at, deadline_at = excluded.deadline_at, attempt = old.attempt + 1,
         base_prompt = null, seed = null, callback_digest = null, failure_code = null, failure_message = null
   where old.state = 'failed' or (old.state <> 'ready' and old.deadline_at < now())
  returning * into her;
  if found then
    return jsonb_build_object('outcome', 'started', 'influencer', public.influencer_summary(her));
  end if;

  select * into her from public.influencers where user_id = p_user_id;
  if her.request_id = p_request_id and her.state = 'requested' then
    return jsonb_build_object('outcome', 'started', 'influencer', public.influencer_summary(her));
  elsif found then
    return jsonb_build_object('outcome', 'exists', 'influencer', public.influencer_summary(her));
  end if;
  return jsonb_build_object('outcome', 'no_user');
end
$$;

-- Records what the workflow made. outcome: recorded | duplicate | locked | superseded | conflict | not_found.
-- p_attempt null means the first one, so that a late answer without a number never meets a later start. A late answer to a start that we had given up as unreachable is still welcome.
create or replace function public.record_callback(
  p_influencer_id uuid, p_attempt integer, p_base_prompt text, p_seed bigint, p_image_url text
) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  her public.influencers;
  digest text := encode(sha256(convert_to(jsonb_build_array(p_base_prompt, p_seed, p_image_url)::text, 'UTF8')), 'hex');
begin
  select * into her from public.influencers where id = p_influencer_id for update;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  end if;
  if her.attempt <> coalesce(p_attempt, 1) then
    return jsonb_build_object('outcome', 'superseded');
  end if;
  if her.callback_digest = digest then
    return jsonb_build_object('outcome', 'duplicate', 'influencer', public.influencer_summary(her));
  end if;
  if her.is_locked then
    return jsonb_build_object('outcome', 'locked');
  end if;
  if her.state <> 'requested' and her.failure_code is distinct from 'workflow_unavailable' then
    return jsonb_build_object('outcome', 'conflict');
  end if;

  update public.influencers
     set state = 'image_pending', base_prompt = p_base_prompt, seed = p_seed, callback_digest = digest,
         failure_code = null, failure_message = null,
         deadline_at = greatest(deadline_at, now() + interval '15 minutes') -- every try of the image queue fits in
   where id = p_influencer_id
  returning * into her;
  return jsonb_build_object('outcome', 'recorded', 'influencer', public.influencer_summary(her));
end
$$;

-- Records that a step failed, if she is still at that step. outcome: failed | duplicate | locked | superseded | conflict | not_found.
create or replace function public.fail_influencer(
  p_influencer_id uuid, p_attempt integer, p_at_state text, p_code text, p_message text
) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  her public.influencers;
begin
  select * into her from public.influencers where id = p_influencer_id for update;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  end if;
  if her.attempt <> coalesce(p_attempt, 1) then
    return jsonb_build_object('outcome', 'superseded');
  end if;
  if her.is_locked then
    return jsonb_build_object('outcome', 'locked');
  end if;
  if her.failure_code = p_code and her.failure_message = p_message then
    return jsonb_build_object('outcome', 'duplicate');
  end if;
  if her.state <> p_at_state and her.failure_code is distinct from 'workflow_unavailable' then
    return jsonb_build_object('outcome', 'conflict');
  end if;

  update public.influencers
     set state = 'failed', failure_code = p_code, failure_message = p_message
   where id = p_influencer_id;
  return jsonb_build_object('outcome', 'failed');
end
$$;

-- Finishes the set-up: the image is in the bucket. outcome: locked | duplicate | superseded | conflict | not_found.
-- A message that was given up (image_unavailable) and later redriven from the dead letters may still finish it.
create or replace function public.lock_influencer(p_influencer_id uuid, p_attempt integer, p_image_url text) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  her public.influencers;
begin
  select * into her from public.influencers where id = p_influencer_id for update;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  end if;
  if her.attempt <> p_attempt then
    return jsonb_build_object('outcome', 'superseded');
  end if;
  if her.is_locked then
    return jsonb_build_object('outcome', 'duplicate');
  end if;
  if her.state <> 'image_pending' and her.failure_code is distinct from 'image_unavailable' then
    return jsonb_build_object('outcome', 'conflict');
  end if;

  update public.influencers
     set state = 'ready', is_locked = true, initial_image_url = p_image_url, created_at = now(),
         failure_code = null, failure_message = null
   where id = p_influencer_id;
  return jsonb_build_object('outcome', 'locked');
end
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.influencer_summary(public.influencers)',
    'public.request_influencer(uuid, uuid, text, text, text, integer)',
    'public.record_callback(uuid, integer, text, bigint, text)',
    'public.fail_influencer(uuid, integer, text, text, text)',
    'public.lock_influencer(uuid, integer, text)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
