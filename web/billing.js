// Plan and credits on the dashboard: what she has, what there is to buy, and the way to Stripe's pages and back.
//
// Nothing here gives anybody anything. What was paid is credited when Stripe tells the server, which may be before she is back
// or days later; this page asks until it is there.

import { announce, hasEnded, wordsFor } from '/account.js';
import { apiFetch } from '/auth.js';
import { showNotice, whileBusy } from '/form.js';
import { credits, day, price } from '/money.js';

const errandKey = 'sweetheart.errand';

const shortestWaitMs = 1000;
const longestWaitMs = 5000;
// How long news is waited for: of a payment, and of whatever else she may have done on Stripe's pages.
const paymentMs = 60_000;
const errandMs = 20_000;
// A page of Stripe is there before that, or the way to it was stopped.
const leavingMs = 10_000;

const $ = (id) => document.getElementById(id);

let dashboard = null;

let asked = 0;
let shown = 0;

// The dashboard's answer. What it says of plan and credits is shown here.
export async function askServer() {
  asked += 1;
  const turn = asked;
  const answer = await apiFetch('/dashboard');
  // An older answer must not paint over a newer one.
  if (turn > shown) {
    shown = turn;
    showBilling(answer);
  }
  return answer;
}

/* What she has */

// Statuses of Stripe after which a subscription is over, or never began: she may subscribe anew.
const over = ['canceled', 'incomplete', 'incomplete_expired'];

const maySubscribe = () => !dashboard.subscription || over.includes(dashboard.subscription.status);

// What is wrong with the payments, if anything: it must be seen at once.
function troubleWords({ plan_name: name, status, live, payment_failed: failed, grace_until: until }) {
  const plan = name ?? 'Your plan';
  if (status === 'incomplete') return `Your first payment is not finished yet; your bank may want you to confirm it. ${plan} begins after that.`;
  if (!failed) return '';
  if (!live) return `Your last payment failed. ${plan} is switched off: update your card, and it is back as soon as the payment arrives.`;
  return `Your last payment failed. ${plan} stays ${until ? `until ${day(until)}` : 'for a few days'}. Please update your card.`;
}

// How the subscription goes on, if there is one.
function outlookWords({ plan: id, plan_name: name, status, live, renews_at: renews, ends_at: ends, payment_failed: failed }) {
  const plan = name ?? 'Your plan';
  if (status === 'canceled') return `${plan} ended${ends ? ` on ${day(ends)}` : ''}.`;
  if (status === 'incomplete_expired') return `Your first payment did not go through. ${plan} never began.`;
  if (status === 'paused') return 'Your subscription is paused: no payments, and no new credits until you resume it.';
  if (failed) return '';
  if (!live) return 'Your subscription is not active at the moment. “Manage subscription” says why.';
  if (ends) return `${plan} until ${day(ends)}. It is cancelled and will not renew; until then you can resume it.`;
  if (!renews) return '';
  const offer = dashboard.offers.plans.find((one) => one.id === id);
  const begins = status === 'trialing' ? 'Your trial ends, and payments begin, on' : 'Renews on';
  return `${begins} ${day(renews)}${offer ? `, with ${offer.credits} new credits` : ''}.`;
}

// What can be done about an empty balance, and why one may be below zero.
function balanceWords() {
  const { credits: balance, offers, subscription } = dashboard;
  if (balance > 0) return '';
  const ways = [];
  if (subscription?.renews_at) ways.push('wait for the new ones');
  if (maySubscribe()) ways.push(...offers.plans.map(({ name }) => `subscribe to ${name}`));
  if (offers.packs.length > 0) ways.push('buy a pack');
  const list = new Intl.ListFormat('en', { type: 'disjunction' }).format(ways);
  const hint = list && ` To have some again, ${list}.`;
  if (balance === 0) return `You have no credits left.${hint}`;
  return `Your balance is below zero, because a payment was returned after its credits had been used. New credits fill that gap first.${hint}`;
}

function show(id, words) {
  $(id).textContent = words;
  $(id).hidden = words === '';
}

function showBilling(answer) {
  const before = dashboard && wordsNow();
  dashboard = answer;
  const { subscription } = dashboard;

  $('plan').textContent = `${dashboard.plan_name} plan`;
  $('credits').textContent = credits(dashboard.credits);
  $('plan-card').setAttribute('aria-busy', 'false');
  $('plan-card').hidden = false;

  const trouble = subscription ? troubleWords(subscription) : '';
  show('trouble-words', trouble);
  $('trouble').hidden = trouble === '';
  show('outlook', subscription ? outlookWords(subscription) : '');
  show('balance', balanceWords());
  showWays();
  $('money').hidden = false;

  // What changes before somebody's eyes is read out; what a fresh page shows is read anyway.
  if (before && before !== wordsNow()) announce(wordsNow());
  watchOn();
}

