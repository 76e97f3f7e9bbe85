-- The moves of a generation job, each one atomic and one round trip; expected outcomes are values. Only the server may call
-- these. A worker holds a job by a lease: a token of its own that nobody else knows, and a time after which another may take it.

create or replace function public.job_summary(j public.generation_jobs) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object('id', j.id, 'user_id', j.user_id, 'status', j.status, 'cost_credits', j.cost_credits)
$$;

-- Checks, reserves and queues in one go: {prompt, input_asset_id, influencer_id, model_preset, pose_preset, scene_preset,
-- generation_type} as text. outcome: created | repeated (same key, same job), both with job and remaining_credits
-- | insufficient_credits with balance and cost | rate_limited with retry_after | invalid with fields | no_user.
create or replace function public.create_generation_job(p_user_id uuid, p_request_key text, p_wish text) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  wish jsonb := p_wish::jsonb;
  job public.generation_jobs;
  have integer;
  cost integer;
  wait integer;
  unknown jsonb;
begin
  -- From here on this user's requests come one after another.
  select balance into have from public.credit_balances where user_id = p_user_id for update;
  if not found then
    return jsonb_build_object('outcome', 'no_user');
  end if;
  select * into job from public.generation_jobs where user_id = p_user_id and request_key = p_request_key;
  if found then
    return jsonb_build_object('outcome', 'repeated', 'job', public.job_summary(job), 'remaining_credits', have);
  end if;

  select cost_credits into cost from public.generation_types where id = wish->>'generation_type' and offered;
  select jsonb_agg(field) into unknown from (values
    ('input_asset_id', wish->>'input_asset_id' is null or exists (
      select from public.assets where id = (wish->>'input_asset_id')::uuid and user_id = p_user_id and verified_at is not null)),
    ('influencer_id', wish->>'influencer_id' is null or exists (
      select from public.influencers where id = (wish->>'influencer_id')::uuid and user_id = p_user_id and is_locked)),
    ('model_preset', exists (select from public.model_presets where id = wish->>'model_preset' and offered)),
    ('pose_preset', exists (select from public.pose_presets where id = wish->>'pose_preset' and offered)),
    ('scene_preset', exists (select from public.scene_presets where id = wish->>'scene_preset' and offered)),
    ('generation_type', cost is not null)) as named (field, known)
   where not known;
  if unknown is not null then
    return jsonb_build_object('outcome', 'invalid', 'fields', unknown);
  end if;
  wait := public.job_wait(p_user_id);
  if wait > 0 then
    return jsonb_build_object('outcome', 'rate_limited', 'retry_after', wait);
  end if;
  if have < cost then
    return jsonb_build_object('outcome', 'insufficient_credits', 'balance', have, 'cost', cost);
  end if;

  insert into public.generation_jobs (user_id, request_key, status, prompt, input_asset_id, influencer_id, model_preset,
    pose_preset, scene_preset, generation_type, look_at)
  values (p_user_id, p_request_key, 'queued', wish->>'prompt', (wish->>'input_asset_id')::uuid, (wish->>'influencer_id')::uuid,
    wish->>'model_preset', wish->>'pose_preset', wish->>'scene_preset', wish->>'generation_type',
    now() + interval '2 minutes') -- should its message get lost
  returning * into job;
  return jsonb_build_object('outcome', 'created', 'job', public.job_summary(job), 'remaining_credits', have - job.cost_credits);
end
$$;

-- The same wish again, as a new job, for one that failed. Twice is one. outcome: as create_generation_job
-- | not_failed with status | not_found.
create or replace function public.retry_generation_job(p_user_id uuid, p_job_id uuid) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  job public.generation_jobs;
begin
  select * into job from public.generation_jobs where id = p_job_id and user_id = p_user_id;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  end if;
  if job.status <> 'failed' then
    return jsonb_build_object('outcome', 'not_failed', 'status', job.status);
  end if;
  if job.had_input and job.input_asset_id is null then
    return jsonb_build_object('outcome', 'invalid', 'fields', jsonb_build_array('input_asset_id'));
  end if;
  return public.create_generation_job(p_user_id, 'retry:' || p_job_id, jsonb_build_object(
    'prompt', job.prompt, 'input_asset_id', job.input_asset_id, 'influencer_id', job.influencer_id,
    'model_preset', job.model_preset, 'pose_preset', job.pose_preset, 'scene_preset', job.scene_preset,
    'generation_type', job.generation_type)::text);
end
$$;

-- Ends a job that has no picture, and gives its credits back: once, because a job ends once. Answers whether it did.
create or replace function public.end_generation_job(p_job_id uuid, p_status text, p_code text, p_message text) returns boolean
  language plpgsql security invoker set search_path = ''
