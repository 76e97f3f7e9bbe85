-- Images that a user made of her character.

create table if not exists public.images (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null
);

alter table public.images
  add column if not exists influencer_id uuid,
  add column if not exists image_url text,
  add column if not exists prompt text,
  add column if not exists created_at timestamptz not null default now();

comment on table public.images is 'Images of a user; the id is the row''s own, user_id points to users.id.';

alter table public.images drop constraint if exists images_belong_to_a_user;
alter table public.images add constraint images_belong_to_a_user
  foreign key (user_id) references public.users (id) on delete cascade not valid;
alter table public.images drop constraint if exists images_show_an_influencer;
alter table public.images add constraint images_show_an_influencer
  foreign key (influencer_id) references public.influencers (id) on delete cascade not valid;

create index if not exists images_user_id_idx on public.images (user_id);
create index if not exists images_influencer_id_idx on public.images (influencer_id);

revoke all on public.images from anon, authenticated;
grant select (id, user_id, influencer_id, image_url, prompt, created_at) on public.images to authenticated;
grant all on public.images to service_role;

alter table public.images enable row level security;
create policy "users see their own images" on public.images
  for select to authenticated using (user_id = (select auth.uid()));