const wordsNow = () => ['plan', 'credits', 'trouble-words', 'outlook'].map((id) => $(id).textContent).join(' ');

/* What she can do about it */

let busy = false;
let offered = '';

function setBusy(value) {
  busy = value;
  for (const button of document.querySelectorAll('#offers button, #manage, #update-card')) button.disabled = value;
}

function showWays() {
  // A button that is being pressed stays as it is.
  if (busy) return;
  const { subscription, can_manage_billing: mayManage } = dashboard;
  $('update-card').textContent = subscription?.status === 'incomplete' ? 'Finish the payment' : 'Update your card';
  $('update-card').hidden = !mayManage;
  $('manage').textContent = maySubscribe() ? 'Payments and invoices' : 'Manage subscription';
  $('manage').parentElement.hidden = !mayManage;
  showOffers();
  // Firefox keeps a button disabled over a reload.
  setBusy(false);
}

function offerRow({ name, terms, label, errand, primary }) {
  const row = $('offer').content.cloneNode(true);
  row.querySelector('.offer-name').textContent = name;
  row.querySelector('.offer-price').textContent = terms;
  const button = row.querySelector('button');
  button.textContent = label;
  button.classList.toggle('primary', primary);
  button.addEventListener('click', () => goToStripe(button, '/checkout-sessions', errand));
  return row;
}

function showOffers() {
  const { plans, packs } = dashboard.offers;
  const again = dashboard.subscription?.status === 'canceled' ? ' again' : '';
  const rows = [
    ...plans.filter(({ id }) => maySubscribe() && id !== dashboard.plan).map((plan) => ({
      name: plan.name,
      terms: `${credits(plan.credits)} a ${plan.interval} for ${price(plan)}`,
      label: `Subscribe to ${plan.name}${again}`,
      errand: { plan_id: plan.id },
      primary: true,
    })),
    ...packs.map((pack) => ({
      name: pack.name,
      terms: pack.name === credits(pack.credits) ? `${price(pack)} once` : `${credits(pack.credits)} for ${price(pack)} once`,
      label: `Buy ${pack.name}`,
      errand: { pack_id: pack.id },
      primary: false,
    })),
  ];
  const wanted = JSON.stringify(rows);
  if (wanted === offered) return;
  offered = wanted;
  $('offers').replaceChildren(...rows.map(offerRow));
  $('offers').hidden = rows.length === 0;
}

/* To Stripe */

function remember(errand) {
  const { user, plan, credits: balance } = dashboard;
  sessionStorage.setItem(errandKey, JSON.stringify({ user: user.id, plan, credits: balance, errand }));
}

// Gets the address of a page of Stripe and goes there. `errand` is what is to be bought; null for the portal.
async function goToStripe(button, path, errand) {
  $('problem').hidden = true;
  try {
    await whileBusy(button, 'One moment…', async () => {
      setBusy(true);
      // Fresh numbers to compare with on the way back, since another tab may have bought something, too; and to show why, when
      // this is refused.
      const [answer] = await Promise.all([
        apiFetch(path, { method: 'POST', body: errand ?? {}, idempotencyKey: crypto.randomUUID() }),
        askServer().catch(() => {}),
      ]);
      remember(errand);
      location.assign(answer.checkout_url ?? answer.portal_url);
      await new Promise((resolve) => setTimeout(resolve, leavingMs));
    });
  } catch (problem) {
    showProblem(problem, () => {
      button.focus();
      goToStripe(button, path, errand);
    });
  } finally {
    busy = false;
    showWays();
  }
}

function showProblem(problem, retry) {
  if (hasEnded(problem)) return;
  const gone = problem.errors.some(({ code }) => code === 'unknown');
  $('problem-words').textContent = gone ? 'This is not for sale any more. Below is what there is now.' : wordsFor(problem);
  $('problem-portal').hidden = !problem.portalUrl;
  if (problem.portalUrl) $('problem-portal').href = problem.portalUrl;
  $('problem-retry').hidden = problem.status >= 400 && problem.status < 500;
  $('problem-retry').onclick = retry;
  $('problem').hidden = false;
  $('problem').scrollIntoView({ block: 'nearest' });
}

