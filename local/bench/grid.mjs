// What a page of the grid touches in a database with a million pictures and ten million likes: the first page and the thousandth,
// as nobody and as somebody, with row-level security on. Fails when the thousandth touches much more than the first, or a page
// reads a whole table.
//
// It calls public.grid() as list-images does; PostgreSQL's own auto_explain says what the statements in it did.

import postgres from 'postgres';
import { inDatabase } from './postgres.mjs';

// Every 21 pictures have 0 to 20 likes.
const PICTURES = 1_000_020;
const USERS = 10_000;
const PAGE = 24;
const PAGES = [1, 10, 100, 1000];

const id = (n) => `md5((${n})::text)::uuid`;
const user = (n) => id(`-1 - (${n})`);

// Without triggers and foreign keys, and with the indexes made at the end: else this takes an hour.
async function fill(sql) {
  await sql.unsafe(`
    set session_replication_role = replica;
    set maintenance_work_mem = '512MB';
    create temp table again as
      select format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as make,
             format('alter table %s drop constraint %I', conrelid::regclass, conname) as take, 0 as place
        from pg_constraint where conrelid = 'public.image_likes'::regclass and contype = 'p'
      union all
      select pg_get_indexdef(indexrelid), format('drop index %s', indexrelid::regclass), 1
        from pg_index i where indrelid in ('public.images'::regclass, 'public.image_likes'::regclass)
         and not exists (select from pg_constraint c where c.conindid = i.indexrelid);
    do $$ declare s text; begin for s in select take from again loop execute s; end loop; end $$;
    insert into public.users (id) select ${user('n')} from generate_series(0, ${USERS - 1}) n;
    insert into public.images (id, user_id, object_key, prompt, character_name, likes_count, width, height, blurhash, published_at)
      select ${id('n')}, ${user(`n % ${USERS}`)}, 'outputs/' || ${user(`n % ${USERS}`)} || '/' || ${id('n')} || '/original.png',
             'A woman in a red coat on a street in a city, afternoon light', 'Clara', n % 21, 832, 1216, 'LEHV6nWB2yk8pyo0adR*.7kCMdnj',
             timestamptz '2026-01-01' + n * interval '20 seconds'
        from generate_series(0, ${PICTURES - 1}) n;
    insert into public.image_likes (image_id, user_id)
      select ${id('n')}, ${user(`(n * 31 + fan) % ${USERS}`)} from generate_series(0, ${PICTURES - 1}) n, generate_series(1, n % 21) fan;
    do $$ declare s text; begin for s in select make from again order by place loop execute s; end loop; end $$;
    reset session_replication_role;
  `);
  await sql`vacuum analyze`;
}

// What auto_explain told of the last call: the call itself is the last statement that ended, what it touched includes the rest.
async function measured(sql, plans, ask) {
  await sql.unsafe('set auto_explain.log_min_duration = 0');
  plans.length = 0;
  const began = performance.now();
  await ask();
  const ms = performance.now() - began;
  const told = plans.map((text) => JSON.parse(text.slice(text.indexOf('{'))).Plan);
  await sql.unsafe('set auto_explain.log_min_duration = -1');
  const whole = told.find((plan) => plan['Node Type'] === 'Result' && !plan.Plans);
  const nodes = (plan) => [plan, ...(plan.Plans ?? []).flatMap(nodes)];
  const all = told.flatMap(nodes);
  const scans = new Set(all.map((node) => node['Index Name']).filter((name) => name?.startsWith('image')));
  const full = all.find((node) => node['Node Type'].includes('Seq Scan') && node['Relation Name']?.startsWith('image'));
  const by = full ? `all of ${full['Relation Name']}` : [...scans].join(', ');
  return { touched: whole['Shared Hit Blocks'] + whole['Shared Read Blocks'], ms, by, full: Boolean(full) };
}

// Goes from page to page as a reader does, and answers what those of PAGES touched.
async function walk(url, who, order) {
  const plans = [];
  const sql = postgres(url, { max: 1, onnotice: ({ message }) => message.includes('plan:') && plans.push(message) });
  const claims = who === 'authenticated' ? { role: who, sub: (await sql.unsafe(`select ${user(7)} as id`))[0].id } : { role: who };
  await sql.unsafe(`
    load 'auto_explain';
    set auto_explain.log_min_duration = -1;
    set auto_explain.log_analyze = on;
    set auto_explain.log_buffers = on;
    set auto_explain.log_nested_statements = on;
    set auto_explain.log_format = json;
    set auto_explain.log_level = notice;
    set client_min_messages = notice;
    grant set on parameter auto_explain.log_min_duration to anon, authenticated;
    set request.jwt.claims = '${JSON.stringify(claims)}';
    set role ${who};
  `);
  const read = async (after) => {
    const [{ grid }] = await sql`select public.grid(${order}, ${after.likes_count ?? null}, ${after.published_at ?? null}, ${after.id ?? null}, ${PAGE + 1})`;
    return grid;
  };
  // Plans are settled after some calls.
  for (let n = 0; n < 10; n++) await read({});

  const results = [];
  let after = {};
  for (let page = 1; page <= Math.max(...PAGES); page++) {
    const here = after;
    if (PAGES.includes(page)) {
      await read(here);
      results.push({ who, order, page, ...(await measured(sql, plans, () => read(here))) });
    }
    const images = await read(here);
    if (images.length !== PAGE + 1) throw new Error(`page ${page} has ${images.length} pictures`);
    after = images[PAGE - 1];
  }
  await sql.end();
  return results;
}

await inDatabase(async (url) => {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  const began = performance.now();
  await fill(sql);
  const [{ pictures, likes }] = await sql`select (select count(*) from public.images) as pictures, (select count(*) from public.image_likes) as likes`;
  const number = (n) => Number(n).toLocaleString('en');
  console.log(`${number(pictures)} pictures in the grid, ${number(likes)} likes, filled in ${Math.round((performance.now() - began) / 1000)} s\n`);
  await sql.end();

  console.log('reader         order  page  pages touched  time      by');
  let bounded = true;
  for (const who of ['anon', 'authenticated']) {
    for (const order of ['new', 'top']) {
      const results = await walk(url, who, order);
      for (const { page, touched, ms, by } of results) {
        console.log(`${who.padEnd(15)}${order.padEnd(7)}${`${page}`.padStart(4)}${`${touched}`.padStart(15)}  ${`${ms.toFixed(1)} ms`.padEnd(10)}${by}`);
      }
      const [first, last] = [results[0], results.at(-1)];
      if (last.touched > 2 * first.touched + 16 || results.some(({ full }) => full)) bounded = false;
    }
  }
  if (!bounded) {
    console.error('\nA page far down touches more than twice what the first does, or a page reads a whole table.');
    process.exitCode = 1;
  }
});
