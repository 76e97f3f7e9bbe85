// `make web`: the pages as they go to the cloud, in one folder: web/, supabase-js and the settings that they read.

import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PAGES, SUPABASE_JS, configScript } from './web.mjs';

const folder = process.argv[2];
const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, API_URL } = process.env;
const missing = Object.entries({ SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, API_URL }).filter(([, value]) => !value);
if (!folder || missing.length > 0) {
  console.error(`Set ${missing.map(([name]) => name).join(', ') || 'a folder'} first: make web SUPABASE_URL=... SUPABASE_PUBLISHABLE_KEY=... API_URL=...`);
  process.exit(2);
}

await rm(folder, { recursive: true, force: true });
await cp(PAGES, folder, { recursive: true });
await mkdir(join(folder, 'vendor'));
await cp(SUPABASE_JS, join(folder, 'vendor/supabase.js'));
await writeFile(
  join(folder, 'config.js'),
  // Hosted Supabase has Realtime; @supabase/lite has none.
  configScript({ supabaseUrl: SUPABASE_URL, supabaseKey: SUPABASE_PUBLISHABLE_KEY, apiUrl: API_URL.replace(/\/$/, ''), realtime: true }),
);
console.log(`The pages are in ${folder}. The web server must answer /dashboard with dashboard.html, and so on (docs/OPERATIONS.md).`);
