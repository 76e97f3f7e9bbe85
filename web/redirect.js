// Where the link in the confirmation mail ends: Supabase has confirmed the address, or says why not. And the way back from Google.

import { confirmationResult, googleResult } from '/auth.js';
import { checkEmail, clearFieldErrors, focusFirstError, forgetErrorsOnInput, resend, showNotice } from '/form.js';

// Time to read one line; the button does not make anybody wait.
const readingTimeMs = 2500;

const $ = (id) => document.getElementById(id);
const form = $('new-link');
const { email } = form.elements;

function showConfirmed() {
  document.title = 'Your e-mail is confirmed · Sweetheart';
  $('view-confirmed').hidden = false;
  $('confirmed-heading').focus();
  setTimeout(() => location.replace('/login?note=confirmed'), readingTimeMs);
}

function showFailed(code) {
  document.title = 'This link no longer works · Sweetheart';
  $('failed-reason').textContent =
    code === 'otp_expired'
      ? 'It has expired, or it has been used already.'
      : 'We could not confirm your address with it.';
  email.value = localStorage.getItem('sweetheart.email') ?? '';
  $('view-failed').hidden = false;
  $('failed-heading').focus();
}

function showRefused({ code, reason }) {
  document.title = 'Google did not sign you in · Sweetheart';
  $('refused-reason').textContent =
    code === 'access_denied' ? 'You did not agree at Google. Nothing was changed.' : (reason ?? 'It did not say why. Please try again.');
  $('view-refused').hidden = false;
  $('refused-heading').focus();
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  clearFieldErrors(form);
  showNotice($('resend-status'), '');
  if (!checkEmail(email)) return focusFirstError(form);
  resend($('resend'), email.value, $('resend-status'));
});
forgetErrorsOnInput(form);

const confirmation = confirmationResult();
const google = googleResult();
// The fragment carries a session: it must not stay in the address bar or the history.
history.replaceState(null, '', location.pathname);

const back = await google;
if (back?.signedIn) location.replace('/dashboard');
else if (back) showRefused(back);
else if (!confirmation) location.replace('/login');
else if (confirmation.confirmed) showConfirmed();
else showFailed(confirmation.code);
