// Supabase on one machine: @supabase/lite, as `lite migration up` and `lite start --no-admin` would run it, with one
// difference. Lite's first request of a process grants everything on every table to every role (hosted Supabase does so before
// our migrations run, and they take it back). So this host makes that request itself and then runs the migrations, which
// may run twice, once more: the column grants hold here as they do in the cloud. Then comes supabase/seed.sql, if there is one.
//
// And hosted Supabase takes the tokens of a third party (Clerk's) at its data API, which lite does not. So they are verified
// here, and go on with the same claims in a token of lite's own. Every other request goes on as it came.
//
//   node lite.mjs <config>       in the folder that has supabase/migrations

import { readFile } from 'node:fs/promises';
import { serve } from '@hono/node-server';
import { applyPendingMigrations, createApi, listMigrationFiles } from '@supabase/lite/cli';
import { SignJWT, createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';

const api = await createApi({ withSupabaseClient: false });
const app = await api.project.local.createApp(process.argv[2], { admin: false });

for (const { filename } of (await applyPendingMigrations(app)).applied) console.log(`applied ${filename}`);
const anyone = { headers: { apikey: app.config.auth.publishable_key } };
await app.fetch(new Request('http://127.0.0.1/rest/v1/users?select=id&limit=1', anyone));
for (const { sql } of await listMigrationFiles(app)) await app.connection.exec(sql);
const seed = await readFile('supabase/seed.sql', 'utf8').catch((error) => (error.code === 'ENOENT' ? '' : Promise.reject(error)));
if (seed) await app.connection.exec(seed);

const { CLERK_ISSUER: issuer, SUPABASE_JWT_SECRET } = process.env;
const clerksKeys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));
const ownKey = new TextEncoder().encode(SUPABASE_JWT_SECRET);

function clerksToken(request) {
  if (!new URL(request.url).pathname.startsWith('/rest/v1/')) return null;
  const token = /^bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
  try {
    return decodeJwt(token).iss === issuer ? token : null;
  } catch {
    return null;
  }
}

async function answer(request) {
  const token = clerksToken(request);
  if (!token) return app.fetch(request);
  const verified = await jwtVerify(token, clerksKeys, { issuer, algorithms: ['RS256'], requiredClaims: ['exp', 'sub'] }).catch((error) => ({ error }));
  // Hosted, the claim `role` is the database's role. No other may come from outside.
  if (verified.payload?.role !== 'authenticated') {
    return Response.json({ code: 'PGRST301', message: verified.error?.message ?? 'the role is not authenticated', details: null, hint: null }, { status: 401 });
  }
  const own = await new SignJWT(verified.payload).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(ownKey);
  const headers = new Headers(request.headers);
  headers.set('authorization', `Bearer ${own}`);
  return app.fetch(new Request(request, { headers }));
}

const server = serve({ fetch: answer, port: app.config.api.port, hostname: '127.0.0.1' });
// Longer than the functions keep a connection: one that closes while a request is on its way looks like a database that fails.
server.keepAliveTimeout = 120_000;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    server.close();
    await app.connection.close();
    process.exit(0);
  });
}