as $$
begin
  update public.generation_jobs
     set status = p_status, failure_code = p_code, failure_message = p_message, finished_at = now(), lease_token = null,
         lease_until = null, progress = null
   where id = p_job_id and finished_at is null;
  if not found then
    return false;
  end if;
  -- Its worker may have died between the bucket and the database.
  insert into public.orphaned_objects (object_key)
  select 'outputs/' || user_id || '/' || id || '/' from public.generation_jobs where id = p_job_id and started_at is not null
  on conflict do nothing;
  perform public.refund_credits('job_reserve:' || p_job_id,
    case p_status when 'cancelled' then 'Picture cancelled' else 'Picture failed' end);
  return true;
end
$$;

-- Takes a job to work on it. outcome: claimed with all that the work needs | busy (somebody else is at it) | finished | not_found.
-- past_deadline: what is not done by now has to be given up.
create or replace function public.claim_generation_job(p_job_id uuid, p_token uuid, p_lease_seconds integer) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  job public.generation_jobs;
  her public.influencers;
begin
  select * into job from public.generation_jobs where id = p_job_id for update;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  elsif job.finished_at is not null then
    return jsonb_build_object('outcome', 'finished', 'status', job.status);
  elsif job.lease_until > now() and job.lease_token <> p_token then
    update public.generation_jobs set poked = true where id = p_job_id;
    return jsonb_build_object('outcome', 'busy');
  end if;
  if job.status = 'pending' then
    update public.generation_jobs set status = 'queued' where id = p_job_id;
  end if;
  update public.generation_jobs
     set status = 'processing', lease_token = p_token, lease_until = now() + make_interval(secs => p_lease_seconds),
         look_at = now() + make_interval(secs => p_lease_seconds), poked = false, started_at = coalesce(started_at, now()),
         submitting_since = case when prediction_id is null then coalesce(submitting_since, now()) end
   where id = p_job_id;
  select * into her from public.influencers where id = job.influencer_id;
  return jsonb_build_object('outcome', 'claimed', 'job', jsonb_build_object(
    'id', job.id, 'user_id', job.user_id, 'provider', job.provider, 'model', job.model, 'prompt', job.prompt,
    'preset_prompts', (select jsonb_agg(prompt) from (
       select prompt from public.model_presets where id = job.model_preset
       union all select prompt from public.pose_presets where id = job.pose_preset
       union all select prompt from public.scene_presets where id = job.scene_preset) as presets),
    'base_prompt', her.base_prompt, 'base_seed', her.seed, 'base_image_url', her.initial_image_url,
    'input_asset_id', job.input_asset_id, 'prediction_id', job.prediction_id, 'predictions', job.predictions,
    -- An earlier worker may have asked the provider and died before it could say so.
    'submitted_before', case when job.prediction_id is null then job.submitting_since end,
    'past_deadline', job.deadline_at < now()));
end
$$;

-- Notes which prediction works on a job, and lets go of it: its webhook or the sweeper comes back to it.
-- outcome: noted, poked (look again at once) | lost (another worker has it, or it is over).
create or replace function public.note_prediction(p_job_id uuid, p_token uuid, p_prediction_id text, p_look_seconds integer) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  was_poked boolean;
begin
  select poked into was_poked from public.generation_jobs
   where id = p_job_id and lease_token = p_token and finished_at is null for update;
  if not found then
    return jsonb_build_object('outcome', 'lost');
  end if;
  update public.generation_jobs
     set prediction_id = p_prediction_id, predictions = predictions + 1, submitting_since = null, lease_token = null, lease_until = null, poked = false,
         look_at = now() + make_interval(secs => p_look_seconds)
   where id = p_job_id;
  return jsonb_build_object('outcome', case when was_poked then 'poked' else 'noted' end);
end
$$;

-- Lets go of a job that is still being made. p_again: what was asked for came to nothing or never arrived, and the next worker
-- asks afresh: submitting_since then says when, and nothing that is older is waited for.
-- outcome: released, poked (look again at once) | lost.
create or replace function public.release_generation_job(
  p_job_id uuid, p_token uuid, p_look_seconds integer, p_progress integer, p_again boolean
) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  was_poked boolean;
begin
  select poked into was_poked from public.generation_jobs
   where id = p_job_id and lease_token = p_token and finished_at is null for update;
  if not found then
    return jsonb_build_object('outcome', 'lost');
  end if;
  update public.generation_jobs
     set lease_token = null, lease_until = null, poked = false, look_at = now() + make_interval(secs => p_look_seconds),
         progress = case when p_again then null else coalesce(p_progress, progress) end,
         prediction_id = case when p_again then null else prediction_id end,
         submitting_since = case when p_again then null else submitting_since end
   where id = p_job_id;
  return jsonb_build_object('outcome', case when was_poked then 'poked' else 'released' end);
