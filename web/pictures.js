// The pictures of the grid that this page shows: their cards, their likes, and links that died.

import { paint } from '/blurhash.js';
import { askPage, reasonOf, sendLike } from '/images.js';
import { number } from '/money.js';
import { short } from '/standing.js';

// How far a picture is looked for that new ones have pushed onto a later page.
const mostPages = 3;

const $ = (id) => document.getElementById(id);

export const order = new URLSearchParams(location.search).get('order') === 'top' ? 'top' : 'new';

// By id: {image, cursor, card, asOf, sending, tries}. `cursor` names the page that it came with; `asOf` is when the server last
// told what came of a like.
export const shown = new Map();

// What the rest of the page does about a picture: {open, askToLogIn, say, changed, gone}.
let page = null;
export const onPictures = (handlers) => (page = handlers);

const likes = (count) => `${number(count)} ${count === 1 ? 'like' : 'likes'}`;

export function announce(words) {
  $('announcer').textContent = words;
}

/* A card */

const imageOf = ({ card }) => card.querySelector('img');

export function showLike(button, { prompt, liked, likes_count: count }) {
  button.setAttribute('aria-pressed', String(liked));
  button.setAttribute('aria-label', `Like: ${short(prompt)}, ${likes(count)}`);
  button.querySelector('span').textContent = number(count);
}

function setLinks(picture) {
  const { thumb_url: thumb, screen_url: screen } = picture.image;
  imageOf(picture).srcset = `${thumb} 320w, ${screen} 1024w`;
  imageOf(picture).src = thumb;
}

function showFailed({ card }, failed) {
  card.querySelector('.window-words').hidden = !failed;
  card.querySelector('.shot-open').hidden = failed;
}

export function add(image, cursor, previous) {
  const card = $('picture').content.cloneNode(true).firstElementChild;
  const picture = { image, cursor, card, asOf: 0, sending: false, tries: 0 };
  shown.set(image.id, picture);
  card.dataset.id = image.id;
  card.querySelector('.shot-prompt').textContent = image.prompt;
  card.querySelector('.shot-by').textContent = image.mine ? 'Yours' : (image.creator ?? '');
  card.querySelector('.shot-open').setAttribute('aria-label', `Show large: ${short(image.prompt)}`);
  card.querySelector('.shot-open').addEventListener('click', () => page.open(picture));
  card.querySelector('.like').addEventListener('click', () => toggleLike(picture));
  card.querySelector('.shot-again').addEventListener('click', async () => {
    picture.tries = 0;
    await loadAnew(picture);
    card.focus();
  });
  showLike(card.querySelector('.like'), image);
  if (image.blurhash) paint(card.querySelector('canvas'), image.blurhash);
  const img = imageOf(picture);
  // The browser knows its place before a byte of it is there.
  img.width = image.width;
  img.height = image.height;
  img.addEventListener('load', () => {
    picture.tries = 0;
    img.classList.add('there');
  });
  img.addEventListener('error', () => loadAnew(picture));
  setLinks(picture);
  if (previous) previous.after(card);
  else $('pictures').prepend(card);
  return card;
}

// Takes what the server says of a picture that is shown; answers whether its likes have moved. Of likes, what was asked for
// before she liked it herself is older than what she sees.
export function take(picture, image, asOf) {
  const { liked, likes_count, thumb_url } = picture.image;
  Object.assign(picture.image, image);
  if (picture.sending || asOf < picture.asOf) Object.assign(picture.image, { liked, likes_count });
  // What is there already is not loaded twice.
  if (image.thumb_url !== thumb_url && !imageOf(picture).classList.contains('there')) setLinks(picture);
  if (picture.image.liked === liked && picture.image.likes_count === likes_count) return false;
  changed(picture);
  return true;
}

function changed(picture) {
  showLike(picture.card.querySelector('.like'), picture.image);
  page.changed(picture);
}

// What is above the screen leaves its place empty, so that nothing moves under the reader's eyes.
export function drop(picture) {
  const { card, image } = picture;
  shown.delete(image.id);
  const hadFocus = card.contains(document.activeElement);
  const neighbour = card.nextElementSibling ?? card.previousElementSibling;
  if (card.getBoundingClientRect().bottom < 0) {
    for (const name of ['srcset', 'src']) imageOf(picture).removeAttribute(name);
    card.inert = true;
    card.classList.add('hole');
  } else {
    card.remove();
  }
  page.gone(picture);
  if (hadFocus) (neighbour ?? $('heading')).focus();
}

export function fillHoles() {
  for (const hole of $('pictures').querySelectorAll('.hole')) hole.remove();
}

/* Likes */

// Shown at once, and taken back when the server refuses. Pressed again meanwhile, the last word is sent after the first.
export async function toggleLike(picture) {
  const { image } = picture;
  if (!page.signedIn()) return page.askToLogIn(picture, { like: true });
  let { liked, likes_count } = image;
  Object.assign(image, { liked: !liked, likes_count: likes_count + (liked ? -1 : 1) });
  changed(picture);
  if (picture.sending) return;
  picture.sending = true;
  let refusal = null;
  try {
    while (image.liked !== liked) ({ liked, likes_count } = await sendLike(image.id, image.liked));
  } catch (problem) {
    refusal = problem;
  }
  const wanted = image.liked;
  Object.assign(image, { liked, likes_count });
  picture.sending = false;
  picture.asOf = performance.now();
  changed(picture);
  if (!refusal) return;
  if (refusal.code === 'unauthenticated') return page.askToLogIn(picture, { like: wanted });
  if (refusal.code === 'image_not_found' && shown.has(image.id)) drop(picture);
  page.say(`${wanted ? 'Your like was not taken.' : 'Your like could not be taken back.'} ${reasonOf(refusal)}`);
}

/* Links live for half an hour or more, and a page may be open for longer */

// By cursor: many find out at once.
const asking = new Map();

function askOnce(cursor) {
  if (!asking.has(cursor)) asking.set(cursor, askPage(order, cursor).finally(() => asking.delete(cursor)));
  return asking.get(cursor);
}

// Fetches its links anew, and those of its neighbours. Answers whether there are any.
export async function renew(picture) {
  let { cursor } = picture;
  try {
    for (let pages = 0; pages < mostPages; pages += 1) {
      const { images, next_cursor: next, asOf } = await askOnce(cursor);
      for (const image of images) if (shown.has(image.id)) take(shown.get(image.id), image, asOf);
      if (images.some(({ id }) => id === picture.image.id)) return true;
      if (!next) break;
      cursor = next;
    }
  } catch {
    // What the page shows then says it.
  }
  return false;
}

async function loadAnew(picture) {
  picture.tries += 1;
  const again = picture.tries === 1 && (await renew(picture));
  showFailed(picture, !again);
  if (again) setLinks(picture);
}
