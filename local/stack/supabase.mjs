// Supabase's auth and PostgREST by @supabase/lite, with our migrations, on Postgres in WASM (PGlite) or on a real server.

import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitUntil } from './process.mjs';

const INFRA = fileURLToPath(new URL('../../infra', import.meta.url));
// lite reads supabase/migrations below the folder in which it runs, and takes its config relative to that.
const CONFIG = relative(INFRA, fileURLToPath(new URL('lite.config.mjs', import.meta.url)));
const LITE = fileURLToPath(new URL('lite.mjs', import.meta.url));

// `database` is {driver, url}; `clerkIssuer` whose tokens are taken, too.
export async function startSupabase({ port, database, urls, keys, clerkIssuer, programs, log, stopped }) {
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    DO_NOT_TRACK: '1',
    LITE_PORT: `${port}`,
    LITE_DRIVER: database.driver,
    LITE_DATABASE: database.url,
    SITE_URL: urls.web,
    INBOX_URL: `${urls.sandbox}/inbox`,
    SUPABASE_JWT_SECRET: keys.supabaseJwt,
    SUPABASE_PUBLISHABLE_KEY: keys.supabasePublishable,
    SUPABASE_SECRET_KEY: keys.supabaseSecret,
    CLERK_ISSUER: clerkIssuer,
  };
  const options = { cwd: INFRA, env, log };
  const program = programs.start(process.execPath, [LITE, CONFIG], options);
  const answers = () => fetch(`${urls.supabase}/auth/v1/health`, { headers: { apikey: keys.supabasePublishable } }).then((response) => response.ok);
  await waitUntil(`lite did not answer at ${urls.supabase}`, answers, { seconds: 120, stopped, program });
  return { program, stop: () => program.stop() };
}
