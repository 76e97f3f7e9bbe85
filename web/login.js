import { Problem, confirmationResult, goToSignIn, logIn, skipIfLoggedIn } from '/auth.js';
import {
  checkEmail,
  clearFieldErrors,
  focusFirstError,
  forgetErrorsOnInput,
  letPasswordBeShown,
  offerOtherWays,
  resend,
  setFieldError,
  showNotice,
  whileBusy,
} from '/form.js';

const $ = (id) => document.getElementById(id);
const form = $('log-in');
const { email, password } = form.elements;

const notes = {
  confirmed: 'Your e-mail is confirmed. You can log in now.',
  'logged-out': 'You are logged out. See you soon.',
  left: 'Your account is deleted. Goodbye, and thank you for having been here.',
  'session-ended': 'You have been logged out. Please log in again.',
};

function checkPassword() {
  if (password.value) return true;
  setFieldError(password, 'Please enter your password.');
  return false;
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  clearFieldErrors(form);
  showNotice($('form-problem'), '');
  showNotice($('resend-status'), '');
  $('unconfirmed').hidden = true;
  const fine = [checkEmail(email), checkPassword()];
  if (fine.includes(false)) return focusFirstError(form);

  try {
    await whileBusy(form.querySelector('[type=submit]'), 'Logging in…', () => logIn(email.value, password.value));
    localStorage.removeItem('sweetheart.email');
    location.replace('/dashboard');
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    $('note').hidden = true;
    showNotice($('form-problem'), problem.message, { bad: true });
    $('unconfirmed').hidden = problem.code !== 'email_not_confirmed';
    if (problem.code === 'invalid_credentials') password.select();
  }
});

$('resend').addEventListener('click', () => {
  if (checkEmail(email)) resend($('resend'), email.value, $('resend-status'));
});

letPasswordBeShown($('show-password'), password);
forgetErrorsOnInput(form);

email.value = localStorage.getItem('sweetheart.email') ?? '';
showNotice($('note'), notes[new URLSearchParams(location.search).get('note')] ?? '');

offerOtherWays(form, goToSignIn);

// A confirmation link may end at the site's root, which leads here: the answer it brought belongs to /redirect.
if (confirmationResult()) location.replace(`/redirect${location.hash}`);
else skipIfLoggedIn();
