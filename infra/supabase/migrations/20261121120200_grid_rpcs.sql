-- The moves of a picture in the grid, each one atomic and one round trip; expected outcomes are values. Only the server may call
-- these. Below them: what readers see of the grid, and jobs with their picture's standing.
--
-- Whoever needs both locks the user first and then the picture, as the deletion of an account does.

-- Shows a picture of hers in the grid, or takes it out. What is in it stays in its place; taken out and shown again, it is new.
-- outcome: done with published_at | hidden (an admin keeps it out; taking it out works) | not_found.
create or replace function public.publish_image(p_user_id uuid, p_image_id uuid, p_published boolean) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  image public.images;
begin
  select * into image from public.images
   where id = p_image_id and user_id = p_user_id and asset_id is not null for no key update;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  elsif p_published and image.hidden_at is not null then
    return jsonb_build_object('outcome', 'hidden');
  end if;
  update public.images set published_at = case when p_published then coalesce(published_at, clock_timestamp()) end
   where id = p_image_id returning * into image;
  return jsonb_build_object('outcome', 'done', 'published_at', image.published_at);
end
$$;

-- Likes a picture in the grid, or takes that back, which also works for one that is no longer in it.
-- outcome: done with likes_count | not_found | no_user.
create or replace function public.like_image(p_user_id uuid, p_image_id uuid, p_liked boolean) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
begin
  perform from public.users where id = p_user_id for key share;
  if not found then
    return jsonb_build_object('outcome', 'no_user');
  end if;
  perform from public.images
   where id = p_image_id and (not p_liked or (published_at is not null and hidden_at is null)) for key share;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  end if;
  if p_liked then
    insert into public.image_likes (image_id, user_id) values (p_image_id, p_user_id) on conflict do nothing;
  else
    delete from public.image_likes where image_id = p_image_id and user_id = p_user_id;
  end if;
  return jsonb_build_object('outcome', 'done', 'likes_count', (select likes_count from public.images where id = p_image_id));
end
$$;

-- Reports a picture in the grid; the first reason stays. outcome: reported, also when it was before | not_found | no_user.
create or replace function public.report_image(p_user_id uuid, p_image_id uuid, p_reason text) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
begin
  perform from public.users where id = p_user_id for key share;
  if not found then
    return jsonb_build_object('outcome', 'no_user');
  end if;
  perform from public.images i
   where id = p_image_id and ((published_at is not null and hidden_at is null)
      or exists (select from public.image_reports r where r.image_id = i.id and r.user_id = p_user_id)) for key share;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  end if;
  insert into public.image_reports (image_id, user_id, reason) values (p_image_id, p_user_id, p_reason) on conflict do nothing;
  return jsonb_build_object('outcome', 'reported');
end
$$;

-- Keeps a picture out of the grid for a reason that its owner is told, or lets it in again (p_reason null): then it is where it
-- was, if its owner still shows it. outcome: done with hidden_at and hidden_reason | not_an_admin | not_found.
create or replace function public.hide_image(p_user_id uuid, p_image_id uuid, p_reason text) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  image public.images;
begin
  perform from public.users u where id = p_user_id
     and exists (select from public.user_roles where user_id = u.id and role = 'admin') for key share;
  if not found then
    return jsonb_build_object('outcome', 'not_an_admin');
  end if;
  update public.images
     set hidden_at = case when p_reason is not null then coalesce(hidden_at, now()) end, hidden_reason = p_reason,
         hidden_by = case when p_reason is not null then p_user_id end
   where id = p_image_id returning * into image;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  end if;
  return jsonb_build_object('outcome', 'done', 'hidden_at', image.hidden_at, 'hidden_reason', image.hidden_reason);
end
$$;

-- As in *_generation_rpcs.sql, and with it the picture's row in images, which nobody but its owner sees until she publishes it.
-- p_output also has image_url.
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
  with file as (
    insert into public.assets (user_id, kind, object_key, content_type, bytes, width, height, blurhash, job_id, verified_at)
    values (job.user_id, 'output', output->>'object_key', output->>'content_type', (output->>'bytes')::bigint,
      (output->>'width')::integer, (output->>'height')::integer, output->>'blurhash', p_job_id, now())
    on conflict (object_key) do nothing
    returning *
  )
  insert into public.images (user_id, influencer_id, asset_id, object_key, image_url, prompt, character_name, width, height, blurhash)
  select user_id, job.influencer_id, id, object_key, output->>'image_url', job.prompt,
         (select name from public.influencers where id = job.influencer_id), width, height, blurhash
    from file;
  update public.generation_jobs
     set status = 'completed', finished_at = now(), lease_token = null, lease_until = null, progress = 100,
         seed = (output->>'seed')::bigint
   where id = p_job_id;
  return jsonb_build_object('outcome', 'completed');
