// How a picture that is being made stands, in words.

import { credits } from '/money.js';

// A job moves on, never back: an older answer must not paint over a newer one.
export const order = { pending: 0, queued: 1, processing: 2, completed: 3, failed: 3, cancelled: 3 };
export const isOpen = ({ status }) => order[status] < 3;

const standings = { pending: 'Waiting for its turn', queued: 'Waiting for its turn', processing: 'Being made', completed: 'Ready', failed: 'Not made' };

export function standingOf({ status, progress, cost_credits: cost }) {
  if (status === 'cancelled') return `Cancelled. ${credits(cost)} ${cost === 1 ? 'is' : 'are'} back.`;
  return status === 'processing' && progress ? `Being made, ${progress} %` : standings[status];
}

export const short = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);
