// The grid: what people have made and share, for everybody to see, newest or most liked first.
//
// What is shown comes from the server's answers alone. The first page, and the one that is being read, are asked for again while
// somebody looks: likes move, pictures go, and new ones come in on top. Who has scrolled down is told of them, and nothing moves.

import { logOut, onLogOut } from '/auth.js';
import { showNotice, whileBusy } from '/form.js';
import { askPage, reasonOf } from '/images.js';
import { add, announce, drop, fillHoles, onPictures, order, shown, take, toggleLike } from '/pictures.js';
import { askUnderWay, isAnyUnderWay, onPictureShared } from '/underway.js';
import { closeIfGone, isOpen, onLarge, open, sayLarge, showLargeLike } from '/viewer.js';

const shortestPollMs = 4000;
const longestPollMs = 15_000;
// The next page is asked for before its place is seen.
const ahead = '1000px 0px';
// How far down is looked for the picture that she came back for.
const mostPagesBack = 10;

const backKey = 'sweetheart.back';

const $ = (id) => document.getElementById(id);
const list = $('pictures');

// Who reads: undefined until it is known, null is nobody.
let reader;
let next = null;
// The first page as it was told last, when it has pictures that are not shown yet.
let news = null;

const signedIn = () => Boolean(reader);

function show(view) {
  for (const name of ['loading', 'problem', 'grid']) $(`view-${name}`).hidden = name !== view;
}

function say(words) {
  if (isOpen()) return sayLarge(words);
  $('toast-words').textContent = words;
  $('toast').hidden = false;
}

$('toast-close').addEventListener('click', () => {
  $('toast').hidden = true;
});

/* Who reads */

let leaving = false;

function greet(user) {
  reader = user;
  $('account-email').textContent = user?.email ?? '';
  for (const id of ['account-email', 'log-out', 'to-studio']) $(id).hidden = !user;
  $('log-in').hidden = Boolean(user);
  $('empty-act').textContent = user ? 'Make a picture' : 'Create an account';
  $('empty-act').href = user ? '/studio' : '/sign-up';
}

$('log-out').addEventListener('click', async () => {
  leaving = true;
  $('log-out').disabled = true;
  sessionStorage.clear();
  await logOut();
  location.replace('/login?note=logged-out');
});

// In another tab, or because the session could not be refreshed: what she likes and what is hers is nobody else's to see.
onLogOut(() => {
  if (!leaving && signedIn()) location.reload();
});

// Where to go on after logging in, and what for.
let wish = null;

function askToLogIn({ image }, { like }) {
  wish = { path: location.pathname + location.search, id: image.id, like };
  $('ask-heading').textContent = like ? 'Log in to like pictures' : 'Log in to do that';
  $('ask').showModal();
}

for (const way of $('ask').querySelectorAll('a')) {
  way.addEventListener('click', () => sessionStorage.setItem(backKey, JSON.stringify(wish)));
}
$('ask-close').addEventListener('click', () => $('ask').close());

async function goOn() {
  const back = JSON.parse(sessionStorage.getItem(backKey));
  sessionStorage.removeItem(backKey);
  if (!back || !signedIn()) return;
  for (let pages = 1; pages < mostPagesBack && next && !shown.has(back.id); pages += 1) await loadMore();
  const picture = shown.get(back.id);
  if (!picture) return say('The picture that you came back for is no longer in the grid.');
  picture.card.scrollIntoView({ block: 'center' });
  picture.card.querySelector('.like').focus();
  if (!back.like || picture.image.liked) return;
  await toggleLike(picture);
  if (picture.image.liked) announce('You are logged in, and like this picture now.');
}

/* The list */

const atTop = () => $('shots').getBoundingClientRect().top >= 0;

function settle() {
  $('empty').hidden = shown.size > 0;
  $('more').hidden = next === null;
  $('end').hidden = next !== null || shown.size === 0;
}

const isFresh = (image) => shown.get(image.id)?.image.published_at !== image.published_at;

// Puts in what is not shown yet, each where the server names it. Answers the first of them.
function insert({ images, cursor }) {
  let previous = null;
  let first = null;
  for (const image of images) {
    if (isFresh(image)) {
      if (shown.has(image.id)) drop(shown.get(image.id));
      previous = add(image, cursor, previous);
      first ??= previous;
    } else {
      previous = shown.get(image.id).card;
    }
  }
  return first;
}

// From the start: nothing of what was shown is left.
function startWith(page) {
  shown.clear();
  list.replaceChildren();
  next = page.next_cursor;
  return insert(page);
}

// What this page says of pictures that are shown. Answers whether anything has changed.
function takePage({ images, cursor, next_cursor: following, asOf }) {
  let changed = false;
  const listed = new Set(images.map(({ id }) => id));
  for (const image of images) if (!isFresh(image)) changed = take(shown.get(image.id), image, asOf) || changed;
  // What should be among them and is not has been taken back or hidden. By likes, a picture moves from page to page: it is missed
  // only where there is but one.
  const lastAt = Date.parse(images.at(-1)?.published_at);
  const isGone = ({ image }) => (following === null ? !cursor || order === 'new' : order === 'new' && Date.parse(image.published_at) > lastAt);
  for (const picture of [...shown.values()]) {
    if (listed.has(picture.image.id)) {
      picture.cursor = cursor;
    } else if (picture.cursor === cursor && isGone(picture)) {
      drop(picture);
      changed = true;
    } else if (picture.cursor === cursor) {
      // New ones have pushed it onto the next page.
      picture.cursor = following;
    }
  }
  return changed;
}