end
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.publish_image(uuid, uuid, boolean)',
    'public.like_image(uuid, uuid, boolean)',
    'public.report_image(uuid, uuid, text)',
    'public.hide_image(uuid, uuid, text)',
    'public.complete_generation_job(uuid, text)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;

-- A page of the grid as the caller or as nobody: at most p_limit pictures, newest or most liked ('top') first, after the place in
-- that order that the other three arguments name; all null for the first page. `liked` and `mine` are there for who is signed in.
-- Each page is one stretch of an index, wherever it begins: there is no "or is null" that would hide the place from the planner.
create or replace function public.grid(p_order text, p_likes_count integer, p_published_at timestamptz, p_image_id uuid, p_limit integer)
  returns jsonb
  language plpgsql stable security invoker set search_path = ''
as $$
declare
  caller uuid := public.caller_id();
  page jsonb;
begin
  if p_order = 'top' then
    select jsonb_agg(to_jsonb(i) order by likes_count desc, published_at desc, id desc) into page from (
      select id, object_key, coalesce(prompt, '') as prompt, likes_count, character_name, width, height, blurhash, published_at
        from public.images
       where published_at is not null and hidden_at is null
         and (likes_count, published_at, id) < (coalesce(p_likes_count, 2147483647), coalesce(p_published_at, 'infinity'),
           coalesce(p_image_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
       order by likes_count desc, published_at desc, id desc
       limit p_limit) i;
  else
    select jsonb_agg(to_jsonb(i) order by published_at desc, id desc) into page from (
      select id, object_key, coalesce(prompt, '') as prompt, likes_count, character_name, width, height, blurhash, published_at
        from public.images
       where published_at is not null and hidden_at is null
         and (published_at, id) < (coalesce(p_published_at, 'infinity'), coalesce(p_image_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
       order by published_at desc, id desc
       limit p_limit) i;
  end if;
  -- By itself, since nobody but who is signed in may ask whose a picture is, or for likes at all.
  if caller is not null and page is not null then
    select jsonb_agg(image || jsonb_build_object(
        'liked', exists (select from public.image_likes l where l.image_id = (image->>'id')::uuid and l.user_id = caller),
        'mine', exists (select from public.images i where i.id = (image->>'id')::uuid and i.user_id = caller)) order by place)
      into page from jsonb_array_elements(page) with ordinality as shown (image, place);
  end if;
  return coalesce(page, '[]');
end
$$;
revoke execute on function public.grid(text, integer, timestamptz, uuid, integer) from public;
grant execute on function public.grid(text, integer, timestamptz, uuid, integer) to anon, authenticated, service_role;

-- As in *_generation_reads.sql, with how each picture stands in the grid.
create or replace function public.generation_jobs_of(p_user_id uuid, p_job_id uuid, p_before uuid, p_limit integer) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
      'id', j.id, 'status', j.status, 'prompt', j.prompt, 'input_asset_id', j.input_asset_id, 'influencer_id', j.influencer_id,
      'model_preset', j.model_preset, 'pose_preset', j.pose_preset, 'scene_preset', j.scene_preset,
      'generation_type', j.generation_type, 'cost_credits', j.cost_credits, 'progress', j.progress,
      'failure_code', j.failure_code, 'failure_message', j.failure_message, 'created_at', j.created_at,
      'started_at', j.started_at, 'finished_at', j.finished_at,
      'output', case when a.id is not null then jsonb_build_object('asset_id', a.id, 'object_key', a.object_key, 'width', a.width,
        'height', a.height, 'blurhash', a.blurhash) end,
      'image', case when i.id is not null then jsonb_build_object('id', i.id, 'published', i.published_at is not null,
        'likes_count', i.likes_count, 'hidden_reason', i.hidden_reason) end)
      order by j.created_at desc, j.id desc), '[]')
    from (select id, status, prompt, input_asset_id, influencer_id, model_preset, pose_preset, scene_preset, generation_type,
                 cost_credits, progress, failure_code, failure_message, created_at, started_at, finished_at
            from public.generation_jobs
           where user_id = p_user_id
             and (p_job_id is null or id = p_job_id)
             and (p_before is null or (created_at, id) < (select created_at, id from public.generation_jobs where id = p_before))
           order by created_at desc, id desc
           limit p_limit) j
    left join lateral (select * from public.assets where job_id = j.id and kind = 'output' limit 1) a on true
    left join public.images i on i.asset_id = a.id
$$;
revoke execute on function public.generation_jobs_of(uuid, uuid, uuid, integer) from public, anon, service_role;
grant execute on function public.generation_jobs_of(uuid, uuid, uuid, integer) to authenticated;
