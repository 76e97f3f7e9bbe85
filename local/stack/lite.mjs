// Supabase on one machine: @supabase/lite, as `lite migration up` and `lite start --no-admin` would run it, with one
// difference. Lite's first request of a process grants everything on every table to every role (hosted Supabase does so before
// our migrations run, and they take it back). So this host makes that request itself and then runs the migrations, which
// may run twice, once more: the column grants hold here as they do in the cloud. Then comes supabase/seed.sql, if there is one.
//
//   node lite.mjs <config>       in the folder that has supabase/migrations

import { readFile } from 'node:fs/promises';
import { serve } from '@hono/node-server';
import { applyPendingMigrations, createApi, listMigrationFiles } from '@supabase/lite/cli';

const api = await createApi({ withSupabaseClient: false });
const app = await api.project.local.createApp(process.argv[2], { admin: false });

for (const { filename } of (await applyPendingMigrations(app)).applied) console.log(`applied ${filename}`);
const anyone = { headers: { apikey: app.config.auth.publishable_key } };
await app.fetch(new Request('http://127.0.0.1/rest/v1/users?select=id&limit=1', anyone));
for (const { sql } of await listMigrationFiles(app)) await app.connection.exec(sql);
const seed = await readFile('supabase/seed.sql', 'utf8').catch((error) => (error.code === 'ENOENT' ? '' : Promise.reject(error)));
if (seed) await app.connection.exec(seed);

const server = serve({ fetch: (request) => app.fetch(request), port: app.config.api.port, hostname: '127.0.0.1' });
// Longer than the functions keep a connection: one that closes while a request is on its way looks like a database that fails.
server.keepAliveTimeout = 120_000;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    server.close();
    await app.connection.close();
    process.exit(0);
  });
}