/* News: on top at once, or when the reader asks for it */

function showNews() {
  const count = news?.images.filter(isFresh).length ?? 0;
  const words = `${count} new ${count === 1 ? 'picture' : 'pictures'}`;
  $('news').hidden = count === 0;
  if (count > 0 && $('news').textContent !== words) {
    $('news').textContent = words;
    announce(`${words} in the grid.`);
  }
}

// Between the new ones and those that are shown there may be others, and by likes there is another order.
const mustStartAnew = (page) => order === 'top' || page.images.every(isFresh);

function takeNews() {
  fillHoles();
  const first = mustStartAnew(news) ? startWith(news) : insert(news);
  news = null;
  showNews();
  settle();
  return first;
}

$('news').addEventListener('click', () => {
  const first = takeNews();
  window.scrollTo({ top: 0 });
  first?.focus({ preventScroll: true });
  watchEnd();
});

function noteNews(page) {
  const fresh = page.images.filter(isFresh).length;
  news = fresh > 0 ? page : null;
  const hadSome = shown.size > 0;
  if (fresh > 0 && (!hadSome || (order === 'new' && atTop()))) {
    takeNews();
    announce(fresh === 1 ? '1 new picture in the grid.' : `${fresh} new pictures in the grid.`);
  } else {
    showNews();
  }
  return fresh > 0;
}

/* Further down */

let loading = null;

async function askMore() {
  const page = await askPage(order, next);
  next = page.next_cursor;
  let previous = list.lastElementChild;
  for (const image of page.images) if (!shown.has(image.id)) previous = add(image, page.cursor, previous);
  settle();
  return page.images.length;
}

// Throws nothing: what went wrong stands beside the button.
function loadMore() {
  showNotice($('more-problem'), '');
  loading ??= whileBusy($('more'), 'Loading…', askMore)
    .then(watchEnd, (problem) => {
      // From here on it is the reader who tries again.
      end?.unobserve($('more'));
      showNotice($('more-problem'), reasonOf(problem), { bad: true });
    })
    .finally(() => (loading = null));
  return loading;
}

$('more').addEventListener('click', async () => {
  const before = list.lastElementChild;
  await loadMore();
  before?.nextElementSibling?.focus({ preventScroll: true });
});

const end = window.IntersectionObserver && new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && next && loadMore(), { rootMargin: ahead });

// Told anew how far away the end is, now that it has moved.
function watchEnd() {
  end?.unobserve($('more'));
  end?.observe($('more'));
}

/* Asking again */

let timer = null;
let delay = shortestPollMs;
let polling = null;
let lookedAway = false;

function pollLater() {
  clearTimeout(timer);
  if (document.hidden) return;
  timer = setTimeout(poll, delay);
  delay = Math.min(delay * 1.5, longestPollMs);
}

function pollSoon() {
  delay = shortestPollMs;
  if (!polling) poll();
}

// One at a time.
function poll() {
  clearTimeout(timer);
  polling ??= askAgain().finally(() => {
    polling = null;
    pollLater();
  });
  return polling;
}

const cursorInView = () => [...shown.values()].find(({ card }) => card.getBoundingClientRect().bottom > 0)?.cursor;

async function askAgain() {
  try {
    const first = await askPage(order);
    // Somebody has logged in or out elsewhere.
    if (first.user?.id !== reader?.id) return location.reload();
    let changed = takePage(first);
    if (atTop()) fillHoles();
    changed = noteNews(first) || changed;
    const cursor = cursorInView();
    if (cursor) changed = takePage(await askPage(order, cursor)) || changed;
    await lookUnderWay();
    if (changed || isAnyUnderWay()) delay = shortestPollMs;
    settle();
    showNotice($('connection-problem'), '');
  } catch {
    showNotice($('connection-problem'), 'We cannot reach the server just now. We keep trying.');
  }
}

async function lookUnderWay() {
  if (!signedIn()) return;
  await askUnderWay({ anew: lookedAway, roomForNew: atTop() });
  lookedAway = false;
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  if (document.hidden || reader === undefined) return;
  lookedAway = true;
  pollSoon();
});

// "Back" may bring the page from the browser's memory, with the reader's place.
window.addEventListener('pageshow', ({ persisted }) => {
  if (persisted && reader !== undefined) pollSoon();
});

/* Start */

onPictures({
  signedIn,
  askToLogIn,
  say,
  open,
  changed: showLargeLike,
  gone(picture) {
    if (closeIfGone(picture)) say('The picture that you looked at is no longer in the grid.');
    settle();
  },
});
onLarge({ signedIn, askToLogIn });
onPictureShared(pollSoon);

async function load() {
  try {
    const page = await askPage(order);
    greet(page.user);
    startWith(page);
    settle();
    show('grid');
    watchEnd();
    pollLater();
    goOn();
    lookUnderWay().catch(() => (lookedAway = true));
  } catch (problem) {
    $('problem').textContent = reasonOf(problem);
    show('problem');
    announce(`The grid did not load. ${reasonOf(problem)}`);
  }
}

$('reload').addEventListener('click', async () => {
  await whileBusy($('reload'), 'Loading…', load);
  // The button is gone: a keyboard goes on at the pictures.
  if ($('view-problem').hidden) $('main').focus();
});

for (const link of $('orders').children) if (link.dataset.order === order) link.setAttribute('aria-current', 'page');
load();
