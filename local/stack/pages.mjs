// `make web`: the pages as they go to the cloud, in one folder: web/, supabase-js and the settings that they read.

import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PAGES, SUPABASE_JS, configScript, pageWith } from './web.mjs';

const folder = process.argv[2];
const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, API_URL, CLERK_PUBLISHABLE_KEY, CLERK_SCRIPT_URL } = process.env;
const missing = Object.entries({ SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, API_URL }).filter(([, value]) => !value);
if (!folder || missing.length > 0) {
  console.error(`Set ${missing.map(([name]) => name).join(', ') || 'a folder'} first: make web SUPABASE_URL=... SUPABASE_PUBLISHABLE_KEY=... API_URL=...`);
  process.exit(2);
}
if (Boolean(CLERK_PUBLISHABLE_KEY) !== URL.canParse(CLERK_SCRIPT_URL)) {
  console.error('Clerk needs both: CLERK_PUBLISHABLE_KEY=pk_... CLERK_SCRIPT_URL=https://.../clerk.browser.js (docs/OPERATIONS.md).');
  process.exit(2);
}
const clerk = CLERK_PUBLISHABLE_KEY ? { publishableKey: CLERK_PUBLISHABLE_KEY, scriptUrl: CLERK_SCRIPT_URL } : undefined;

await rm(folder, { recursive: true, force: true });
await cp(PAGES, folder, { recursive: true });
for (const name of await readdir(folder)) {
  if (name.endsWith('.html')) await writeFile(join(folder, name), pageWith(clerk, await readFile(join(folder, name), 'utf8')));
}
await mkdir(join(folder, 'vendor'));
await cp(SUPABASE_JS, join(folder, 'vendor/supabase.js'));
await writeFile(
  join(folder, 'config.js'),
  // Hosted Supabase has Realtime, which lets its own users listen; @supabase/lite has none.
  configScript({ supabaseUrl: SUPABASE_URL, supabaseKey: SUPABASE_PUBLISHABLE_KEY, apiUrl: API_URL.replace(/\/$/, ''), clerk, realtime: !clerk }),
);
console.log(`The pages are in ${folder}. The web server must answer /dashboard with dashboard.html, and so on (docs/OPERATIONS.md).`);
