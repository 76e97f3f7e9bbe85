// The studio: what she asks for and what it costs. Her uploads are starts.js's, her pictures jobs.js's.

import { announce, hasEnded } from '/account.js';
import { apiFetch, listen, requireSession } from '/auth.js';
import { clearFieldErrors, focusFirstError, forgetErrorsOnInput, setFieldError, showNotice, whileBusy } from '/form.js';
import { addJob, loadJobs, newsCame, setListening } from '/jobs.js';
import { credits } from '/money.js';
import { askOptions, missingWords, onOptions, options, reasonOf } from '/purse.js';
import { chosenStart, resumeChecks, uploadsUnderWay } from '/starts.js';

const longestPrompt = 1000;

const $ = (id) => document.getElementById(id);
const views = ['loading', 'problem', 'studio'];
const form = $('wish');

let draftKey = null;

function show(view) {
  for (const name of views) $(`view-${name}`).hidden = name !== view;
  $('purse').setAttribute('aria-busy', String(view === 'loading'));
  $('purse').hidden = view === 'problem';
}

/* What there is to choose, and what it costs */

function fillSelect(select, list) {
  const chosen = select.value;
  select.replaceChildren(...list.map(({ id, name }) => new Option(name, id)));
  if (list.some(({ id }) => id === chosen)) select.value = chosen;
}

function typeCard({ id, name, cost_credits: cost }) {
  const card = $('type').content.cloneNode(true);
  card.querySelector('input').value = id;
  card.querySelector('.type-name').textContent = name;
  card.querySelector('.hint').textContent = credits(cost);
  return card;
}

let offered = '';

function showChoices() {
  const { models, poses, scenes, types } = options;
  const wanted = JSON.stringify([models, poses, scenes, types]);
  if (wanted === offered) return;
  offered = wanted;
  fillSelect($('model'), models);
  fillSelect($('pose'), poses);
  fillSelect($('scene'), scenes);
  const chosen = form.elements.generation_type?.value;
  $('types').replaceChildren(...types.map(typeCard));
  const radios = [...document.getElementsByName('generation_type')];
  const checked = radios.find(({ value }) => value === chosen) ?? radios[0];
  if (checked) checked.checked = true;
}

let busy = false;

const chosenType = () => options.types.find(({ id }) => id === form.elements.generation_type?.value);

function showCost() {
  const type = chosenType();
  const have = options.credits;
  $('submit').disabled = busy || !type;
  if (!type) return ($('cost-words').textContent = 'Nothing can be made at the moment. Please come back later.');
  const cost = type.cost_credits;
  const left = have - cost;
  $('cost-words').textContent =
    left >= 0 ? `This costs ${credits(cost)}. You have ${credits(have)}; ${left} ${left === 1 ? 'is' : 'are'} left afterwards.` : missingWords(cost, have);
  $('buy').hidden = left >= 0;
  for (const name of ['notice', 'bad']) $('cost').classList.toggle(name, left < 0);
}

onOptions(() => {
  showChoices();
  showCost();
});
$('types').addEventListener('change', showCost);

/* The prompt */

// The server refuses control characters, and a line break is one: pasted lines become one.
const inOneLine = (text) => text.replace(/[\t\n\v\f\r\u0085]+/g, ' ');

// Counts as the server does: code points of what is left after trimming and composing.
const count = (text) => [...inOneLine(text).trim().normalize('NFC')].length;

function showCount() {
  const used = count($('prompt').value);
  $('prompt-count').textContent = `${used} / ${longestPrompt}`;
  $('prompt-count').classList.toggle('over', used > longestPrompt);
}

$('prompt').addEventListener('input', () => {
  showCount();
  sessionStorage.setItem(draftKey, $('prompt').value);
});
forgetErrorsOnInput(form);

/* Asking for it */

// What was asked for and not answered: the same again is the same request, and makes one picture.
let unanswered = null;

function keyFor(wish) {
  const text = JSON.stringify(wish);
  if (unanswered?.text !== text) unanswered = { text, key: crypto.randomUUID() };
  return unanswered.key;
}

function showRefusalWords(words) {
  showNotice($('refusal'), words, { bad: true });
  $('refusal').scrollIntoView({ block: 'nearest' });
}

async function showRefusal(problem) {
  const field = problem.errors.find(({ pointer }) => pointer === '#/prompt');
  if (field) {
    setFieldError($('prompt'), `This ${field.detail}.`);
    return focusFirstError(form);
  }
  // It may have been refused for something that this page does not show yet.
  if (problem.status === 402 || problem.status === 422) await askOptions().catch(() => {});
  // What is missing is said above, where the way to more is.
  if (problem.code === 'insufficient_credits' && !$('buy').hidden) return $('buy').focus();
  showRefusalWords(reasonOf(problem));
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if ($('submit').disabled) return;
  clearFieldErrors(form);
  showNotice($('refusal'), '');
  if (uploadsUnderWay()) return showRefusalWords('Your upload is not ready yet. Please wait a moment, or remove it.');
  const { start, ...presets } = Object.fromEntries(new FormData(form));
  const wish = { ...presets, ...chosenStart(), prompt: inOneLine($('prompt').value).trim() };
  busy = true;
  try {
    await whileBusy($('submit'), 'Sending…', async () => {
      const answer = await apiFetch('/generation-jobs', { method: 'POST', body: wish, idempotencyKey: keyFor(wish) });
      unanswered = null;
      const card = addJob(wish, answer);
      announce(`Your picture is on its way. You have ${credits(answer.remaining_credits)} left.`);
      card.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    });
  } catch (problem) {
    if (hasEnded(problem)) return;
    if (problem.status >= 400 && problem.status < 500) unanswered = null;
    showRefusal(problem);
  } finally {
    busy = false;
    showCost();
  }
});

/* Start */

function greet({ user }) {
  $('account-email').textContent = user.email ?? '';
  draftKey = `sweetheart.prompt.${user.id}`;
  $('prompt').value = sessionStorage.getItem(draftKey) ?? '';
  showCount();
}

async function load() {
  try {
    const session = await requireSession();
    if (!session) return;
    greet(session);
    await Promise.all([askOptions(), loadJobs()]);
    resumeChecks();
    show('studio');
    // Where Realtime is: hosted Supabase, not one machine.
    if (window.SWEETHEART.realtime) listen(`generation-jobs:${session.user.id}`, { onNews: newsCame, onJoined: setListening });
  } catch (problem) {
    if (hasEnded(problem)) return;
    $('problem').textContent = reasonOf(problem);
    show('problem');
    announce(`Your pictures did not load. ${reasonOf(problem)}`);
  }
}

$('reload').addEventListener('click', async () => {
  await whileBusy($('reload'), 'Loading…', load);
  // The button is gone: a keyboard goes on at the form.
  if ($('view-problem').hidden) $('main').focus();
});

load();
