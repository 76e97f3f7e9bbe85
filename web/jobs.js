// Her pictures, newest first: how each stands while it is being made, the picture when it is done, and what can be done about it.
//
// What is shown comes from the server's answers alone. It is asked again only while something is unfinished and somebody looks.

import { announce, hasEnded } from '/account.js';
import { apiFetch } from '/auth.js';
import { paint } from '/blurhash.js';
import { showNotice, whileBusy } from '/form.js';
import { publish } from '/images.js';
import { dayAndTime, number } from '/money.js';
import { askOptions, options, reasonOf, setCredits } from '/purse.js';
import { isOpen, order, short, standingOf } from '/standing.js';
import { nameOf } from '/starts.js';

const shortestPollMs = 1000;
const longestPollMs = 8000;
// While Realtime tells the news.
const listeningPollMs = 60_000;

const $ = (id) => document.getElementById(id);

// By id: {job, card, tries, sharedAt}. `sharedAt` is when the server last told what came of sharing it.
const shown = new Map();

let next = null;

const openOnes = () => [...shown.values()].map(({ job }) => job).filter(isOpen);

/* A card */

function newCard(id) {
  const card = $('job').content.cloneNode(true).firstElementChild;
  card.querySelector('.job-open').addEventListener('click', () => openLarge(id));
  const thumb = card.querySelector('.job-open img');
  thumb.addEventListener('load', () => {
    thumb.classList.remove('broken');
    shown.get(id).tries = 0;
  });
  thumb.addEventListener('error', () => thumbFailed(id));
  return card;
}

function showJob({ job, card }) {
  const { id, status, prompt, progress, failure, output, image } = job;
  const bar = card.querySelector('progress');
  const canvas = card.querySelector('canvas');
  const open = card.querySelector('.job-open');

  card.dataset.status = status;
  card.querySelector('.job-standing').textContent = standingOf(job);
  card.querySelector('.job-prompt').textContent = prompt;
  card.querySelector('time').dateTime = new Date(job.created_at).toISOString();
  card.querySelector('time').textContent = dayAndTime(job.created_at);

  bar.hidden = status !== 'processing';
  bar.setAttribute('aria-label', `Progress of: ${short(prompt)}`);
  if (progress) bar.value = progress;
  else bar.removeAttribute('value');

  open.hidden = !output;
  open.setAttribute('aria-label', `Show large: ${short(prompt)}`);
  canvas.hidden = !output?.blurhash;
  if (output?.blurhash) paint(canvas, output.blurhash);
  if (output) open.firstElementChild.src = output.thumb_url;

  card.querySelector('.job-shared').textContent = image?.published && !image.hidden_reason ? sharedWords(image) : '';
  card.querySelector('.job-shared').hidden = !image?.published || Boolean(image.hidden_reason);

  showProblem(card, failure?.message ?? (image?.hidden_reason ? `An admin hid this: ${image.hidden_reason}` : ''));
  if (status === 'pending' || status === 'queued') showAct(card, 'Cancel', () => cancel(id));
  else if (status === 'failed') showAct(card, 'Try again', () => retry(id));
  else if (image?.published) showAct(card, 'Take back', () => share(id, false));
  else if (image && !image.hidden_reason) showAct(card, 'Share', () => share(id, true));
  else showAct(card, '', null);
}

const sharedWords = ({ likes_count: count }) => `In the grid, ${number(count)} ${count === 1 ? 'like' : 'likes'}`;

function showProblem(card, words) {
  const problem = card.querySelector('.job-problem');
  problem.textContent = words;
  problem.hidden = words === '';
  card.querySelector('.job-buy').hidden = true;
}

function showAct(card, label, act) {
  const button = card.querySelector('.job-act');
  // While it is being pressed it says so.
  if (button.disabled) return;
  const hadFocus = document.activeElement === button;
  button.hidden = label === '';
  button.textContent = label;
  button.onclick = act;
  if (label) button.setAttribute('aria-label', `${label}: ${card.querySelector('.job-prompt').textContent}`);
  if (hadFocus && button.hidden) card.focus();
}

// Its link may be older than an hour: asked for anew, once; then by hand.
async function thumbFailed(id) {
  const one = shown.get(id);
  one.tries += 1;
  if (one.tries === 1 && (await refresh(id))) return;
  // What is behind it is seen: the blurhash.
  one.card.querySelector('.job-open img').classList.add('broken');
  showProblem(one.card, 'The picture did not load.');
  showAct(one.card, 'Load it again', () => {
    one.tries = 0;
    refresh(id);
  });
}

/* The list */

// What a card shows that may change.
const visible = ({ status, progress, created_at, image }) => JSON.stringify([status, progress, created_at, image]);

