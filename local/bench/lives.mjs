// What a user leaves behind in the database, and what her calls cost it. Some thousand users live a month each, by the RPCs that the
// functions call, in a PostgreSQL with our migrations: answers rows and bytes of each table, and milliseconds of each RPC.

import postgres from 'postgres';
import { inDatabase } from './postgres.mjs';

// An invoice's event as Stripe sends it has some 4 KB, most of it ids and texts that compress badly.
const EVENT_BYTES = 4_000;

const SETUP = `
  create schema bench;
  create table bench.took (call text, ms double precision);
  create function bench.note(call text, began timestamptz) returns timestamptz language sql as $$
    insert into bench.took values (call, extract(epoch from clock_timestamp() - began) * 1000) returning clock_timestamp()
  $$;
  create function bench.event(n integer, nth integer, payer uuid) returns text language sql as $$
    select jsonb_build_object('id', format('evt_%s_%s', n, nth), 'object', 'event', 'type', 'invoice.paid', 'created', 1795255200,
      'api_version', '2026-10-28', 'user', payer,
      'data', (select jsonb_object_agg('field_' || i, md5(n::text || nth || i)) from generate_series(1, ${EVENT_BYTES} / 46) i))::text
  $$;
  create function bench.live(n integer, jobs integer, likes integer, uploads integer, payer boolean, events integer) returns void
    language plpgsql as $$
  declare
    who uuid := gen_random_uuid();
    her uuid;
    job uuid;
    token uuid;
    picture uuid;
    file uuid;
    answer jsonb;
    t timestamptz;
  begin
    insert into auth.users (id, email, email_confirmed_at) values (who, format('somebody-%s@example.com', n), now());
    t := clock_timestamp();
    answer := public.request_influencer(who, gen_random_uuid(), 'Clara', 'An architect from Lisbon who sails, draws and cooks for her friends.', 'calm', 600);
    t := bench.note('request_influencer', t);
    her := answer->'influencer'->>'id';
    perform public.record_callback(her, 1, repeat('A woman of thirty with brown hair, ', 8), n, 'https://replicate.delivery/x/' || her || '.webp');
    t := bench.note('record_callback', t);
    perform public.lock_influencer(her, 1, 'https://media.example.com/users/' || who || '/influencers/' || her || '/initial.webp');
    t := bench.note('lock_influencer', t);

    for i in 1..uploads loop
      t := clock_timestamp();
      file := public.announce_upload(who, 'IMG_2041.jpg', 'image/jpeg', 10, 3600)->>'asset_id';
      t := bench.note('announce_upload', t);
      perform public.settle_upload(file, null, 3500000, 4000, 3000, 'LEHV6nWB2yk8pyo0adR*.7kCMdnj');
      t := bench.note('settle_upload', t);
    end loop;

    if payer then
      for i in 1..events loop
        t := clock_timestamp();
        perform public.apply_stripe_event(bench.event(n, i, who), case when i = 1 then jsonb_build_object('purchase', jsonb_build_object(
          'key', 'invoice:in_' || n, 'user_id', who, 'customer_id', 'cus_' || n, 'pack_id', 'small', 'credits', 20, 'amount_paid', 1900,
          'currency', 'usd', 'created', now()))::text
          else '{"nothing": {}}' end);
        t := bench.note('apply_stripe_event', t);
      end loop;
    end if;

    for i in 1..jobs loop
      token := gen_random_uuid();
      t := clock_timestamp();
      answer := public.create_generation_job(who, gen_random_uuid()::text, jsonb_build_object(
        'prompt', 'on the quay at dusk in a long blue coat, looking out to the sea, ships behind her', 'influencer_id', her,
        'model_preset', 'fashion_model_v1', 'pose_preset', 'standing', 'scene_preset', 'street', 'generation_type', 'standard')::text);
      t := bench.note('create_generation_job', t);
      if answer->>'outcome' <> 'created' then
        raise exception 'no job: %', answer;
      end if;
      job := answer->'job'->>'id';
      perform public.claim_generation_job(job, token, 100);
      t := bench.note('claim_generation_job', t);
      perform public.note_prediction(job, token, 'pred' || md5(job::text), 240);
      t := bench.note('note_prediction', t);
      perform public.claim_generation_job(job, token, 100);
      t := bench.note('claim_generation_job', t);
      perform public.complete_generation_job(job, jsonb_build_object(
        'object_key', 'outputs/' || who || '/' || job || '/original.webp', 'content_type', 'image/webp', 'bytes', 200000,
        'width', 832, 'height', 1248, 'blurhash', 'LEHV6nWB2yk8pyo0adR*.7kCMdnj', 'seed', 1234567890,
        'image_url', 'https://media.example.com/outputs/' || who || '/' || job || '/original.webp')::text);
      t := bench.note('complete_generation_job', t);
    end loop;
    if jobs > 0 then
      select id into picture from public.images where user_id = who limit 1;
      t := clock_timestamp();
      perform public.publish_image(who, picture, true);
      t := bench.note('publish_image', t);
    end if;

    for i in 1..likes loop
      select id into picture from public.images where published_at is not null and id > gen_random_uuid() order by id limit 1;
      t := clock_timestamp();
      perform public.like_image(who, picture, true);
      t := bench.note('like_image', t);
    end loop;

    t := clock_timestamp();
    perform public.dashboard(who);
    t := bench.note('dashboard', t);
    perform public.generation_jobs_of(who, null, null, 21);
    t := bench.note('generation_jobs_of', t);
    perform public.generation_options(who);
    t := bench.note('generation_options', t);
    perform public.grid('new', null, null, null, 25);
    t := bench.note('grid', t);
  end
  $$;
`;

// `month`: {jobs, likes, uploads, payers, events}, each for one user, with `payers` a share and `events` for each of those.
export function lives(users, month) {
  return inDatabase(async (url) => {
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    await sql.unsafe(SETUP);
    const whole = (perUser, n) => Math.floor((n + 1) * perUser) - Math.floor(n * perUser);
    for (let n = 0; n < users; n++) {
      const payer = whole(month.payers, n) > 0;
      await sql`select bench.live(${n}, ${whole(month.jobs, n)}, ${whole(month.likes, n)}, ${whole(month.uploads, n)}, ${payer}, ${month.events})`;
      // As autovacuum would.
      if (n % 500 === 499) await sql`vacuum analyze`;
    }
    await sql`vacuum analyze`;
    const sizes = await sql`
      select c.relname as table, s.n_live_tup::integer as rows, pg_total_relation_size(c.oid)::integer as bytes
        from pg_class c join pg_stat_user_tables s on s.relid = c.oid
       where c.relnamespace = 'public'::regnamespace and s.n_live_tup > 100 order by bytes desc`;
    const took = await sql`
      select call, count(*)::integer as calls, percentile_cont(0.5) within group (order by ms) as ms from bench.took group by call order by ms desc`;
    await sql.end();
    return { tables: [...sizes], calls: [...took] };
  });
}
