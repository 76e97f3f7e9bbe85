-- The moves of an upload, each one atomic and one round trip; expected outcomes are values. Only the server may call these.

-- Announces a file: its row is there before its bytes may come. outcome: announced with asset_id and object_key
-- | too_many with retry_after, when p_most of the last p_seconds (so long a form lives) are not finished | no_user.
create or replace function public.announce_upload(
  p_user_id uuid, p_filename text, p_content_type text, p_most integer, p_seconds integer
) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  asset public.assets;
  nth timestamptz;
begin
  -- From here on this user's announcements come one after another.
  perform from public.users where id = p_user_id for no key update;
  if not found then
    return jsonb_build_object('outcome', 'no_user');
  end if;

  select created_at into nth from public.assets
   where user_id = p_user_id and kind = 'upload' and verified_at is null and rejected_code is null
     and created_at > now() - make_interval(secs => p_seconds)
   order by created_at desc offset p_most - 1 limit 1;
  if found then
    return jsonb_build_object('outcome', 'too_many',
      'retry_after', greatest(1, ceil(extract(epoch from nth - now()) + p_seconds))::integer);
  end if;

  insert into public.assets (user_id, filename, content_type) values (p_user_id, p_filename, p_content_type)
  returning * into asset;
  return jsonb_build_object('outcome', 'announced', 'asset_id', asset.id, 'object_key', asset.object_key);
end
$$;

-- Says what an upload was found to be: usable with its measures, or not (p_rejected_code). What was said first stays.
-- outcome: verified | rejected, whoever said so | not_found.
create or replace function public.settle_upload(
  p_asset_id uuid, p_rejected_code text, p_bytes bigint, p_width integer, p_height integer, p_blurhash text
) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  verified boolean;
begin
  update public.assets
     set verified_at = case when p_rejected_code is null then now() end, rejected_code = p_rejected_code,
         bytes = p_bytes, width = p_width, height = p_height, blurhash = p_blurhash
   where id = p_asset_id and verified_at is null and rejected_code is null;

  select verified_at is not null into verified from public.assets where id = p_asset_id;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  end if;
  return jsonb_build_object('outcome', case when verified then 'verified' else 'rejected' end);
end
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'public.announce_upload(uuid, text, text, integer, integer)',
    'public.settle_upload(uuid, text, bigint, integer, integer, text)'
  ] loop
    execute format('revoke execute on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end
$$;