// Takes what the server says of jobs that were asked for at `asOf`; answers whether one of them is new here, or has moved on.
function merge(jobs, asOf = performance.now()) {
  let news = false;
  for (const job of jobs) {
    const one = shown.get(job.id) ?? { job: null, card: newCard(job.id), tries: 0, sharedAt: 0 };
    const before = one.job;
    if (before && order[job.status] < order[before.status]) continue;
    // The links that it came with first are kept, so that nothing is loaded twice.
    one.job = { ...job, output: before?.output ?? job.output };
    if (asOf < one.sharedAt) one.job.image = before.image;
    shown.set(job.id, one);
    if (!before || visible(before) !== visible(one.job)) showJob(one);
    if (!before) place(one);
    else if (before.status !== job.status) announceEnd(job);
    news ||= before?.status !== job.status;
  }
  $('jobs-empty').hidden = shown.size > 0;
  return news;
}

const isNewer = (job, than) => Date.parse(job.created_at) > Date.parse(than.created_at);

function place({ job, card }) {
  card.dataset.id = job.id;
  const after = [...$('jobs').children].find((other) => isNewer(job, shown.get(other.dataset.id).job));
  $('jobs').insertBefore(card, after ?? null);
}

// What happens before somebody's eyes is read out; what a fresh page shows is read anyway.
function announceEnd({ status, prompt, failure }) {
  if (status === 'completed') announce(`Your picture is ready: ${short(prompt)}`);
  if (status === 'failed') announce(`${short(prompt)}: ${failure.message}`);
}

// Asks how one stands, and takes it with fresh links. Answers whether the server did.
async function refresh(id) {
  const one = shown.get(id);
  const { status } = one.job;
  try {
    one.job = await apiFetch(`/generation-jobs/${id}`);
    showJob(one);
    if (one.job.status !== status) {
      moved = true;
      newsCame();
    }
    return true;
  } catch (problem) {
    hasEnded(problem);
    return false;
  }
}

function takePage(page) {
  merge(page.jobs);
  next = page.next;
  $('more').hidden = next === null;
}

export async function loadJobs() {
  takePage(await apiFetch('/generation-jobs'));
  pollLater();
}

$('more').addEventListener('click', async () => {
  showNotice($('more-problem'), '');
  try {
    const page = await whileBusy($('more'), 'Loading…', () => apiFetch(`/generation-jobs?before=${encodeURIComponent(next)}`));
    takePage(page);
    announce(page.jobs.length === 1 ? '1 more picture.' : `${page.jobs.length} more pictures.`);
    shown.get(page.jobs[0]?.id)?.card.focus({ preventScroll: true });
  } catch (problem) {
    if (!hasEnded(problem)) showNotice($('more-problem'), reasonOf(problem), { bad: true });
  }
});

/* What can be done about one */

// Puts one in that the server has just accepted, before the next answer lists it.
export function addJob(wish, { job_id: id, status, cost_credits: cost, remaining_credits: remaining }) {
  setCredits(remaining);
  if (!shown.has(id)) {
    // This clock may be behind the server's; the new one is the newest all the same.
    const newest = Math.max(Date.now(), ...[...shown.values()].map(({ job }) => Date.parse(job.created_at) + 1));
    const job = { ...wish, id, status, cost_credits: cost, progress: null, failure: null, output: null, created_at: new Date(newest).toISOString() };
    // The same request may have been answered before: then it has come further.
    merge([isOpen(job) ? job : { ...job, status: 'processing' }]);
  }
  pollSoon();
  return shown.get(id).card;
}

async function act(id, label, work) {
  const { card } = shown.get(id);
  showProblem(card, '');
  try {
    await whileBusy(card.querySelector('.job-act'), label, work);
    showJob(shown.get(id));
  } catch (problem) {
    if (hasEnded(problem)) return;
    if (problem.status === 409) await refresh(id);
    // The card says why by now.
    if (problem.code === 'image_hidden') return announce(card.querySelector('.job-problem').textContent);
    showProblem(card, reasonOf(problem));
    announce(reasonOf(problem));
    card.querySelector('.job-buy').hidden = problem.code !== 'insufficient_credits';
  }
}

function cancel(id) {
  return act(id, 'Cancelling…', async () => {
    const answer = await apiFetch(`/generation-jobs/${id}`, { method: 'DELETE' });
    setCredits(answer.remaining_credits);
    merge([{ ...shown.get(id).job, status: answer.status }]);
    announce(standingOf(shown.get(id).job));
  });
}

function retry(id) {
  return act(id, 'Sending…', async () => {
    const answer = await apiFetch(`/generation-jobs/${id}/retry`, { method: 'POST' });
    const known = shown.has(answer.job_id);
    const { prompt } = shown.get(id).job;
    const card = addJob({ prompt }, answer);
    announce(known ? 'This was tried again already.' : 'It is being tried again.');
    card.focus();
    card.scrollIntoView({ block: 'nearest' });
  });
}

