// What all the tests share: the local parts (local/stack), and a browser.

import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

// The packages are those of local/.
const require = createRequire(join(ROOT, 'local/package.json'));
const { chromium } = require('playwright-core');
export const axeSource = require('axe-core').source;

async function startStack() {
  const child = spawn(process.execPath, ['local/stack/main.mjs', 'test', '--database=embedded'], {
    cwd: ROOT,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const line = new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
  const started = await Promise.race([line, exited]);
  if (typeof started !== 'string') throw new Error(`the local parts ended with ${started} before they were ready`);
  return {
    ...JSON.parse(started),
    async stop() {
      child.stdin.end();
      await exited;
    },
  };
}

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

const stack = await startStack();
after(() => stack.stop());
const browser = await chromium.launch({ executablePath: await chromiumPath(), args: FLAGS });
after(() => browser.close());

export const { web, sandbox } = stack.urls;
export const api = stack.urls.functions;
export const publishableKey = stack.settings.SUPABASE_PUBLISHABLE_KEY;
export const newContext = (options) => browser.newContext({ baseURL: web, locale: 'en-GB', ...options });

// What goes wrong next for requests that mention `only`.
export async function arm(fault, only, times = 1) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${sandbox}/sandbox/next`, { method: 'PUT', headers, body: JSON.stringify({ fault, only, times }) });
  if (!response.ok) throw new Error(`the sandbox does not know how to fail like that: ${await response.text()}`);
}
