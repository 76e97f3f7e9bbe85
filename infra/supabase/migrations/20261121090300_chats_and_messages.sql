-- Chats of a user and their messages. A message belongs to a user through its chat, so it has no user_id of its own.

-- As for users: foreign keys of the prototype's that would hold an influencer or a chat back.
do $$
declare
  old record;
begin
  for old in
    select conrelid::regclass as child, conname from pg_constraint
     where contype = 'f' and conname not in ('images_show_an_influencer', 'chats_are_with_an_influencer', 'messages_belong_to_a_chat')
       and confrelid in (to_regclass('public.influencers'), to_regclass('public.chats'))
       and conrelid in (to_regclass('public.images'), to_regclass('public.chats'), to_regclass('public.messages'))
  loop
    execute format('alter table %s drop constraint %I', old.child, old.conname);
  end loop;
end
$$;

create table if not exists public.chats (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null
);

alter table public.chats
  add column if not exists influencer_id uuid,
  add column if not exists created_at timestamptz not null default now();

comment on table public.chats is 'Conversations of a user with her character.';

alter table public.chats drop constraint if exists chats_belong_to_a_user;
alter table public.chats add constraint chats_belong_to_a_user
  foreign key (user_id) references public.users (id) on delete cascade not valid;
alter table public.chats drop constraint if exists chats_are_with_an_influencer;
alter table public.chats add constraint chats_are_with_an_influencer
  foreign key (influencer_id) references public.influencers (id) on delete cascade not valid;

create index if not exists chats_user_id_idx on public.chats (user_id);
create index if not exists chats_influencer_id_idx on public.chats (influencer_id);

revoke all on public.chats from anon, authenticated;
grant select (id, user_id, influencer_id, created_at) on public.chats to authenticated;
grant all on public.chats to service_role;

alter table public.chats enable row level security;
create policy "users see their own chats" on public.chats
  for select to authenticated using (user_id = (select auth.uid()));

create table if not exists public.messages (
  id uuid primary key default gen_random_uuid()
);

alter table public.messages
  add column if not exists chat_id uuid,
  add column if not exists role text,
  add column if not exists content text,
  add column if not exists created_at timestamptz not null default now();

comment on table public.messages is 'What was said in a chat; role is user or influencer.';

alter table public.messages drop constraint if exists messages_belong_to_a_chat;
alter table public.messages add constraint messages_belong_to_a_chat
  foreign key (chat_id) references public.chats (id) on delete cascade not valid;

create index if not exists messages_chat_id_idx on public.messages (chat_id, created_at);

revoke all on public.messages from anon, authenticated;
grant select (id, chat_id, role, content, created_at) on public.messages to authenticated;
grant all on public.messages to service_role;

alter table public.messages enable row level security;
create policy "users see the messages of their chats" on public.messages
  for select to authenticated using (
    exists (select from public.chats where chats.id = messages.chat_id and chats.user_id = (select auth.uid()))
  );
