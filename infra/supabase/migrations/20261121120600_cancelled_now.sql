-- Cancelling says whether this call did it, so that a job that is cancelled twice counts once.

-- Cancels what has not been started. outcome: cancelled with remaining_credits, and `now` where it was not before | started
-- | finished with status | not_found.
create or replace function public.cancel_generation_job(p_user_id uuid, p_job_id uuid) returns jsonb
  language plpgsql security invoker set search_path = ''
as $$
declare
  job public.generation_jobs;
  ended boolean;
begin
  select * into job from public.generation_jobs where id = p_job_id and user_id = p_user_id for update;
  if not found then
    return jsonb_build_object('outcome', 'not_found');
  elsif job.status = 'processing' then
    return jsonb_build_object('outcome', 'started');
  elsif job.finished_at is not null and job.status <> 'cancelled' then
    return jsonb_build_object('outcome', 'finished', 'status', job.status);
  end if;
  ended := public.end_generation_job(p_job_id, 'cancelled', null, null);
  return jsonb_build_object('outcome', 'cancelled', 'now', ended,
    'remaining_credits', (select balance from public.credit_balances where user_id = p_user_id));
end
$$;
