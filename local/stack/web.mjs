// Serves the pages of web/, the settings and the library that they need, and passes Supabase's paths on to lite, so that the
// link in a mail leads to the site.

import { readFile } from 'node:fs/promises';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Hono } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import { html } from 'hono/html';
import { proxy } from 'hono/proxy';
import { clerkPublishableKey, clerkScript } from '../sandbox/clerk.mjs';
import { listen } from './listen.mjs';

export const PAGES = fileURLToPath(new URL('../../web', import.meta.url));
// The package's main file lies in dist/, beside umd/.
export const SUPABASE_JS = join(dirname(fileURLToPath(import.meta.resolve('@supabase/supabase-js'))), 'umd/supabase.js');
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.webp': 'image/webp',
  '.ico': 'image/x-icon',
};

const notFound = html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Not found · Sweetheart</title>
    <style>
      :root { color-scheme: light dark; }
      body { display: grid; place-content: center; min-height: 90vh; margin: 0 1.5rem; font: 1.1rem/1.6 system-ui, sans-serif; text-align: center; }
    </style>
  </head>
  <body>
    <h1>There is no such page</h1>
    <p><a href="/login">Go to the log-in page</a></p>
  </body>
</html>`;

// The settings of the pages, as the script that they load.
export const configScript = (config) => `window.SWEETHEART = ${JSON.stringify(config)};\n`;

// A page as it is served: its Content-Security-Policy lets scripts in from us alone, and Clerk's with its timer where `clerk` is
// configured.
export const pageWith = (clerk, text) => (clerk ? text.replaceAll("script-src 'self'", `script-src 'self' ${new URL(clerk.scriptUrl).origin}; worker-src blob:`) : text);

// Answers {stop} once it listens.
export async function startWeb({ port, urls, keys }) {
  const app = new Hono();

  app.use('*', async (c, next) => {
    // One origin: sessions live in its storage, and the API trusts it alone.
    const { hostname, pathname, search } = new URL(c.req.url);
    if (c.req.method === 'GET' && hostname === 'localhost') return c.redirect(urls.web + pathname + search);
    await next();
    c.header('cache-control', 'no-store');
  });

  const pass = (c) => {
    const { pathname, search } = new URL(c.req.url);
    return proxy(urls.supabase + pathname + search, { raw: c.req.raw, redirect: 'manual' });
  };
  app.all('/auth/v1/*', pass);
  app.all('/rest/v1/*', pass);

  // Who knows the people that sign in: Supabase, or the sandbox's Clerk for a browser that went to /identity/clerk.
  const clerkOf = (c) => (getCookie(c, 'identity') === 'clerk' ? { publishableKey: clerkPublishableKey(urls.sandbox), scriptUrl: clerkScript(urls.sandbox) } : undefined);
  app.get('/identity/:provider', (c) => {
    setCookie(c, 'identity', c.req.param('provider'), { httpOnly: true, sameSite: 'Lax' });
    return c.redirect('/login');
  });

  app.get('/config.js', (c) => {
    const config = { supabaseUrl: urls.web, supabaseKey: keys.supabasePublishable, apiUrl: urls.functions, clerk: clerkOf(c) };
    return c.body(configScript(config), 200, { 'content-type': TYPES['.js'] });
  });
  app.get('/vendor/supabase.js', async (c) => c.body(await readFile(SUPABASE_JS), 200, { 'content-type': TYPES['.js'] }));
  app.get('/', (c) => c.redirect('/login'));

  app.get('*', async (c) => {
    const path = normalize(c.req.path);
    const type = extname(path) || '.html';
    const file = join(PAGES, extname(path) ? path : `${path}.html`);
    const bytes = file.startsWith(PAGES) && type in TYPES ? await readFile(file).catch(() => undefined) : undefined;
    if (!bytes) return c.html(notFound, 404);
    return c.body(type === '.html' ? pageWith(clerkOf(c), bytes.toString()) : bytes, 200, { 'content-type': TYPES[type] });
  });
  app.notFound((c) => c.html(notFound, 404));

  return listen(app, port);
}