$('problem-portal').addEventListener('click', () => remember(null));

$('manage').addEventListener('click', () => goToStripe($('manage'), '/billing-portal-sessions', null));
$('update-card').addEventListener('click', () => goToStripe($('update-card'), '/billing-portal-sessions', null));

/* And back: asking until what she did there has arrived here */

// null, or {paid, before, errand, until, delay}.
let watch = null;
let timer = null;

const onTheirWay = 'Thank you. Your credits are on their way; this usually takes a few seconds.';
// When this tab does not know how it was before: they may be here already.
const whenConfirmed = 'Thank you. Your credits are here as soon as the payment is confirmed.';
const later =
  'Some ways to pay, such as a bank transfer, take longer: your credits come as soon as the bank confirms. You may leave this page.';

function tell(words, { checkAgain = false } = {}) {
  show('news-words', words);
  $('news').hidden = false;
  $('check-again').hidden = !checkAgain;
  announce(words);
}

function comeBack() {
  const result = new URLSearchParams(location.search).get('checkout');
  // A reload, or the address kept as a bookmark, must not say it again.
  if (result) history.replaceState(null, '', location.pathname);

  const kept = JSON.parse(sessionStorage.getItem(errandKey));
  if (result === 'cancelled') {
    sessionStorage.removeItem(errandKey);
    return tell('Nothing was bought.');
  }
  const paid = result === 'success' || kept?.paid === true;
  if (!paid && !kept) return;
  watch = { paid, before: kept, errand: kept?.errand ?? null, until: null, delay: shortestWaitMs };
  if (paid) {
    // A reload goes on waiting.
    if (kept) sessionStorage.setItem(errandKey, JSON.stringify({ ...kept, paid }));
    tell(kept ? onTheirWay : whenConfirmed);
  } else if (!kept.errand) {
    sessionStorage.removeItem(errandKey);
  }
}

function hasArrived() {
  const { before, errand } = watch;
  const planIsNew = dashboard.plan !== before.plan;
  // The plan and its credits come with different messages of Stripe, in any order.
  if (errand?.plan_id) return dashboard.plan === errand.plan_id && dashboard.credits !== before.credits;
  return dashboard.credits > before.credits || (!errand && planIsNew);
}

function endWatch() {
  clearTimeout(timer);
  sessionStorage.removeItem(errandKey);
  watch = null;
}

// After each answer, and after each question that got none.
function watchOn() {
  clearTimeout(timer);
  if (!watch || document.hidden) return;
  // Somebody else has logged in meanwhile.
  if (watch.before && watch.before.user !== dashboard.user.id) {
    $('news').hidden = true;
    return endWatch();
  }
  // Nothing is remembered when her bank opened another tab, for instance: then it is compared with how it is now.
  watch.before ??= { user: dashboard.user.id, plan: dashboard.plan, credits: dashboard.credits };
  watch.until ??= Date.now() + (watch.paid ? paymentMs : errandMs);

  const enough = Date.now() >= watch.until;
  if (watch.paid && (hasArrived() || (enough && dashboard.plan === watch.errand?.plan_id))) {
    const plan = watch.errand?.plan_id ? `You are on the ${dashboard.plan_name} plan now and have` : 'You now have';
    endWatch();
    tell(`Thank you. ${plan} ${credits(dashboard.credits)}.`);
  } else if (!enough) {
    timer = setTimeout(ask, watch.delay);
    watch.delay = Math.min(watch.delay * 1.5, longestWaitMs);
  } else if (!watch.paid) {
    watch = null;
  } else if (!watch.late) {
    watch.late = true;
    sessionStorage.removeItem(errandKey);
    tell(`Thank you. ${later}`, { checkAgain: true });
  }
}

async function ask() {
  try {
    await askServer();
  } catch (problem) {
    if (hasEnded(problem)) return;
    watchOn();
  }
}

$('check-again').addEventListener('click', async () => {
  try {
    await whileBusy($('check-again'), 'Checking…', askServer);
    if (watch) tell(`Nothing new yet. ${later}`, { checkAgain: true });
    else $('news').focus();
  } catch (problem) {
    if (hasEnded(problem)) return;
    tell(wordsFor(problem), { checkAgain: true });
  }
});

// Whoever comes back to this tab may have bought something in another.
document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  if (document.hidden || !dashboard) return;
  if (watch) watch.delay = shortestWaitMs;
  ask();
});

comeBack();
