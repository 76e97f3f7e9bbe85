// Stands in for a Clerk application (https://clerk.com/docs/reference/frontend-api): its keys, the part of its Frontend API that
// clerk.browser.js beside this file uses, and the page where people sign in. Everybody who gives an address is let in, and the
// same address is always the same person.
//
//   POST /sandbox/clerk/token      {…claims}: a session token of somebody new with these claims in place of the usual ones;
//                                  null leaves one out. Answers {jwt}.

import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { html } from 'hono/html';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import { page } from './page.mjs';

const TOKEN_SECONDS = 60;
const SKEW_SECONDS = 10;
const SCRIPT = new URL('clerk.browser.js', import.meta.url);

export const clerkScript = (url) => `${url}/npm/@clerk/clerk-js@5/dist/clerk.browser.js`;
// Holds the Frontend API's host, as the real ones do.
export const clerkPublishableKey = (url) => `pk_test_${Buffer.from(`${new URL(url).host}$`).toString('base64')}`;

const newId = (prefix) => `${prefix}_${randomUUID().replaceAll('-', '')}`;
const userId = (email) => `user_${createHash('sha256').update(email.toLowerCase()).digest('hex').slice(0, 27)}`;

// `url` is where this server answers, and so the issuer; `webUrl` the pages that people come from.
export async function clerk({ url, webUrl, log }) {
  const app = new Hono();
  const { publicKey, privateKey } = await generateKeyPair('RS256', { modulusLength: 2048 });
  const kid = newId('ins');
  const jwk = { ...(await exportJWK(publicKey)), use: 'sig', alg: 'RS256', kid };
  // By the browser's id: {id, user}
  const sessions = new Map();

  // Version 2 of the claims, with the two that an application adds (docs/OPERATIONS.md).
  function sign(changed) {
    const now = Math.floor(Date.now() / 1000);
    const usual = { azp: webUrl, exp: now + TOKEN_SECONDS, fva: [0, -1], iat: now, iss: url, jti: randomUUID(), nbf: now - SKEW_SECONDS, sid: newId('sess'), sts: 'active', sub: newId('user'), v: 2, role: 'authenticated' };
    const claims = Object.fromEntries(Object.entries({ ...usual, ...changed }).filter(([, value]) => value !== null));
    return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', cat: 'cl_B7d4PD111AAA', kid, typ: 'JWT' }).sign(privateKey);
  }

  app.get('/.well-known/jwks.json', (c) => c.json({ keys: [jwk] }));
  app.get(new URL(clerkScript(url)).pathname, async (c) => c.body(await readFile(SCRIPT, 'utf8'), 200, { 'content-type': 'text/javascript; charset=utf-8', 'access-control-allow-origin': '*' }));
  app.post('/sandbox/clerk/token', async (c) => c.json({ jwt: await sign(await c.req.json()) }));

  // The page. It sends people back with the id of their browser, as applications in development do.
  const safe = (link) => (URL.canParse(link) && new URL(link).origin === webUrl ? new URL(link) : new URL(webUrl));
  app.get('/clerk/sign-in', (c) =>
    c.html(
      page(
        'Sign in by Clerk',
        html`<h1>Sign in</h1>
          <p class="quiet">Any address will do: this is Clerk's page on this machine. The same address is the same person.</p>
          <form method="post">
            <input type="hidden" name="redirect_url" value="${c.req.query('redirect_url')}" />
            <p><label>E-mail <input name="email" type="email" required /></label> <button>Continue</button></p>
          </form>`,
      ),
    ),
  );
  app.post('/clerk/sign-in', async (c) => {
    const { email, redirect_url } = await c.req.parseBody();
    const browser = newId('dvb');
    sessions.set(browser, { id: newId('sess'), user: { id: userId(email), email } });
    log(`clerk: ${userId(email)} signed in`);
    const back = safe(redirect_url);
    back.searchParams.set('__clerk_db_jwt', browser);
    return c.redirect(back.href, 303);
  });

  // The Frontend API, of which clerk-js knows the wire.
  app.use('/v1/client/*', cors({ origin: webUrl }));
  const mine = (c) => sessions.get(c.req.query('__clerk_db_jwt'));
  app.get('/v1/client', (c) => c.json({ response: { sessions: mine(c) ? [mine(c)] : [] } }));
  app.delete('/v1/client', (c) => {
    sessions.delete(c.req.query('__clerk_db_jwt'));
    return c.json({ response: null });
  });
  app.post('/v1/client/sessions/:id/tokens', async (c) => {
    const session = mine(c);
    if (session?.id !== c.req.param('id')) return c.json({ errors: [{ code: 'resource_not_found', message: 'Session not found' }] }, 404);
    const { id, user } = session;
    return c.json({ jwt: await sign({ azp: c.req.header('origin'), sid: id, sub: user.id, email: user.email }) });
  });

  return app;
}
