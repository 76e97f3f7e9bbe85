// The credit history: every line of the ledger that is hers, newest first.

import { announce, hasEnded, wordsFor } from '/account.js';
import { apiFetch, requireSession } from '/auth.js';
import { showNotice, whileBusy } from '/form.js';
import { credits, dayAndTime, number } from '/money.js';

const $ = (id) => document.getElementById(id);
const views = ['loading', 'empty', 'problem', 'list'];

// A type that is not known here is left out; the description says what it was.
const types = { purchase: 'Bought', spend: 'Used', refund: 'Returned', bonus: 'Given', adjustment: 'Adjusted' };

let next = null;

function show(view) {
  for (const name of views) $(`view-${name}`).hidden = name !== view;
}

function rowOf({ type, amount, balance_after: balance, description, created_at: created }) {
  const row = $('movement').content.cloneNode(true);
  const [sign, spoken] = row.querySelectorAll('.movement-amount span');
  row.querySelector('.movement-what').textContent = description;
  row.querySelector('.movement-amount').classList.toggle('gained', amount > 0);
  sign.textContent = amount > 0 ? `+${number(amount)}` : number(amount);
  spoken.textContent = `${credits(Math.abs(amount))} ${amount > 0 ? 'added' : 'taken off'}`;
  row.querySelector('.movement-type').textContent = types[type] ? `${types[type]} · ` : '';
  row.querySelector('time').dateTime = new Date(created).toISOString();
  row.querySelector('time').textContent = dayAndTime(created);
  row.querySelector('.movement-balance').textContent = `Balance ${number(balance)}`;
  return row.firstElementChild;
}

async function fetchPage() {
  const page = await apiFetch(next ? `/credit-history?before=${encodeURIComponent(next)}` : '/credit-history');
  const rows = page.entries.map(rowOf);
  $('movements').append(...rows);
  next = page.next;
  $('more').hidden = next === null;
  return { entries: page.entries, rows };
}

async function load() {
  try {
    const { entries } = await fetchPage();
    show(entries.length > 0 ? 'list' : 'empty');
    if (entries.length === 0) return;
    $('balance').textContent = `You have ${credits(entries[0].balance_after)}.`;
    $('balance').hidden = false;
  } catch (problem) {
    if (hasEnded(problem)) return;
    $('problem').textContent = wordsFor(problem);
    show('problem');
    announce(`Your credit history did not load. ${wordsFor(problem)}`);
  }
}

$('reload').addEventListener('click', async () => {
  await whileBusy($('reload'), 'Loading…', load);
  // The button is gone: a keyboard goes on at the history.
  if ($('view-problem').hidden) $('main').focus();
});

$('more').addEventListener('click', async () => {
  showNotice($('more-problem'), '');
  try {
    const { rows } = await whileBusy($('more'), 'Loading…', fetchPage);
    announce(rows.length === 1 ? '1 more entry.' : `${rows.length} more entries.`);
    // A keyboard and a screen reader go on where the new ones begin.
    rows[0]?.focus({ preventScroll: true });
  } catch (problem) {
    if (hasEnded(problem)) return;
    showNotice($('more-problem'), wordsFor(problem), { bad: true });
  }
});

try {
  const session = await requireSession();
  if (session) {
    $('account-email').textContent = session.user.email ?? '';
    load();
  }
} catch (problem) {
  $('problem').textContent = wordsFor(problem);
  show('problem');
}
