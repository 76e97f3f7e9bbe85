// What a picture starts from: nothing but words, her character, or one of her uploads, and how a file becomes one of those.

import { announce, hasEnded } from '/account.js';
import { apiFetch } from '/auth.js';
import { askOptions, onOptions, options, reasonOf } from '/purse.js';

const types = ['image/jpeg', 'image/png', 'image/webp', 'image/gif'];
const mostBytes = 10 * 2 ** 20;
const longestName = 200;

const shortestWaitMs = 1000;
const longestWaitMs = 5000;
// Looking at a picture takes seconds.
const usualCheckMs = 60_000;

// The ids of what the server was looking at when the page was left.
const sentKey = 'sweetheart.uploads';
const sentBefore = JSON.parse(sessionStorage.getItem(sentKey)) ?? [];

const rejections = {
  image_too_large: 'This picture has too many pixels for us. Please make it smaller and try again.',
  image_invalid: 'This file is broken, or not a picture. Please choose another.',
  not_what_it_claims: 'This file is another kind of picture than its name says. Please save it anew as JPEG or PNG.',
};

const $ = (id) => document.getElementById(id);

const radios = () => [...document.getElementsByName('start')];

// What goes on has no verdict yet.
export const uploadsUnderWay = () => $('uploads').querySelector('.upload:not(.bad)') !== null;

export function chosenStart() {
  const { value } = radios().find(({ checked }) => checked);
  if (value === '') return {};
  return value === options.influencer?.id ? { influencer_id: value } : { input_asset_id: value };
}

// By the name that it has on its card.
export const nameOf = (id) => radios().find(({ value }) => value === id)?.closest('label').querySelector('.start-name').textContent;

/* The cards */

function addCard(id, name, picture, place) {
  const card = $('start').content.cloneNode(true).firstElementChild;
  const image = card.querySelector('img');
  card.querySelector('input').value = id;
  card.querySelector('.start-name').textContent = name;
  card.title = name;
  // A link to it works for an hour.
  image.addEventListener('error', () => askOptions().then(() => (image.src = pictureOf(id))).catch(() => {}), { once: true });
  image.src = picture;
  place(card);
  return card;
}

const pictureOf = (id) => options.uploads.find((upload) => upload.id === id)?.thumb_url ?? '/portrait.svg';

const cardOf = (id) => radios().find(({ value }) => value === id)?.closest('label');

const atTheEnd = (card) => $('start-cards').append(card);
const theNewestFirst = (card) => (cardOf(options.influencer?.id) ?? cardOf('')).after(card);

async function showHerPicture(image) {
  const { influencer } = await apiFetch('/dashboard').catch(() => ({}));
  if (influencer?.image_url) image.src = influencer.image_url;
}

onOptions(() => {
  const her = options.influencer;
  if (her && !cardOf(her.id)) {
    const card = addCard(her.id, her.name, '/portrait.svg', (made) => cardOf('').after(made));
    showHerPicture(card.querySelector('img'));
  }
  for (const { id, filename, verified } of options.uploads) {
    if (verified && !cardOf(id) && !checking.has(id)) addCard(id, filename, pictureOf(id), atTheEnd);
  }
  settleChecked();
});

/* On their way: sent, then looked at by the server */

// By the asset's id: those that the server looks at.
const checking = new Map();

function rememberChecking() {
  sessionStorage.setItem(sentKey, JSON.stringify([...checking.keys()]));
}

function addRow(name, picture) {
  const row = $('upload').content.cloneNode(true).firstElementChild;
  // What is no picture shows none.
  row.querySelector('img').addEventListener('error', ({ target }) => target.classList.add('broken'));
  row.querySelector('img').src = picture;
  row.querySelector('.upload-name').textContent = name;
  row.querySelector('progress').setAttribute('aria-label', `Upload of ${name}`);
  $('uploads').append(row);
  return row;
}

// `progress` is a number, null for "who knows", or undefined when nothing goes on any more.
function showStanding(row, words, progress) {
  const bar = row.querySelector('progress');
  row.querySelector('.upload-standing').textContent = words;
  row.classList.toggle('bad', progress === undefined);
  bar.hidden = progress === undefined;
  if (typeof progress === 'number') bar.value = progress;
  else bar.removeAttribute('value');
}

function stopped(row, words, { again = null } = {}) {
  const button = row.querySelector('.upload-again');
  showStanding(row, words);
  button.hidden = !again;
  button.onclick = () => {
    button.hidden = true;
    row.querySelector('.upload-remove').focus();
    again();
  };
  announce(`${row.querySelector('.upload-name').textContent}: ${words}`);
}

function removeRow(row) {
  const hadFocus = row.contains(document.activeElement);
  row.remove();
  if (hadFocus) $('file').focus();
}

