// What she may do with all of it: take it along, or have it deleted.

import { hasEnded, logOutAndLeave, wordsFor } from '/account.js';
import { apiFetch } from '/auth.js';
import { clearFieldErrors, focusFirstError, forgetErrorsOnInput, setFieldError, showNotice, whileBusy } from '/form.js';

const $ = (id) => document.getElementById(id);

function save(text, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  link.download = name;
  link.click();
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$('download-data').addEventListener('click', async ({ currentTarget: button }) => {
  showNotice($('data-status'), '');
  try {
    const everything = await whileBusy(button, 'Gathering…', () => apiFetch('/me/export'));
    save(JSON.stringify(everything, null, 2), 'sweetheart.json');
    showNotice($('data-status'), 'Everything is in the file sweetheart.json.');
  } catch (problem) {
    if (!hasEnded(problem)) showNotice($('data-status'), wordsFor(problem), { bad: true });
  }
});

const form = $('leaving-form');
const { word } = form.elements;
let busy = false;

$('delete-account').addEventListener('click', () => {
  form.reset();
  clearFieldErrors(form);
  showNotice($('leaving-problem'), '');
  $('leaving').showModal();
});
$('stay').addEventListener('click', () => $('leaving').close());
// By the Escape key; not while it is on its way.
$('leaving').addEventListener('cancel', (event) => busy && event.preventDefault());
forgetErrorsOnInput(form);

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  clearFieldErrors(form);
  showNotice($('leaving-problem'), '');
  if (word.value.trim() !== 'DELETE') {
    setFieldError(word, 'Please type DELETE, in capital letters.');
    return focusFirstError(form);
  }
  busy = true;
  $('stay').disabled = true;
  try {
    await whileBusy($('leave'), 'Deleting…', () => apiFetch('/me', { method: 'DELETE' }));
    sessionStorage.clear();
    await logOutAndLeave('left');
  } catch (problem) {
    // An answer that got lost: she is gone all the same, and says so by not being let in.
    if (!hasEnded(problem)) showNotice($('leaving-problem'), wordsFor(problem), { bad: true });
  } finally {
    busy = false;
    $('stay').disabled = false;
  }
});
