-- What happened in the clock hour before this one that no function can count: credits also move by triggers (a sign-up, a job that a
-- client inserts), and nothing happens when a set-up's time is over. Asked twice in an hour, the answer is the same.

-- Lines come in the order of their time, so a block range is enough.
create index if not exists credits_ledger_created_at_idx on public.credits_ledger using brin (created_at)
  with (autosummarize = on);
create index if not exists influencers_unfinished_idx on public.influencers (deadline_at) where state in ('requested', 'image_pending');

-- Answers {bought, given, spent, refunded, clawed_back, adjusted, timed_out}: credits, and set-ups that nobody finished in time.
create or replace function public.last_hour() returns jsonb
  language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object(
      'bought', coalesce(sum(amount) filter (where tx_type = 'purchase'), 0),
      'given', coalesce(sum(amount) filter (where tx_type = 'bonus'), 0),
      'spent', coalesce(-sum(amount) filter (where tx_type = 'spend'), 0),
      'refunded', coalesce(sum(amount) filter (where tx_type = 'refund'), 0),
      'clawed_back', coalesce(-sum(amount) filter (where clawback and amount < 0), 0),
      'adjusted', coalesce(sum(abs(amount)) filter (where tx_type = 'adjustment' and not (clawback and amount < 0)), 0),
      'timed_out', (
        select count(*) from public.influencers
         where state in ('requested', 'image_pending')
           and deadline_at >= date_trunc('hour', now()) - interval '1 hour' and deadline_at < date_trunc('hour', now())))
    from (select *, business_key like 'clawback:%' as clawback from public.credits_ledger
           where created_at >= date_trunc('hour', now()) - interval '1 hour' and created_at < date_trunc('hour', now())) lines
$$;
revoke execute on function public.last_hour() from public, anon, authenticated;
grant execute on function public.last_hour() to service_role;
