// Posts a vendor's message until it arrives, as n8n and Replicate do: again after 5xx, 429 and lost connections, ever later.

import { setTimeout as delay } from 'node:timers/promises';

const TRIES = 9; // with the pauses between them about a minute

// Answers how it ended: the last status (0 when no answer came) and how often it was tried.
export async function deliver(url, { headers, body, stopped }) {
  for (let tries = 1; ; tries += 1) {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(30_000)]);
    const request = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body, signal, redirect: 'manual' };
    const status = await fetch(url, request).then(
      async (response) => {
        await response.arrayBuffer();
        return response.status;
      },
      () => 0,
    );
    const again = status === 0 || status === 429 || status >= 500;
    if (!again || tries === TRIES || stopped.aborted) return { status, tries };
    await delay(250 * 2 ** (tries - 1), undefined, { signal: stopped }).catch(() => {});
  }
}
