// The mailbox of everybody: shows what Supabase's auth would have sent, so that a person or a browser test clicks the real link.

import { Hono } from 'hono';
import { html } from 'hono/html';
import { page } from './page.mjs';

const LINK = /https?:\/\/[^\s<>"]+/g;

// The text with its addresses to click.
function clickable(text) {
  const links = text.match(LINK) ?? [];
  return text.split(LINK).map((before, i) => html`${before}${links[i] ? html`<a href="${links[i]}">${links[i]}</a>` : ''}`);
}

export function inbox({ log }) {
  const app = new Hono();
  const mails = [];

  app.post('/inbox', async (c) => {
    const { to, subject, text } = await c.req.json();
    mails.unshift({ to, subject, text, links: text.match(LINK) ?? [], received_at: new Date() });
    log(`mail for ${to}: ${subject}`);
    return c.body(null, 204);
  });

  // Newest first.
  app.get('/inbox.json', (c) => {
    const to = c.req.query('to')?.toLowerCase();
    return c.json({ mails: mails.filter((mail) => !to || mail.to.toLowerCase() === to) });
  });

  app.get('/inbox', (c) => {
    const list = mails.map(
      (mail) => html`<article>
        <h2>${mail.subject}</h2>
        <div class="quiet">to ${mail.to}, ${mail.received_at.toLocaleTimeString('en-GB')}</div>
        <p>${clickable(mail.text)}</p>
      </article>`,
    );
    const empty = html`<p class="quiet">No mail yet. Sign up, and the confirmation arrives here. This page looks again by itself.</p>`;
    // A reload would take the focus from whoever is reading, so it stops with the first mail.
    const look = mails.length === 0 ? html`<script>setTimeout(() => location.reload(), 2000)</script>` : '';
    return c.html(page('Inbox', html`<h1>Inbox</h1>${list.length > 0 ? list : empty}${look}`));
  });

  return app;
}
