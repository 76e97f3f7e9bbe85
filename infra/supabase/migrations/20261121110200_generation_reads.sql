-- What a user sees of her jobs and of what she can choose, in one read as herself: row-level security decides what is found.

-- At most p_limit of a user's jobs, newest first; only the one with p_job_id where that is given, only those before the job
-- p_before where that is.
create or replace function public.generation_jobs_of(p_user_id uuid, p_job_id uuid, p_before uuid, p_limit integer) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
      'id', j.id, 'status', j.status, 'prompt', j.prompt, 'input_asset_id', j.input_asset_id, 'influencer_id', j.influencer_id,
      'model_preset', j.model_preset, 'pose_preset', j.pose_preset, 'scene_preset', j.scene_preset,
      'generation_type', j.generation_type, 'cost_credits', j.cost_credits, 'progress', j.progress,
      'failure_code', j.failure_code, 'failure_message', j.failure_message, 'created_at', j.created_at,
      'started_at', j.started_at, 'finished_at', j.finished_at,
      'output', (select jsonb_build_object('asset_id', a.id, 'object_key', a.object_key, 'width', a.width, 'height', a.height,
                   'blurhash', a.blurhash)
                   from public.assets a where a.job_id = j.id and a.kind = 'output' limit 1))
      order by j.created_at desc, j.id desc), '[]')
    from (select id, status, prompt, input_asset_id, influencer_id, model_preset, pose_preset, scene_preset, generation_type,
                 cost_credits, progress, failure_code, failure_message, created_at, started_at, finished_at
            from public.generation_jobs
           where user_id = p_user_id
             and (p_job_id is null or id = p_job_id)
             and (p_before is null or (created_at, id) < (select created_at, id from public.generation_jobs where id = p_before))
           order by created_at desc, id desc
           limit p_limit) j
$$;

-- What a job can be made of, and the caller's uploads and character: {models, poses, scenes, types, uploads, influencer, credits}.
create or replace function public.generation_options(p_user_id uuid) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object(
    'models', (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name) order by position, id), '[]') from public.model_presets where offered),
    'poses', (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name) order by position, id), '[]') from public.pose_presets where offered),
    'scenes', (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name) order by position, id), '[]') from public.scene_presets where offered),
    'types', (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name, 'cost_credits', cost_credits) order by position, id), '[]')
                from public.generation_types where offered),
    'uploads', (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'filename', filename, 'width', width, 'height', height,
                  'blurhash', blurhash, 'verified', verified_at is not null, 'rejected_code', rejected_code, 'created_at', created_at)
                  order by created_at desc), '[]')
                  from (select * from public.assets where user_id = p_user_id and kind = 'upload' order by created_at desc limit 50) a),
    'influencer', (select jsonb_build_object('id', id, 'name', name) from public.influencers where user_id = p_user_id and is_locked),
    'credits', (select balance from public.credit_balances where user_id = p_user_id))
$$;

revoke execute on function public.generation_jobs_of(uuid, uuid, uuid, integer), public.generation_options(uuid)
  from public, anon, service_role;
grant execute on function public.generation_jobs_of(uuid, uuid, uuid, integer), public.generation_options(uuid) to authenticated;
