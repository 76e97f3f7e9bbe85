// What all the tests share: the local parts, which local/stack has started, and a browser.

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

// The packages are those of local/.
const require = createRequire(join(ROOT, 'local/package.json'));
const { chromium } = require('playwright-core');
export const axeSource = require('axe-core').source;

function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; run the tests by \`make test-browser\`, which starts the parts that they need`);
  return value;
}

export const web = setting('WEB_URL');
export const sandbox = setting('SANDBOX_URL');
export const api = setting('FUNCTIONS_URL');
export const publishableKey = setting('SUPABASE_PUBLISHABLE_KEY');

// A Chromium on PATH, else the one that comes as a package.
async function chromiumPath() {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, 'chromium');
    const found = await access(path, constants.X_OK).then(() => true, () => false);
    if (found) return path;
  }
  const { default: packaged } = await import(require.resolve('@sparticuz/chromium'));
  return (packaged.default ?? packaged).executablePath();
}

const browser = await chromium.launch({ executablePath: await chromiumPath(), args: FLAGS });
after(() => browser.close());

export const newContext = (options) => browser.newContext({ baseURL: web, locale: 'en-GB', ...options });

// What goes wrong next for requests that mention `only`.
export async function arm(fault, only, times = 1) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${sandbox}/sandbox/next`, { method: 'PUT', headers, body: JSON.stringify({ fault, only, times }) });
  if (!response.ok) throw new Error(`the sandbox does not know how to fail like that: ${await response.text()}`);
}
