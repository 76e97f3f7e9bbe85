// The sandbox: stand-ins for the vendors whose clouds are not on this machine, one file each, behind one HTTP server, with a
// home page from which a person decides what goes wrong next.

import { join } from 'node:path';
import { Hono } from 'hono';
import { html } from 'hono/html';
import { listen } from '../stack/listen.mjs';
import { clerk } from './clerk.mjs';
import { fal } from './fal.mjs';
import { FAULTS, Faults } from './faults.mjs';
import { inbox } from './inbox.mjs';
import { n8n } from './n8n.mjs';
import { page } from './page.mjs';
import { pictures } from './pictures.mjs';
import { replicate } from './replicate.mjs';
import { stripe } from './stripe.mjs';

function home({ faults, webUrl }) {
  const app = new Hono();

  app.get('/', (c) => {
    const switches = Object.entries(FAULTS).map(
      ([fault, meaning]) => html`<li class="switch">
        <form method="post" action="/sandbox/next">
          <span>${meaning}</span><button name="fault" value="${fault}" aria-label="Next: ${meaning}">Next</button>
        </form>
      </li>`,
    );
    const armed = faults.armed().map(({ fault, times, only }) => html`<li>${FAULTS[fault]}${times > 1 ? html`, ${times} times` : ''}${only ? html`, for “${only}”` : ''}</li>`);
    return c.html(
      page(
        'Home',
        html`<h1>The studio's vendors, on this machine</h1>
          <p>
            n8n, Replicate, fal and Stripe answer here as they do in their clouds. Pictures are drawn instead of rendered, and no money moves: what
            was bought, and what time and banks do to it, is on <a href="/stripe">Stripe's page</a>. Mails that Supabase would send lie in the
            <a href="/inbox">inbox</a>. The app itself is at <a href="${webUrl}/sign-up">${webUrl}/sign-up</a>.
          </p>
          <p>
            Who signs in is known by Supabase. In this browser it may be <a href="${webUrl}/identity/clerk">Clerk</a> instead, or
            <a href="${webUrl}/identity/supabase">Supabase</a> again.
          </p>
          <h2>What goes wrong next</h2>
          <p class="quiet">Each strikes once, at the next occasion.</p>
          ${armed.length > 0
            ? html`<p>Waiting to strike:</p><ul>${armed}</ul><form method="post" action="/sandbox/next"><button name="fault" value="">Nothing after all</button></form>`
            : ''}
          <ul class="switches">${switches}</ul>`,
      ),
    );
  });

  app.get('/sandbox/next', (c) => c.json({ armed: faults.armed() }));
  app.put('/sandbox/next', async (c) => {
    try {
      faults.arm(await c.req.json());
    } catch (error) {
      return c.json({ error: error.message }, 400);
    }
    return c.json({ armed: faults.armed() });
  });
  app.delete('/sandbox/next', (c) => {
    faults.clear();
    return c.body(null, 204);
  });
  // The same for HTML forms, which cannot PUT or DELETE.
  app.post('/sandbox/next', async (c) => {
    const { fault } = await c.req.parseBody();
    if (fault in FAULTS) faults.arm({ fault });
    else faults.clear();
    return c.redirect('/', 303);
  });

  return app;
}

// `replicateKeys` is {token, webhookSecret}, `stripeKeys` {secretKey, webhookSecret}; `keep` a folder that holds what Stripe knows
// over a restart, if any. Answers {stop()} once it listens.
export async function startSandbox({ port, webUrl, n8nWebhookSecret, replicateKeys, falKey, predictionMs, stripeKeys, stripeWebhookUrl, keep, log }) {
  const url = `http://127.0.0.1:${port}`;
  const faults = new Faults();
  const stopping = new AbortController();
  const stopped = stopping.signal;

  const app = new Hono();
  app.route('/', home({ faults, webUrl }));
  app.route('/', inbox({ log }));
  app.route('/', await clerk({ url, webUrl, log }));
  app.route('/', n8n({ faults, secret: n8nWebhookSecret, replicate: { url, token: replicateKeys.token }, stopped, log }));
  const { app: stripeApp, save } = await stripe({ faults, url, ...stripeKeys, webhookUrl: stripeWebhookUrl, keep: keep && join(keep, 'stripe.json'), stopped, log });
  app.route('/', stripeApp);
  const drawn = pictures({ faults, url, stopped, log });
  app.route('/', drawn.app);
  app.route('/', replicate({ faults, url, ...replicateKeys, predictionMs, pictures: drawn, stopped, log }));
  app.route('/', fal({ faults, url, key: falKey, predictionMs, pictures: drawn, stopped, log }));

  const server = await listen(app, port);
  return {
    stop() {
      stopping.abort();
      return Promise.all([server.stop(), save()]);
    },
  };
}