function share(id, wanted) {
  return act(id, wanted ? 'Sharing…' : 'Taking it back…', async () => {
    const one = shown.get(id);
    await publish(one.job.image.id, wanted);
    one.job.image = { ...one.job.image, published: wanted };
    one.sharedAt = performance.now();
    announce(wanted ? 'Everybody can see it in the grid now.' : 'It is no longer in the grid.');
  });
}

/* Asking again */

let timer = null;
let delay = shortestPollMs;
let polling = null;
let listening = false;
// News came while a question was on its way, which may have been answered before.
let missed = false;
// Jobs have moved on, so credits went or came back, and the page does not show it yet.
let moved = false;

function pollLater() {
  clearTimeout(timer);
  if (document.hidden || (openOnes().length === 0 && !moved)) return;
  timer = setTimeout(poll, listening && !moved ? listeningPollMs : delay);
  delay = Math.min(delay * 1.5, longestPollMs);
}

function pollSoon() {
  delay = shortestPollMs;
  if (!polling) pollLater();
}

// One request at a time.
function poll() {
  clearTimeout(timer);
  polling ??= askAll().finally(() => {
    polling = null;
    if (missed) poll();
    else pollLater();
  });
  return polling;
}

async function askAll() {
  missed = false;
  try {
    const asOf = performance.now();
    const { jobs } = await apiFetch('/generation-jobs');
    moved = merge(jobs, asOf) || moved;
    const listed = new Set(jobs.map(({ id }) => id));
    const beyond = openOnes().filter(({ id }) => !listed.has(id));
    moved = merge(await Promise.all(beyond.map(({ id }) => apiFetch(`/generation-jobs/${id}`)))) || moved;
    if (moved) {
      delay = shortestPollMs;
      moved = false;
      await askOptions().catch((problem) => {
        moved = true;
        throw problem;
      });
    }
    showNotice($('connection-problem'), '');
  } catch (problem) {
    if (hasEnded(problem)) return;
    showNotice($('connection-problem'), 'We cannot reach the server just now. We keep trying; your pictures are made meanwhile.');
  }
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  if (document.hidden || $('view-studio').hidden) return;
  delay = shortestPollMs;
  poll();
  // Another tab may have bought or used some.
  askOptions().catch(() => {});
});

// For Realtime: something has happened; and whether it can be relied upon to say so from now on.
export function newsCame() {
  if (document.hidden) return;
  missed = polling !== null;
  poll();
}
export function setListening(value) {
  listening = value;
  if (listening) newsCame();
  else if (!polling) pollLater();
}

/* One picture, large */

let large = null;
let largeTries = 0;

const isOld = ({ expires_at: until }) => until && Date.parse(until) < Date.now();

const nameAmong = (list, id) => list.find((one) => one.id === id)?.name ?? id;

function madeOf(job) {
  const start = nameOf(job.influencer_id ?? job.input_asset_id);
  const names = [
    start && `From ${start}`,
    nameAmong(options.poses, job.pose_preset),
    nameAmong(options.scenes, job.scene_preset),
    nameAmong(options.types, job.generation_type),
    `${job.output.width} × ${job.output.height}`,
    dayAndTime(job.created_at),
  ];
  return names.filter(Boolean).join(' · ');
}

function showLarge() {
  const { job } = shown.get(large);
  $('large-prompt').textContent = job.prompt;
  $('large-made').textContent = madeOf(job);
  $('large-blur').hidden = !job.output.blurhash;
  if (job.output.blurhash) paint($('large-blur'), job.output.blurhash);
  $('large-problem').hidden = true;
  $('large-picture').hidden = true;
  $('large-picture').alt = job.prompt;
  $('large-picture').src = job.output.screen_url;
  $('download').href = job.output.original_url;
}

async function openLarge(id) {
  large = id;
  largeTries = 0;
  showNotice($('download-problem'), '');
  if (isOld(shown.get(id).job.output)) await refresh(id);
  showLarge();
  $('large').showModal();
}

$('large-picture').addEventListener('load', () => {
  largeTries = 0;
  $('large-picture').hidden = false;
});

$('large-picture').addEventListener('error', async () => {
  largeTries += 1;
  if (largeTries === 1 && (await refresh(large))) showLarge();
  else $('large-problem').hidden = false;
});

$('large-reload').addEventListener('click', async () => {
  largeTries = 0;
  await refresh(large);
  showLarge();
  $('large-heading').focus();
});

// The link may have grown old while the picture was looked at.
$('download').addEventListener('click', async (event) => {
  if (!isOld(shown.get(large).job.output)) return;
  event.preventDefault();
  if (!(await refresh(large))) return showNotice($('download-problem'), 'We cannot reach the server. Please try again.', { bad: true });
  showLarge();
  $('download').click();
});

$('close').addEventListener('click', () => $('large').close());
$('large').addEventListener('click', ({ target }) => {
  if (target === $('large')) $('large').close();
});
$('large').addEventListener('close', () => $('large-picture').removeAttribute('src'));
