// Her own pictures under way, before those of the grid: how each stands, and whether to share it when it is made. And files of
// hers that are being looked at.

import { apiFetch } from '/auth.js';
import { paint } from '/blurhash.js';
import { whileBusy } from '/form.js';
import { publish, reasonOf } from '/images.js';
import { announce } from '/pictures.js';
import { isOpen, order, short, standingOf } from '/standing.js';

// Where starts.js notes the files that the server was looking at when the studio was left.
const sentKey = 'sweetheart.uploads';

const $ = (id) => document.getElementById(id);

// By id: {job, card}; a file has no job.
const shown = new Map();

let asked = false;
let onShared = null;

export const onPictureShared = (handler) => (onShared = handler);

export const isAnyUnderWay = () => [...shown.values()].some(({ job }) => !job || isOpen(job));

function show(id, { job = null, words, standing }) {
  if (!shown.has(id)) {
    const card = $('own').content.cloneNode(true).firstElementChild;
    card.dataset.id = id;
    $('under-way').append(card);
    shown.set(id, { card });
  }
  const one = shown.get(id);
  one.job = job;
  one.card.dataset.status = job?.status ?? 'processing';
  one.card.querySelector('.own-standing').textContent = standing;
  one.card.querySelector('.shot-prompt').textContent = words;
  return one.card;
}

function remove(id) {
  const { card } = shown.get(id);
  const hadFocus = card.contains(document.activeElement);
  card.remove();
  shown.delete(id);
  if (hadFocus) $('heading').focus();
}

function showJob(job) {
  const before = shown.get(job.id)?.job;
  if (before && order[job.status] < order[before.status]) return;
  // What was stopped elsewhere is none any more; what was shared is in the grid.
  if (job.status === 'cancelled' || job.image?.published) return remove(job.id);
  const card = show(job.id, { job, words: job.prompt, standing: job.failure?.message ?? standingOf(job) });
  if (job.status !== 'completed' || before?.status === 'completed') return;
  const img = card.querySelector('.picture:is(img)');
  const share = card.querySelector('.own-share');
  if (job.output?.blurhash) paint(card.querySelector('canvas'), job.output.blurhash);
  card.querySelector('canvas').hidden = !job.output?.blurhash;
  img.src = job.output.thumb_url;
  img.hidden = false;
  img.addEventListener('error', () => img.classList.add('broken'));
  share.hidden = !job.image;
  share.setAttribute('aria-label', `Share: ${short(job.prompt)}`);
  share.addEventListener('click', () => shareIt(job, card));
  announce(`Your picture is ready: ${short(job.prompt)}`);
}

async function shareIt({ id, image, prompt }, card) {
  try {
    await whileBusy(card.querySelector('.own-share'), 'Sharing…', () => publish(image.id, true));
    remove(id);
    announce(`${short(prompt)} is in the grid now.`);
    onShared();
  } catch (problem) {
    card.querySelector('.own-standing').textContent = reasonOf(problem);
    announce(reasonOf(problem));
  }
}

async function askFiles() {
  const sent = JSON.parse(sessionStorage.getItem(sentKey)) ?? [];
  if (sent.length === 0) return;
  const { uploads } = await apiFetch('/generation-options');
  for (const id of sent) {
    const file = uploads.find((one) => one.id === id);
    if (file && !file.verified && !file.rejected_code) show(id, { words: file.filename, standing: 'Being checked' });
    else if (shown.has(id)) remove(id);
  }
}

// While something is under way, and once when the page is looked at anew. `roomForNew` is false while new cards would move what is
// being read.
export async function askUnderWay({ anew, roomForNew }) {
  if (asked && !anew && !isAnyUnderWay()) return;
  const { jobs } = await apiFetch('/generation-jobs');
  asked = true;
  for (const job of jobs) {
    if (shown.has(job.id) || (isOpen(job) && roomForNew)) showJob(job);
  }
  if (roomForNew) await askFiles();
}