const refusal = ({ type, size }) => {
  if (!types.includes(type)) return 'is no JPEG, PNG, WebP or GIF picture.';
  if (size === 0) return 'is empty.';
  return size > mostBytes ? 'is larger than 10 MB. Please make it smaller.' : '';
};

function take(files) {
  const refused = files.filter(refusal);
  $('file-problem').textContent = refused.map((file) => `“${file.name}” ${refusal(file)}`).join(' ');
  $('file-problem').hidden = refused.length === 0;
  for (const file of files) if (!refusal(file)) upload(file);
}

function upload(file) {
  const name = [...file.name].slice(-longestName).join('');
  const picture = URL.createObjectURL(file);
  const row = addRow(name, picture);
  const request = new XMLHttpRequest();
  row.querySelector('.upload-remove').onclick = () => {
    request.abort();
    removeRow(row);
  };

  const start = async () => {
    showStanding(row, 'Getting ready…', null);
    let form;
    try {
      const body = { filename: name, content_type: file.type, size: file.size };
      form = await apiFetch('/uploads', { method: 'POST', body });
    } catch (problem) {
      if (hasEnded(problem)) return;
      return stopped(row, reasonOf(problem), { again: start });
    }
    if (row.isConnected) send(form);
  };

  const send = ({ asset_id: id, url, fields }) => {
    const body = new FormData();
    for (const [field, value] of Object.entries(fields)) body.append(field, value);
    // S3 reads no field after the file.
    body.append('file', file);
    request.upload.onprogress = ({ loaded, total }) => showStanding(row, `Uploading, ${Math.floor((100 * loaded) / total)} %`, (100 * loaded) / total);
    request.onerror = () => stopped(row, 'The upload broke off. Please check your connection and try again.', { again: start });
    request.onload = () => {
      if (request.status < 200 || request.status > 299) return stopped(row, 'The upload was not accepted. Please try again.', { again: start });
      check(id, row, picture);
    };
    showStanding(row, 'Uploading, 0 %', 0);
    request.open('POST', url);
    request.send(body);
  };

  start();
}

function check(id, row, picture) {
  showStanding(row, 'Checking…', null);
  row.querySelector('.upload-remove').onclick = () => {
    checking.delete(id);
    rememberChecking();
    removeRow(row);
  };
  checking.set(id, { row, picture, since: Date.now() });
  rememberChecking();
  delay = shortestWaitMs;
  askLater();
}

function settleChecked() {
  for (const [id, { row, picture, since }] of checking) {
    const found = options.uploads.find((one) => one.id === id);
    const name = row.querySelector('.upload-name').textContent;
    if (found?.verified) {
      const card = addCard(id, found.filename, picture ?? found.thumb_url, theNewestFirst);
      card.querySelector('input').checked = true;
      checking.delete(id);
      removeRow(row);
      announce(`${name} is ready to be used.`);
    } else if (found?.rejected_code) {
      checking.delete(id);
      stopped(row, rejections[found.rejected_code] ?? 'This file cannot be used. Please choose another.');
    } else if (Date.now() - since > usualCheckMs) {
      showStanding(row, 'Checking takes longer than usual. You may remove it here and go on without it.', null);
    }
  }
  rememberChecking();
}

/* Asking how the checks stand */

let timer = null;
let delay = shortestWaitMs;

function askLater() {
  clearTimeout(timer);
  if (checking.size === 0 || document.hidden) return;
  timer = setTimeout(ask, delay);
  delay = Math.min(delay * 1.5, longestWaitMs);
}

async function ask() {
  try {
    await askOptions();
  } catch (problem) {
    if (hasEnded(problem)) return;
  }
  askLater();
}

document.addEventListener('visibilitychange', () => {
  delay = shortestWaitMs;
  askLater();
});

// After a reload: what had been sent, and how that stands.
export function resumeChecks() {
  for (const id of sentBefore) {
    const found = options.uploads.find((one) => one.id === id);
    if (found && !found.verified) check(id, addRow(found.filename, '/portrait.svg'), null);
  }
  settleChecked();
}

/* Files chosen or dropped */

$('file').addEventListener('change', () => {
  take([...$('file').files]);
  // The same file again is a change, too.
  $('file').value = '';
});

const bringsFiles = ({ dataTransfer }) => dataTransfer.types.includes('Files');

// Anywhere on the page: a browser would leave it and show the file.
document.addEventListener('dragover', (event) => {
  if (!bringsFiles(event)) return;
  event.preventDefault();
  $('drop').classList.add('over');
});
document.addEventListener('dragleave', ({ relatedTarget }) => {
  if (!relatedTarget) $('drop').classList.remove('over');
});
document.addEventListener('drop', (event) => {
  if (!bringsFiles(event)) return;
  event.preventDefault();
  $('drop').classList.remove('over');
  if (!$('view-studio').hidden) take([...event.dataTransfer.files]);
});
