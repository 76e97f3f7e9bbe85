// The dashboard: reads what the server knows, shows it, and asks again while the studio works.
//
// What is on the page comes from the server's answer alone, so a reload, another tab or another device shows the same.

import { announce, hasEnded, wordsFor } from '/account.js';
import { apiFetch, requireSession } from '/auth.js';
import { askServer } from '/billing.js';
import {
  clearFieldErrors,
  focusFirstError,
  forgetErrorsOnInput,
  setFieldError,
  showNotice,
  whileBusy,
} from '/form.js';
import { day } from '/money.js';

const shortestPollMs = 1000;
const longestPollMs = 5000;
const usualWorkMs = 2 * 60_000;

const limits = { name: 40, bio: 1000, vibe: 200 };

const $ = (id) => document.getElementById(id);
const stage = $('stage');
const form = $('create-form');
const fields = [$('name'), $('bio'), $('vibe')];

let influencer = null;
let draftKey = null;

/* Views: one at a time beside the frame */

function show(view) {
  const before = stage.dataset.view;
  const hadFocus = $(`view-${before}`).contains(document.activeElement);
  for (const panel of stage.querySelectorAll('.panel')) panel.hidden = panel.id !== `view-${view}`;
  stage.dataset.view = view;
  stage.setAttribute('aria-busy', String(view === 'loading'));
  // Whoever stood on something that has just gone is taken along; nobody else is disturbed.
  if (hadFocus && before !== view) $(`view-${view}`).querySelector('h2')?.focus();
}

function showPicture(state, name) {
  $('portrait').dataset.picture = state;
  $('picture').hidden = state !== 'shown';
  $('picture-problem').hidden = state !== 'broken';
  $('portrait-name').textContent = name;
}

function showNone() {
  if (hasDraft() && !dismissed) return openForm();
  showPicture('none', '');
  show('none');
}

const progress = {
  requested: {
    current: 'step-drawing',
    now: 'Our studio is writing her story and drawing her first picture. This usually takes a minute or two.',
  },
  image_pending: {
    current: 'step-hanging',
    now: 'Her picture is finished. We are hanging it in its frame; this takes a few seconds.',
  },
};

function showProgress() {
  const { current, now } = progress[influencer.state];
  const late = Date.now() - Date.parse(influencer.requested_at) > usualWorkMs;
  const words = late ? 'This takes a little longer than usual. Nothing is lost; the studio is still at work.' : now;

  let where = 'done';
  for (const step of stage.querySelectorAll('.steps li')) {
    if (step.id === current) where = 'current';
    else if (where === 'current') where = 'ahead';
    step.dataset.step = where;
    step.querySelector('.visually-hidden').textContent = { done: '(done)', current: '(now)', ahead: '' }[where];
    if (where === 'current') step.setAttribute('aria-current', 'step');
    else step.removeAttribute('aria-current');
  }
  $('progress-heading').textContent = `${influencer.name} is on her way`;
  if ($('progress-now').textContent !== words) {
    pollDelay = shortestPollMs;
    $('progress-now').textContent = words;
    announce(words);
  }
  showNotice($('connection-problem'), '');
  showPicture('working', influencer.name);
  show('progress');
  pollLater();
}

function showReady({ announced }) {
  $('ready-heading').textContent = `Meet ${influencer.name}`;
  $('ready-vibe').textContent = influencer.vibe;
  $('ready-bio').textContent = influencer.bio;
  $('ready-since').hidden = !influencer.created_at;
  if (influencer.created_at) {
    const created = new Date(influencer.created_at);
    $('ready-date').dateTime = created.toISOString();
    $('ready-date').textContent = day(created);
  }
  show('ready');
  loadPicture();
  if (announced) announce(`${influencer.name} is here.`);
}

function showFailed({ announced }) {
  const tooLate = influencer.state === 'timed_out';
  $('failed-heading').textContent = tooLate ? 'This took too long' : 'That did not work out';
  $('failed-reason').textContent =
    influencer.failure?.message ?? 'The studio could not finish her. Please try again.';
  showPicture('none', influencer.name);
  show('failed');
  if (announced) announce(`${$('failed-heading').textContent}. ${$('failed-reason').textContent}`);
}

function render(dashboard) {
  const before = influencer?.state;
  influencer = dashboard.influencer;
  draftKey = `sweetheart.draft.${dashboard.user.id}`;
  $('account-email').textContent = dashboard.user.email ?? '';

  // Only a change that happens before somebody's eyes is read out; what a fresh page shows is read anyway.
  const announced = before in progress;
  if (!influencer) showNone();
  else if (influencer.state in progress) showProgress();
  else if (influencer.state === 'ready') showReady({ announced });
  else showFailed({ announced });
}

/* Loading, and asking again while the studio works */

let pollTimer = null;
let pollDelay = shortestPollMs;

function pollLater() {
  clearTimeout(pollTimer);
  if (document.hidden) return;
  pollTimer = setTimeout(load, pollDelay);
  pollDelay = Math.min(pollDelay * 1.5, longestPollMs);
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(pollTimer);
  if (document.hidden || stage.dataset.view !== 'progress') return;
  pollDelay = shortestPollMs;
  load();
});

