// What the forms share: errors beside their fields, showing a password, and the button that sends the mail again.

import { goingToGoogle, googleUrl, resendConfirmation, usesClerk } from '/auth.js';

// Supabase sends at most one mail a minute to one address.
const secondsBetweenMails = 60;

// Writes an error below its field and ties it to it; an empty message takes it away.
export function setFieldError(input, message) {
  const error = document.getElementById(`${input.id}-error`);
  error.textContent = message;
  error.hidden = message === '';
  if (message) input.setAttribute('aria-invalid', 'true');
  else input.removeAttribute('aria-invalid');
}

export function clearFieldErrors(form) {
  for (const input of form.querySelectorAll('[aria-invalid]')) setFieldError(input, '');
}

export function focusFirstError(form) {
  form.querySelector('[aria-invalid]')?.focus();
}

// An error goes away as soon as its field is being mended.
export function forgetErrorsOnInput(form) {
  form.addEventListener('input', ({ target }) => {
    if (target.hasAttribute('aria-invalid')) setFieldError(target, '');
  });
}

export function showNotice(notice, message, { bad = false } = {}) {
  notice.textContent = message;
  notice.classList.toggle('bad', bad);
  notice.hidden = message === '';
}

export function checkEmail(input) {
  const { valueMissing, valid } = input.validity;
  if (valid) return true;
  setFieldError(input, valueMissing ? 'Please enter your e-mail address.' : 'Please enter a whole address, such as mia@example.com.');
  return false;
}

export function letPasswordBeShown(button, input) {
  button.addEventListener('click', () => {
    const show = input.type === 'password';
    input.type = show ? 'text' : 'password';
    // "Show password" to a screen reader, of which the eye sees the first word.
    button.firstChild.data = show ? 'Hide' : 'Show';
  });
}

// Holds a button back while its work is under way, so that nothing is sent twice. A disabled button drops the focus: it gets
// it back, or a keyboard would have to start over.
export async function whileBusy(button, label, work) {
  const before = button.textContent;
  const hadFocus = document.activeElement === button;
  button.disabled = true;
  button.textContent = label;
  try {
    return await work();
  } finally {
    button.disabled = false;
    button.textContent = before;
    if (hadFocus && document.activeElement === document.body) button.focus();
  }
}

const coolDowns = new Map();

// Counts down on the button until another mail may be asked for.
export function coolDown(button) {
  button.dataset.label ??= button.textContent;
  const end = Date.now() + secondsBetweenMails * 1000;
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `${button.dataset.label} in ${left} s` : button.dataset.label;
    if (left <= 0) clearInterval(coolDowns.get(button));
  };
  clearInterval(coolDowns.get(button));
  coolDowns.set(button, setInterval(tick, 1000));
  tick();
}

// Sends the confirmation mail again and says how it went.
export async function resend(button, email, notice) {
  try {
    await whileBusy(button, 'Sending…', () => resendConfirmation(email));
    showNotice(notice, `A new link is on its way to ${email}.`);
    coolDown(button);
  } catch (problem) {
    showNotice(notice, problem.message, { bad: true });
  }
}

// The ways in besides the form: Google beside it where the project offers that, Clerk in its place where the pages are set so.
// `goToClerk` leaves for Clerk's page.
export async function offerOtherWays(form, goToClerk) {
  const $ = (id) => document.getElementById(id);
  if (usesClerk) {
    form.hidden = true;
    $('with-clerk').hidden = false;
    $('clerk').addEventListener('click', async () => {
      showNotice($('clerk-problem'), '');
      try {
        await whileBusy($('clerk'), 'One moment…', goToClerk);
      } catch (problem) {
        showNotice($('clerk-problem'), problem.message, { bad: true });
      }
    });
    return;
  }
  const url = await googleUrl();
  if (!url) return;
  $('google').href = url;
  $('google').addEventListener('click', goingToGoogle);
  $('other-ways').hidden = false;
}
