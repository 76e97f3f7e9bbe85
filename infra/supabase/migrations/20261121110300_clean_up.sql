-- What is thrown away in time, in batches, so that no lock is held for long. Only the server may call these.

-- Uploads that are older than 30 days and no output of a job; their objects are left to orphaned_objects. Answers how many.
create or replace function public.delete_old_uploads(p_limit integer) returns integer
  language plpgsql security invoker set search_path = ''
as $$
declare
  deleted integer;
begin
  delete from public.assets where id in (
    select a.id from public.assets a
     where a.created_at < now() - interval '30 days' and a.job_id is null
       -- Nor the picture of a job whose row is gone: that is its user's.
       and a.kind = 'upload'
       -- What a job still starts from stays until it has ended.
       and not exists (select from public.generation_jobs j where j.input_asset_id = a.id and j.finished_at is null)
     order by a.created_at limit p_limit for update skip locked);
  get diagnostics deleted = row_count;
  return deleted;
end
$$;

-- A job that goes with its account may have objects that no asset tells of yet: its worker was at it.
create or replace function public.orphan_job_objects() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  if old.started_at is not null and not exists (select from public.assets where job_id = old.id) then
    insert into public.orphaned_objects (object_key) values ('outputs/' || old.user_id || '/' || old.id || '/')
    on conflict do nothing;
  end if;
  return old;
end
$$;
-- Before: afterwards no asset says any more which job it is of.
create or replace trigger orphan_job_objects before delete on public.generation_jobs
  for each row execute function public.orphan_job_objects();
revoke execute on function public.orphan_job_objects() from public, anon, authenticated;

-- Events of jobs that are older than 90 days. Answers how many.
create or replace function public.delete_old_job_events(p_limit integer) returns integer
  language plpgsql security invoker set search_path = ''
as $$
declare
  deleted integer;
begin
  delete from public.job_events where id in (
    select id from public.job_events where created_at < now() - interval '90 days' order by id limit p_limit);
  get diagnostics deleted = row_count;
  return deleted;
end
$$;

-- Objects that nobody needs any more, oldest first: keys, or prefixes that end in a slash.
create or replace function public.orphaned_object_keys(p_limit integer) returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select coalesce(jsonb_agg(object_key), '[]')
    from (select object_key from public.orphaned_objects order by since, object_key limit p_limit) oldest
$$;

-- They are removed from the bucket. p_keys is a JSON array as text.
create or replace function public.forget_orphaned_objects(p_keys text) returns integer
  language plpgsql security invoker set search_path = ''
as $$
declare
  forgotten integer;
begin
  delete from public.orphaned_objects where object_key in (select jsonb_array_elements_text(p_keys::jsonb));
  get diagnostics forgotten = row_count;
  return forgotten;
end
$$;

create index if not exists assets_old_uploads_idx on public.assets (created_at) where job_id is null;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.delete_old_uploads(integer)',
    'public.delete_old_job_events(integer)',
    'public.orphaned_object_keys(integer)',
    'public.forget_orphaned_objects(text)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
