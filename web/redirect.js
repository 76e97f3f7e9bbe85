// Where the link in the confirmation mail ends: Supabase has confirmed the address, or says why not.

import { confirmationResult } from '/auth.js';
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

form.addEventListener('submit', (event) => {
  event.preventDefault();
  clearFieldErrors(form);
  showNotice($('resend-status'), '');
  if (!checkEmail(email)) return focusFirstError(form);
  resend($('resend'), email.value, $('resend-status'));
});
forgetErrorsOnInput(form);

const result = confirmationResult();
// The fragment carries a session: it must not stay in the address bar or the history.
history.replaceState(null, '', location.pathname);

if (!result) location.replace('/login');
else if (result.confirmed) showConfirmed();
else showFailed(result.code);
