-- The public grid: which pictures are in it, who likes one, who reports one. The moves are in *_grid_rpcs.sql.

alter table public.images
  add column if not exists asset_id uuid unique references public.assets (id) on delete cascade,
  add column if not exists object_key text,
  add column if not exists character_name text,
  add column if not exists likes_count integer not null default 0 check (likes_count >= 0),
  add column if not exists width integer,
  add column if not exists height integer,
  add column if not exists blurhash text,
  add column if not exists published_at timestamptz,
  add column if not exists hidden_at timestamptz,
  add column if not exists hidden_reason text,
  add column if not exists hidden_by uuid;

comment on column public.images.asset_id is 'The file of a generated picture; a prototype''s image has none.';
comment on column public.images.object_key is 'Where the original lies in the bucket; the other sizes lie beside it.';
comment on column public.images.character_name is 'Of a character that is locked, so that it stays true; the grid''s readers may not see hers.';
comment on column public.images.likes_count is 'The rows of image_likes, counted by its triggers alone.';
comment on column public.images.published_at is 'Since when its owner shows it in the grid.';
comment on column public.images.hidden_at is 'Since when an admin keeps it out of the grid.';
comment on column public.images.hidden_reason is 'What the owner is told of it.';

-- Not in the column's line: the first migration, when it runs again, takes away every key from here to users.
alter table public.images drop constraint if exists images_are_hidden_by_a_user;
alter table public.images add constraint images_are_hidden_by_a_user
  foreign key (hidden_by) references public.users (id) on delete set null;
alter table public.images drop constraint if exists images_in_the_grid_have_a_file;
alter table public.images add constraint images_in_the_grid_have_a_file
  check (published_at is null or (object_key is not null and width > 0 and height > 0));
alter table public.images drop constraint if exists images_are_hidden_for_a_reason;
alter table public.images add constraint images_are_hidden_for_a_reason check ((hidden_at is null) = (hidden_reason is null));

-- The two orders of the grid, as its pages are read: by a place in it, never by a number of rows.
create index if not exists images_newest_idx on public.images (published_at desc, id desc)
  where published_at is not null and hidden_at is null;
create index if not exists images_most_liked_idx on public.images (likes_count desc, published_at desc, id desc)
  where published_at is not null and hidden_at is null;
create index if not exists images_hidden_by_idx on public.images (hidden_by) where hidden_by is not null;

create table if not exists public.image_likes (
  image_id uuid not null references public.images (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (image_id, user_id)
);
create index if not exists image_likes_user_id_idx on public.image_likes (user_id);
comment on table public.image_likes is 'Who likes which picture.';

create table if not exists public.image_reports (
  image_id uuid not null references public.images (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  reason text not null check (reason in ('minor', 'person', 'sexual', 'violence', 'other')),
  created_at timestamptz not null default now(),
  primary key (image_id, user_id)
);
create index if not exists image_reports_user_id_idx on public.image_reports (user_id);
comment on table public.image_reports is 'Who finds that a picture should not be in the grid, and why.';

-- Keeps likes_count, whoever writes or deletes likes, and however many in one statement.
create or replace function public.count_likes() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  -- All in one order: two who leave at once and liked the same pictures must not wait for each other. (Of two who liked each
  -- other's pictures one may be refused all the same, and has to be deleted again.)
  perform from public.images where id in (select image_id from changed) order by id for no key update;
  update public.images i
     set likes_count = i.likes_count + case tg_op when 'INSERT' then c.likes else -c.likes end
    from (select image_id, count(*)::integer as likes from changed group by image_id) c
   where i.id = c.image_id;
  return null;
end
$$;
revoke execute on function public.count_likes() from public, anon, authenticated;
create or replace trigger count_new_likes after insert on public.image_likes
  referencing new table as changed for each statement execute function public.count_likes();
create or replace trigger count_gone_likes after delete on public.image_likes
  referencing old table as changed for each statement execute function public.count_likes();

-- A like is there or not: there is nothing to change about one, and no way to take all away uncounted.
create or replace function public.likes_come_and_go() returns trigger
  language plpgsql security definer set search_path = ''
as $$
begin
  raise exception 'likes are only added and taken back' using errcode = 'restrict_violation';
end
$$;
revoke execute on function public.likes_come_and_go() from public, anon, authenticated;
create or replace trigger likes_come_and_go before update or truncate on public.image_likes
  for each statement execute function public.likes_come_and_go();

-- Who may do what (tests/it/row_security.rs). The grid's readers are told of a picture what the grid shows.
grant select (id, object_key, prompt, character_name, likes_count, width, height, blurhash, published_at, hidden_at)
  on public.images to anon;
grant select (asset_id, object_key, character_name, likes_count, width, height, blurhash, published_at, hidden_at, hidden_reason)
  on public.images to authenticated;
drop policy if exists "everybody sees the grid" on public.images;
create policy "everybody sees the grid" on public.images for select to anon, authenticated
  using (published_at is not null and hidden_at is null);

revoke all on public.image_likes, public.image_reports from anon, authenticated;
grant select on public.image_likes, public.image_reports to authenticated;
grant all on public.image_likes, public.image_reports to service_role;

alter table public.image_likes enable row level security;
drop policy if exists "users see their own likes" on public.image_likes;
create policy "users see their own likes" on public.image_likes
  for select to authenticated using (user_id = (select public.caller_id()));

alter table public.image_reports enable row level security;
drop policy if exists "users see their own reports" on public.image_reports;
create policy "users see their own reports" on public.image_reports
  for select to authenticated using (user_id = (select public.caller_id()));

-- The pictures that jobs made before there was a grid. Of our URLs only the functions know the beginning; a character's shows it.
insert into public.images (user_id, influencer_id, asset_id, object_key, image_url, prompt, character_name, width, height, blurhash, created_at)
select a.user_id, i.id, a.id, a.object_key, ours.url || '/' || a.object_key, j.prompt, i.name, a.width, a.height, a.blurhash, a.created_at
  from public.assets a
  left join public.generation_jobs j on j.id = a.job_id
  left join public.influencers i on i.id = j.influencer_id
  left join (select split_part(initial_image_url, '/users/' || user_id || '/', 1) as url
               from public.influencers where initial_image_url like '%/users/' || user_id || '/influencers/%' limit 1) ours on true
 where a.kind = 'output' and a.verified_at is not null
on conflict (asset_id) do nothing;

-- What an admin looks at, as in *_admin.sql: pictures that somebody reported, and what came of it.
create or replace view public.admin_reported_images with (security_barrier = true) as
  select i.id, i.user_id, i.object_key, i.prompt, i.likes_count, i.published_at, i.hidden_at, i.hidden_reason, i.hidden_by,
         r.reports, r.reasons, r.first_reported_at, r.last_reported_at
    from (select image_id, sum(reports)::integer as reports, jsonb_object_agg(reason, reports) as reasons,
                 min(first_reported_at) as first_reported_at, max(last_reported_at) as last_reported_at
            from (select image_id, reason, count(*) as reports, min(created_at) as first_reported_at,
                         max(created_at) as last_reported_at
                    from public.image_reports group by image_id, reason) by_reason
           group by image_id) r
    join public.images i on i.id = r.image_id
   where exists (select from public.calling_admin);
comment on view public.admin_reported_images is 'Pictures that were reported, with how often and why. For admins.';
revoke all on public.admin_reported_images from public, anon, authenticated, service_role;
grant select on public.admin_reported_images to authenticated, service_role;
