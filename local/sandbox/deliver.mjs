// Posts a vendor's message until it arrives, as n8n, Replicate and Stripe do: again after a failure, ever later.

import { setTimeout as delay } from 'node:timers/promises';

const LONGEST_PAUSE_MS = 30_000;

const unreachable = (status) => status === 0 || status === 429 || status >= 500;

// `headers` may be a function, for those that change from try to try. `failed` says which status is worth another try; nine, with
// the pauses between them, take about a minute. `tried` hears of every status. Answers how it ended: the last status (0 when no answer came) and how often it was tried.
export async function deliver(url, { headers, body, stopped, most = 9, failed = unreachable, tried = () => {} }) {
  for (let tries = 1; ; tries += 1) {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(30_000)]);
    const own = typeof headers === 'function' ? headers() : headers;
    const request = { method: 'POST', headers: { 'content-type': 'application/json', ...own }, body, signal, redirect: 'manual' };
    const status = await fetch(url, request).then(
      async (response) => {
        await response.arrayBuffer();
        return response.status;
      },
      () => 0,
    );
    tried(status);
    if (!failed(status) || tries === most || stopped.aborted) return { status, tries };
    await delay(Math.min(250 * 2 ** (tries - 1), LONGEST_PAUSE_MS), undefined, { signal: stopped }).catch(() => {});
  }
}