end
$$;

-- Ends a job with its picture, which is in the bucket: {object_key, content_type, bytes, width, height, blurhash, seed} as text.
-- outcome: completed | finished (it had ended before) | not_found.
create or replace function public.complete_generation_job(p_job_id uuid, p_output text) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  output jsonb := p_output::jsonb;
  job public.generation_jobs;
begin
  select * into job from public.generation_jobs where id = p_job_id for update;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  elsif job.finished_at is not null then
    return jsonb_build_object('outcome', 'finished', 'status', job.status);
  end if;
  insert into public.assets (user_id, kind, object_key, content_type, bytes, width, height, blurhash, job_id, verified_at)
  values (job.user_id, 'output', output->>'object_key', output->>'content_type', (output->>'bytes')::bigint,
    (output->>'width')::integer, (output->>'height')::integer, output->>'blurhash', p_job_id, now())
  on conflict (object_key) do nothing;
  update public.generation_jobs
     set status = 'completed', finished_at = now(), lease_token = null, lease_until = null, progress = 100,
         seed = (output->>'seed')::bigint
   where id = p_job_id;
  return jsonb_build_object('outcome', 'completed');
end
$$;

-- Ends a job that cannot be. outcome: failed | finished | lost.
create or replace function public.fail_generation_job(p_job_id uuid, p_token uuid, p_code text, p_message text) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
begin
  perform from public.generation_jobs where id = p_job_id and (lease_token = p_token or lease_until is null) for update;
  if not found then
    return jsonb_build_object('outcome', 'lost');
  end if;
  return jsonb_build_object('outcome',
    case when public.end_generation_job(p_job_id, 'failed', p_code, p_message) then 'failed' else 'finished' end);
end
$$;

-- Cancels what has not been started. outcome: cancelled with remaining_credits | started | finished with status | not_found.
create or replace function public.cancel_generation_job(p_user_id uuid, p_job_id uuid) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  job public.generation_jobs;
begin
  select * into job from public.generation_jobs where id = p_job_id and user_id = p_user_id for update;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  elsif job.status = 'processing' then
    return jsonb_build_object('outcome', 'started');
  elsif job.finished_at is not null and job.status <> 'cancelled' then
    return jsonb_build_object('outcome', 'finished', 'status', job.status);
  end if;
  perform public.end_generation_job(p_job_id, 'cancelled', null, null);
  return jsonb_build_object('outcome', 'cancelled',
    'remaining_credits', (select balance from public.credit_balances where user_id = p_user_id));
end
$$;

-- What the sweeper is to put into the queue again, at most p_limit: jobs that nobody looked at when somebody should have. What
-- is far past its deadline although it was looked at is failed here, so that credits come back in bounded time (invariant I7).
create or replace function public.sweep_generation_jobs(p_limit integer) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  stuck record;
  failed integer := 0;
  due jsonb;
begin
  for stuck in
    with late as materialized (
      select id, user_id from public.generation_jobs
       where finished_at is null and deadline_at < now() - interval '15 minutes' and coalesce(lease_until, now()) <= now()
       order by deadline_at limit p_limit for update skip locked
    )
    -- User by user: of two who sweep at once, each with jobs of the same users, none holds a balance that the other waits for
    -- while it waits itself.
    select id from late order by user_id
  loop
    perform public.end_generation_job(stuck.id, 'failed', 'timed_out', 'It took too long. Your credits are back.');
    failed := failed + 1;
  end loop;
  with waiting as (
    select id from public.generation_jobs
     where finished_at is null and look_at < now() and coalesce(lease_until, now()) <= now()
     order by look_at limit p_limit for update skip locked
  ), looked as (
    update public.generation_jobs j
       set look_at = now() + interval '4 minutes', status = case j.status when 'pending' then 'queued' else j.status end
      from waiting where j.id = waiting.id returning j.id
  )
  select coalesce(jsonb_agg(id), '[]') into due from looked;
  return jsonb_build_object('due', due, 'failed', failed);
end
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.job_summary(public.generation_jobs)',
    'public.create_generation_job(uuid, text, text)',
    'public.retry_generation_job(uuid, uuid)',
    'public.end_generation_job(uuid, text, text, text)',
    'public.claim_generation_job(uuid, uuid, integer)',
    'public.note_prediction(uuid, uuid, text, integer)',
    'public.release_generation_job(uuid, uuid, integer, integer, boolean)',
    'public.complete_generation_job(uuid, text)',
    'public.fail_generation_job(uuid, uuid, text, text)',
    'public.cancel_generation_job(uuid, uuid)',
    'public.sweep_generation_jobs(integer)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
