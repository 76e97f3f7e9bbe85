// What @supabase/lite runs with: infra/supabase/config.toml, and on top of it what differs from stack to stack, from the
// environment that supabase.mjs sets. Mails go to the sandbox's inbox.

import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';

const { LITE_PORT, LITE_DRIVER, LITE_DATABASE, SITE_URL, INBOX_URL } = process.env;
const file = parse(readFileSync(new URL('../../infra/supabase/config.toml', import.meta.url), 'utf8'));

async function send({ to, subject, text }) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(INBOX_URL, { method: 'POST', headers, body: JSON.stringify({ to, subject, text }), signal: AbortSignal.timeout(5_000) });
  if (!response.ok) throw new Error(`the inbox answered ${response.status}`);
}

export default {
  ...file,
  api: { ...file.api, port: Number(LITE_PORT) },
  db: { ...file.db, driver: LITE_DRIVER, url: LITE_DATABASE },
  auth: {
    ...file.auth,
    // lite sends every confirmation to the site's URL and leaves the redirect_to of a sign-up alone; Supabase honours it.
    // The link in the mail keeps this URL's origin only.
    site_url: `${SITE_URL}/redirect.html`,
    additional_redirect_urls: [`${SITE_URL}/redirect`],
  },
  options: { drivers: { email: { send } } },
};
