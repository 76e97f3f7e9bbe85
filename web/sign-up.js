import { Problem, goToSignUp, maxPasswordBytes, minPasswordLength, signUp, skipIfLoggedIn } from '/auth.js';
import {
  checkEmail,
  clearFieldErrors,
  coolDown,
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
const form = $('sign-up');
const { email, password } = form.elements;

const characters = () => [...password.value].length;

function showPasswordLength() {
  const missing = minPasswordLength - characters();
  const hint = $('password-hint');
  hint.classList.toggle('met', missing <= 0);
  if (missing <= 0) hint.textContent = 'Long enough';
  else if (missing === minPasswordLength) hint.textContent = `At least ${minPasswordLength} characters`;
  else hint.textContent = `At least ${minPasswordLength} characters, ${missing} to go`;
}

function checkPassword() {
  if (characters() < minPasswordLength) {
    setFieldError(password, `Please choose a password of at least ${minPasswordLength} characters.`);
    return false;
  }
  if (new TextEncoder().encode(password.value).length > maxPasswordBytes) {
    setFieldError(password, `Please choose a password of at most ${maxPasswordBytes} characters.`);
    return false;
  }
  return true;
}

function show(view) {
  for (const name of ['form', 'sent']) $(`view-${name}`).hidden = name !== view;
}

function showSent(address) {
  $('sent-to').textContent = address;
  showNotice($('resend-status'), '');
  document.title = 'Check your e-mail · Sweetheart';
  show('sent');
  $('sent-heading').focus();
  coolDown($('resend'));
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  clearFieldErrors(form);
  showNotice($('form-problem'), '');
  const fine = [checkEmail(email), checkPassword()];
  if (fine.includes(false)) return focusFirstError(form);

  const address = email.value;
  try {
    await whileBusy(form.querySelector('[type=submit]'), 'Creating…', () => signUp(address, password.value));
    localStorage.setItem('sweetheart.email', address);
    showSent(address);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.code === 'weak_password') {
      setFieldError(password, problem.message);
      password.focus();
    } else {
      showNotice($('form-problem'), problem.message, { bad: true });
    }
  }
});

$('resend').addEventListener('click', () => resend($('resend'), $('sent-to').textContent, $('resend-status')));

$('other-address').addEventListener('click', () => {
  document.title = 'Create your account · Sweetheart';
  show('form');
  email.focus();
});

password.addEventListener('input', showPasswordLength);
letPasswordBeShown($('show-password'), password);
forgetErrorsOnInput(form);
showPasswordLength();

offerOtherWays(form, goToSignUp);
skipIfLoggedIn();