let loading = null;

// One request at a time: an older answer must not paint over a newer one.
function load() {
  loading ??= fetchAndRender().finally(() => {
    loading = null;
  });
  return loading;
}

async function fetchAndRender() {
  let dashboard;
  try {
    dashboard = await askServer();
  } catch (problem) {
    return loadFailed(problem);
  }
  const loaded = stage.dataset.view !== 'loading' && stage.dataset.view !== 'unreachable';
  render(dashboard);
  if (!loaded && location.hash === '#money') goToMoney();
}

// A link led to it, and the browser looked for it before it was there.
function goToMoney() {
  $('money-heading').focus({ preventScroll: true });
  $('money').scrollIntoView();
}

function loadFailed(problem) {
  if (hasEnded(problem)) return;
  if (stage.dataset.view === 'progress') {
    showNotice($('connection-problem'), 'We cannot reach the server just now. We keep trying; her studio works on meanwhile.');
    return pollLater();
  }
  $('unreachable-reason').textContent = wordsFor(problem);
  // A plan that was never loaded must not look as if it were still coming.
  $('plan-card').hidden = $('plan').textContent === '';
  showPicture('none', '');
  show('unreachable');
  announce(`Your dashboard did not load. ${wordsFor(problem)}`);
}

$('reload').addEventListener('click', async () => {
  $('reload').textContent = 'Loading…';
  await load();
  $('reload').textContent = 'Try again';
});

/* Her picture */

let pictureTries = 0;

function loadPicture() {
  const picture = $('picture');
  showPicture('loading', influencer.name);
  picture.alt = `Portrait of ${influencer.name}`;
  picture.src = influencer.image_url;
}

$('picture').addEventListener('load', () => {
  pictureTries = 0;
  showPicture('shown', influencer.name);
});

// The address is signed for an hour, so the first failure asks the server for a fresh one.
$('picture').addEventListener('error', () => {
  pictureTries += 1;
  if (pictureTries === 1) load();
  else showPicture('broken', influencer.name);
});

$('reload-picture').addEventListener('click', () => {
  pictureTries = 0;
  $('portrait').focus();
  load();
});

/* The form */

// The server refuses control characters, and a line break is one: a pasted story becomes one paragraph.
const inOneLine = (text) => text.replace(/[\t\n\v\f\r\u0085]+/g, ' ');

// Counts as the server does: code points of what is left after trimming and composing.
const count = (text) => [...inOneLine(text).trim().normalize('NFC')].length;

function showCount(field) {
  const limit = limits[field.name];
  const used = count(field.value);
  const counter = $(`${field.name}-count`);
  counter.textContent = `${used} / ${limit}`;
  counter.classList.toggle('over', used > limit);
}

let dismissed = false;

function hasDraft() {
  return sessionStorage.getItem(draftKey) !== null;
}

function keepDraft() {
  const draft = Object.fromEntries(fields.map(({ name, value }) => [name, value]));
  sessionStorage.setItem(draftKey, JSON.stringify(draft));
}

function previewName() {
  $('portrait-name').textContent = $('name').value.trim();
}

function openForm() {
  const draft = JSON.parse(sessionStorage.getItem(draftKey)) ?? influencer;
  for (const field of fields) {
    field.value = draft?.[field.name] ?? '';
    showCount(field);
  }
  clearFieldErrors(form);
  showNotice($('form-problem'), '');
  showPicture('none', '');
  previewName();
  show('form');
}

function openFormAndFocus() {
  openForm();
  $('name').focus();
}

$('create').addEventListener('click', openFormAndFocus);
$('try-again').addEventListener('click', openFormAndFocus);

$('cancel').addEventListener('click', () => {
  dismissed = true;
  load();
});

form.addEventListener('input', ({ target }) => {
  showCount(target);
  keepDraft();
  previewName();
});
forgetErrorsOnInput(form);

function showFormProblem(problem) {
  // The server's details are the rest of a sentence about the field: "must not be empty".
  for (const { pointer, detail } of problem.errors) {
    const field = fields.find(({ name }) => pointer === `#/${name}`);
    if (field) setFieldError(field, `Her ${field.name} ${detail}.`);
  }
  showNotice($('form-problem'), wordsFor(problem), { bad: true });
  if (form.querySelector('[aria-invalid]')) focusFirstError(form);
  else $('submit').focus();
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  clearFieldErrors(form);
  showNotice($('form-problem'), '');
  const body = Object.fromEntries(fields.map(({ name, value }) => [name, inOneLine(value)]));
  try {
    const answer = await whileBusy($('submit'), 'Sending…', () => apiFetch('/influencers', { method: 'POST', body }));
    sessionStorage.removeItem(draftKey);
    influencer = answer.influencer;
    pollDelay = shortestPollMs;
    showProgress();
  } catch (problem) {
    if (hasEnded(problem)) return;
    if (problem.code === 'influencer_exists') {
      sessionStorage.removeItem(draftKey);
      return load();
    }
    showFormProblem(problem);
  }
});

/* Start */

try {
  if (await requireSession()) load();
} catch (problem) {
  loadFailed(problem);
}
