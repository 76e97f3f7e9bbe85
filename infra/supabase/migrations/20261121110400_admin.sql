-- What an admin looks at: three views, for `user_roles.role = 'admin'` through the data API and for the server (operate jobs).
--
-- They read as their owner, past row-level security, and answer nothing to anybody else: policies for admins on the tables
-- would open every read of an admin to all rows, also her own dashboard. As barriers they let no condition of the caller look
-- at a row before the question who she is was answered.

-- One row if the caller may look, else none. Nobody reads it but the views. (No function: auth.uid() would be asked as its caller.)
create or replace view public.calling_admin with (security_barrier = true) as
  select true as allowed
   where current_user in ('service_role', 'postgres')
      or exists (select from public.user_roles where user_id = (select auth.uid()) and role = 'admin');

create or replace view public.admin_jobs_by_status with (security_barrier = true) as
  select status, count(*) as jobs
    from public.generation_jobs
   where exists (select from public.calling_admin)
   group by status;

-- An aggregate of nothing is a row, too: hence having.
create or replace view public.admin_credit_purchases_today with (security_barrier = true) as
  select coalesce(sum(amount), 0) as credits, count(*) as purchases
    from public.credits_ledger
   where tx_type = 'purchase' and created_at > now() - interval '1 day'
  having exists (select from public.calling_admin);

-- What was asked, by whom, and how it was tried. Without leases and request keys, which say nothing afterwards.
create or replace view public.admin_failed_jobs with (security_barrier = true) as
  select id, user_id, prompt, input_asset_id, influencer_id, model_preset, pose_preset, scene_preset, generation_type,
         cost_credits, provider, model, prediction_id, predictions, failure_code, failure_message,
         created_at, started_at, finished_at
    from public.generation_jobs
   where status = 'failed' and created_at > now() - interval '7 days' and exists (select from public.calling_admin);

comment on view public.admin_jobs_by_status is 'How many jobs stand where. For admins.';
comment on view public.admin_credit_purchases_today is 'Credits bought in the last 24 hours. For admins.';
comment on view public.admin_failed_jobs is 'Jobs of the last seven days that failed. For admins.';

create index if not exists credits_ledger_purchases_idx on public.credits_ledger (created_at) where tx_type = 'purchase';
create index if not exists generation_jobs_failed_idx on public.generation_jobs (created_at) where status = 'failed';

revoke all on public.calling_admin, public.admin_jobs_by_status, public.admin_credit_purchases_today, public.admin_failed_jobs
  from public, anon, authenticated, service_role;
grant select on public.admin_jobs_by_status, public.admin_credit_purchases_today, public.admin_failed_jobs
  to authenticated, service_role;
