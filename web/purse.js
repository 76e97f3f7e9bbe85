// What a picture can be made of, what it costs, and what she has: the answer of GET /generation-options, and her credits as every
// later answer tells them.

import { wordsFor } from '/account.js';
import { apiFetch } from '/auth.js';
import { credits } from '/money.js';

const listeners = [];

let asked = 0;
let shown = 0;

export let options = null;

// Calls back when options or credits have changed.
export const onOptions = (listener) => listeners.push(listener);

function tell(changed) {
  options = changed;
  document.getElementById('credits').textContent = credits(options.credits);
  for (const listener of listeners) listener();
}

export async function askOptions() {
  asked += 1;
  const turn = asked;
  const answer = await apiFetch('/generation-options');
  // An older answer must not paint over a newer one.
  if (turn < shown) return;
  shown = turn;
  tell(answer);
}

// What an answer said about her credits is newer than what is still on its way.
export function setCredits(count) {
  asked += 1;
  shown = asked;
  tell({ ...options, credits: count });
}

const clock = (time) => time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

export const missingWords = (cost, have) =>
  `This costs ${credits(cost)}, and you have ${credits(have)}: ${credits(cost - have)} more ${cost - have === 1 ? 'is' : 'are'} needed.`;

// Why something was not done, in a sentence or two.
export function reasonOf(problem) {
  const { code, cost, credits: have, errors, retryAfter } = problem;
  if (code === 'insufficient_credits') return missingWords(cost, have);
  if (code === 'rate_limited') {
    // The next whole minute, so that it is true.
    return `That is all for this hour. You can make the next picture at ${clock(new Date(Date.now() + retryAfter * 1000 + 59_999))}.`;
  }
  const gone = errors.find((error) => error.code === 'unknown')?.pointer;
  if (gone === '#/input_asset_id') return 'The upload that it starts from is no longer there. Please choose another.';
  if (gone === '#/influencer_id') return 'Your sweetheart is no longer as she was. Please load this page again.';
  if (gone) return 'What you chose is not offered any more. Please load this page again.';
  return wordsFor(problem);
}
