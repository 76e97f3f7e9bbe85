// One picture of the grid, large: its words, its likes, and what can be done about it.

import { paint } from '/blurhash.js';
import { showNotice, whileBusy } from '/form.js';
import { publish, reasonOf, sendReport } from '/images.js';
import { dayAndTime } from '/money.js';
import { announce, drop, renew, showLike, toggleLike } from '/pictures.js';

const $ = (id) => document.getElementById(id);

let large = null;
let tries = 0;
let rest = null;

// What the rest of the page does: {signedIn, askToLogIn}.
export const onLarge = (handlers) => (rest = handlers);

export const isOpen = () => $('large').open;

export function sayLarge(words) {
  showNotice($('large-notice'), words, { bad: true });
  $('large-notice').scrollIntoView({ block: 'nearest' });
}

function load() {
  $('large-problem').hidden = true;
  $('large-picture').hidden = true;
  $('large-picture').src = large.image.screen_url;
}

export function open(picture) {
  const { prompt, blurhash, creator, mine, published_at: at } = picture.image;
  large = picture;
  tries = 0;
  $('large-heading').textContent = mine ? 'Your picture' : creator ? `A picture of ${creator}` : 'A picture';
  $('large-prompt').textContent = prompt;
  $('large-at').textContent = dayAndTime(at);
  $('large-picture').alt = prompt;
  $('large-blur').hidden = !blurhash;
  if (blurhash) paint($('large-blur'), blurhash);
  showLike($('large-like'), picture.image);
  showNotice($('large-notice'), '');
  showNotice($('thanks'), '');
  $('report').hidden = true;
  $('report').reset();
  $('report-open').hidden = mine;
  $('take-out').hidden = !mine;
  load();
  $('large').showModal();
}

export function showLargeLike(picture) {
  if (picture === large) showLike($('large-like'), picture.image);
}

// Answers whether that was the one to see.
export function closeIfGone(picture) {
  if (picture !== large) return false;
  $('large').close();
  return true;
}

$('large-like').addEventListener('click', () => {
  showNotice($('large-notice'), '');
  toggleLike(large);
});

$('large-picture').addEventListener('load', () => {
  $('large-picture').hidden = false;
});

$('large-picture').addEventListener('error', async () => {
  const picture = large;
  tries += 1;
  const again = tries === 1 && (await renew(picture));
  if (picture !== large) return;
  if (again) load();
  else $('large-problem').hidden = false;
});

$('large-reload').addEventListener('click', async () => {
  const picture = large;
  tries = 0;
  await renew(picture);
  if (picture !== large) return;
  load();
  $('large-heading').focus();
});

/* Reports */

$('report-open').addEventListener('click', () => {
  if (!rest.signedIn()) return rest.askToLogIn(large, { like: false });
  $('report-open').hidden = true;
  $('report').hidden = false;
  $('report').elements.reason[0].focus();
});

$('report-cancel').addEventListener('click', () => {
  $('report').hidden = true;
  $('report-open').hidden = false;
  $('report-open').focus();
});

$('report').addEventListener('submit', async (event) => {
  event.preventDefault();
  const picture = large;
  const { reason } = Object.fromEntries(new FormData($('report')));
  showNotice($('large-notice'), '');
  if (!reason) return sayLarge('Please choose what is wrong with it.');
  try {
    await whileBusy($('report-send'), 'Sending…', () => sendReport(picture.image.id, reason));
    if (picture !== large) return;
    $('report').hidden = true;
    showNotice($('thanks'), 'Thank you. Somebody will look at this picture.');
    $('thanks').focus();
  } catch (problem) {
    if (picture !== large) return;
    if (problem.code === 'unauthenticated') rest.askToLogIn(picture, { like: false });
    else sayLarge(`Your report did not arrive. ${reasonOf(problem)}`);
  }
});

$('take-out').addEventListener('click', async () => {
  const picture = large;
  showNotice($('large-notice'), '');
  try {
    await whileBusy($('take-out'), 'Taking it back…', () => publish(picture.image.id, false));
    large = null;
    $('large').close();
    drop(picture);
    announce('It is out of the grid. You find it among your pictures.');
  } catch (problem) {
    if (picture === large) sayLarge(reasonOf(problem));
  }
});

$('close').addEventListener('click', () => $('large').close());
$('large').addEventListener('click', ({ target }) => {
  if (target === $('large')) $('large').close();
});
$('large').addEventListener('close', () => {
  large = null;
  $('large-picture').removeAttribute('src');
});
