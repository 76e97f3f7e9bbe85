// What the pages of somebody who is logged in share: the way out, what is read out, and words for what went wrong.

import { logOut, onLogOut } from '/auth.js';

const $ = (id) => document.getElementById(id);

let leaving = false;

export async function logOutAndLeave(note) {
  leaving = true;
  await logOut();
  location.replace(`/login?note=${note}`);
}

// Whether a request failed because nobody is logged in any more; then this page is left.
export function hasEnded({ code }) {
  if (code !== 'unauthenticated') return false;
  logOutAndLeave('session-ended');
  return true;
}

$('log-out').addEventListener('click', () => {
  $('log-out').disabled = true;
  sessionStorage.clear();
  logOutAndLeave('logged-out');
});

// In another tab, or because the session could not be refreshed: it is gone already, and by now there may be a newer one that
// is not ours to end. What was typed stays for when the same person is back.
onLogOut(() => {
  if (!leaving) location.replace('/login?note=session-ended');
});

// "Back" may bring a page from the browser's memory: after a log-out with her picture on it, after a checkout with old numbers
// and a button that still waits.
window.addEventListener('pageshow', ({ persisted }) => {
  if (persisted) location.reload();
});

export function announce(message) {
  $('announcer').textContent = message;
}

const words = {
  workflow_unavailable: 'Our studio cannot be reached at the moment. What you wrote is kept: please try again shortly.',
  database_unavailable: 'We cannot get at your data at the moment. Nothing is lost: please try again shortly.',
  storage_unavailable: 'We cannot get at your pictures at the moment. Nothing is lost: please try again shortly.',
  stripe_unavailable: 'The payment service cannot be reached at the moment. Nothing was charged: please try again shortly.',
  invalid_fields: 'Please have another look at what is marked.',
  no_billing_account: 'There is nothing to manage yet: nothing was bought with this account.',
  already_started: 'It has started and can no longer be cancelled. If it fails, your credits come back.',
  already_finished: 'It is finished and can no longer be cancelled.',
  too_many_uploads: 'Too many of your files are still on their way. Please wait a few minutes.',
  already_subscribed: 'You are subscribed already, perhaps from another tab. Nothing was bought twice.',
};

export function wordsFor({ code, message, requestId }) {
  if (words[code]) return words[code];
  return requestId ? `${message} If it keeps happening, tell us this number: ${requestId}` : message;
}
