// Money: what she has, what she buys, and how it is shown when something is in the way.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api } from './house.mjs';
import { button, look, says, view, visit, visitDashboard } from './person.mjs';

const plans = [{ id: 'pro', name: 'Pro', credits: 20, amount: 1900, currency: 'usd', interval: 'month' }];
const packs = [
  { id: 'small', name: '10 credits', credits: 10, amount: 900, currency: 'usd' },
  { id: 'large', name: '50 credits', credits: 50, amount: 3900, currency: 'usd' },
];

// Noon, so that it is the same day wherever the test runs.
const pro = {
  plan: 'pro',
  plan_name: 'Pro',
  status: 'active',
  live: true,
  renews_at: '2026-12-21T12:00:00Z',
  ends_at: null,
  payment_failed: false,
  grace_until: null,
};
const failing = { ...pro, status: 'past_due', renews_at: null, payment_failed: true, grace_until: '2026-11-28T12:00:00Z' };

const free = {
  user: { id: '3f9d6b1e-3b1c-4f0a-8a53-2f6a5c0d7e21', email: 'mia@example.com' },
  plan: 'free',
  plan_name: 'Free',
  credits: 4,
  subscription: null,
  can_manage_billing: false,
  offers: { plans, packs },
  influencer: null,
};

// The dashboard's answer in states that Stripe takes days to get to.
async function answerWith(page, changes) {
  await page.unroute(`${api}/dashboard`);
  await page.route(`${api}/dashboard`, (route) => route.fulfill({ json: { ...free, ...changes } }));
}

async function reloadWith(page, changes) {
  await answerWith(page, changes);
  await page.reload();
  await page.locator('#money').waitFor();
}

const asPro = (subscription, changes = {}) => ({
  plan: subscription.live ? 'pro' : 'free',
  plan_name: subscription.live ? 'Pro' : 'Free',
  credits: 17,
  subscription,
  can_manage_billing: true,
  ...changes,
});

test('who has nothing yet is offered Pro and the packs, each with its price', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, {});
    await says(page, '20 credits a month for US$19');
    await says(page, 'US$9 once');
    await says(page, 'US$39 once');
    await button(page, 'Subscribe to Pro').waitFor();
    await button(page, 'Buy 10 credits').waitFor();
    await button(page, 'Buy 50 credits').waitFor();
    assert.ok(await page.locator('#manage').isHidden());
    await look(page, 'money-free');
  }));

test('prices are right in currencies with other units, too', () =>
  visitDashboard(async (page) => {
    const pack = (amount, currency) => ({ id: currency, name: currency, credits: 10, amount, currency });
    const inMany = [pack(950, 'eur'), pack(1900, 'jpy'), pack(9000, 'kwd'), pack(500_000, 'ugx'), pack(1_234_500, 'gbp')];
    await reloadWith(page, { offers: { plans: [], packs: inMany } });
    const prices = await page.locator('.offer-price').allTextContents();
    const terms = ['€9.50', 'JP¥1,900', 'KWD 9', 'UGX 5,000', '£12,345'].map((price) => `10 credits for ${price} once`);
    assert.deepEqual(prices.map((price) => price.replace(/\s/g, ' ')), terms);
  }));

test('with nothing for sale nothing is offered', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, { offers: { plans: [], packs: [] }, credits: 0 });
    await says(page, 'You have no credits left.');
    assert.equal(await page.getByRole('button', { name: /Subscribe|Buy/ }).count(), 0);
    await look(page, 'money-nothing-for-sale');
  }));

test('a subscription says when it renews and with what, and until when it stays once it is cancelled', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, asPro(pro));
    await says(page, 'Renews on 21 December 2026, with 20 new credits.');
    assert.equal(await page.locator('#plan').textContent(), 'Pro plan');
    assert.equal(await page.getByRole('button', { name: /Subscribe/ }).count(), 0);
    await button(page, 'Manage subscription').waitFor();
    await look(page, 'money-pro');

    await reloadWith(page, asPro({ ...pro, renews_at: null, ends_at: '2026-12-21T12:00:00Z' }));
    await says(page, 'Pro until 21 December 2026. It is cancelled and will not renew; until then you can resume it.');
    await look(page, 'money-cancelled');

    await reloadWith(page, asPro({ ...pro, status: 'canceled', live: false, renews_at: null, ends_at: '2026-11-20T12:00:00Z' }));
    await says(page, 'Pro ended on 20 November 2026.');
    await button(page, 'Subscribe to Pro again').waitFor();
    await look(page, 'money-ended');
  }));

test('a payment that failed is said at once, with the way to mend it', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, asPro(failing));
    await says(page, 'Your last payment failed. Pro stays until 28 November 2026. Please update your card.');
    await button(page, 'Update your card').waitFor();
    await look(page, 'money-payment-failed');

    await reloadWith(page, asPro({ ...failing, status: 'unpaid', live: false }));
    await says(page, 'Your last payment failed. Pro is switched off: update your card, and it is back as soon as the payment arrives.');
    assert.equal(await page.getByRole('button', { name: /Subscribe/ }).count(), 0);

    await reloadWith(page, asPro({ ...failing, status: 'incomplete', live: false }));
    await says(page, 'Your first payment is not finished yet; your bank may want you to confirm it. Pro begins after that.');
    await button(page, 'Finish the payment').waitFor();

    await reloadWith(page, asPro({ ...pro, status: 'incomplete_expired', live: false, renews_at: null }));
    await says(page, 'Your first payment did not go through. Pro never began.');
    await button(page, 'Subscribe to Pro').waitFor();

    await reloadWith(page, asPro({ ...pro, status: 'paused', live: false, renews_at: null }));
    await says(page, 'Your subscription is paused: no payments, and no new credits until you resume it.');

    await reloadWith(page, asPro({ ...pro, status: 'something_new', live: false, renews_at: null }));
    await says(page, 'Your subscription is not active at the moment. “Manage subscription” says why.');
    await button(page, 'Manage subscription').waitFor();
  }));

test('an empty balance says what to do, and one below zero how that came', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, { credits: 0 });
    await says(page, 'You have no credits left. To have some again, subscribe to Pro or buy a pack.');
    await reloadWith(page, asPro(pro, { credits: 0 }));
    await says(page, 'You have no credits left. To have some again, wait for the new ones or buy a pack.');
    await reloadWith(page, { credits: -10 });
    assert.equal(await page.locator('#credits').textContent(), '−10 credits');
    await page.getByText('Your balance is below zero, because a payment was returned after its credits had been used.').waitFor();
    await look(page, 'money-below-zero');
  }));

/* Buying */

const stripe = 'https://checkout.stripe.test/pay';

// Counts the sessions that were asked for, with the keys of the requests.
async function answerCheckout(page, answer) {
  const keys = [];
  await page.route(`${api}/checkout-sessions`, async (route) => {
    keys.push(route.request().headers()['idempotency-key']);
    await answer(route, keys.length);
  });
  await page.route(`${stripe}*`, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>Pay</title>' }));
  return keys;
}

const toStripe = (route) => route.fulfill({ status: 201, json: { checkout_url: stripe, session_id: 'cs_test_1' } });

test('a purchase that is pressed twice in haste is sent once, and its button waits meanwhile', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, {});
    let answer;
    const asked = new Promise((resolve) => (answer = resolve));
    const keys = await answerCheckout(page, async (route) => {
      await asked;
      await toStripe(route);
    });
    await button(page, 'Buy 10 credits').dblclick();
    assert.ok(await button(page, 'One moment…').isDisabled());
    assert.ok(await button(page, 'Buy 50 credits').isDisabled());
    assert.ok(await button(page, 'Subscribe to Pro').isDisabled());
    await look(page, 'money-one-moment');
    answer();
    await page.waitForURL(stripe);
    assert.equal(keys.length, 1);
    assert.match(keys[0], /^[0-9a-f-]{36}$/);

    await page.goBack();
    await button(page, 'Buy 10 credits').click();
    await page.waitForURL(stripe);
    assert.equal(keys.length, 2);
    assert.notEqual(keys[0], keys[1]);
  }));

test('a page that "back" brings from the memory of the browser is made anew', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, {});
    await answerCheckout(page, () => {});
    await button(page, 'Buy 10 credits').click();
    await button(page, 'One moment…').waitFor();
    await page.evaluate(() => window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
    await button(page, 'Buy 10 credits').waitFor();
    assert.ok(await button(page, 'Buy 10 credits').isEnabled());
  }));

test('with the server away a purchase says so, and trying again succeeds', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, {});
    await answerCheckout(page, (route, times) => (times === 1 ? route.abort() : toStripe(route)));
    await button(page, 'Buy 10 credits').click();
    await says(page, 'We cannot reach the server. Please check your connection and try again.');
    assert.equal(await page.locator(':focus').textContent(), 'Buy 10 credits');
    await look(page, 'money-unreachable');
    await button(page, 'Try again').click();
    await page.waitForURL(stripe);
  }));

test('what is no longer for sale is said and taken away', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, {});
    const errors = [{ pointer: '#/pack_id', code: 'unknown', detail: 'is not for sale' }];
    await answerCheckout(page, (route) => route.fulfill({ status: 422, json: { code: 'invalid_fields', errors } }));
    await answerWith(page, { offers: { plans, packs: [packs[0]] } });
    await button(page, 'Buy 50 credits').click();
    await says(page, 'This is not for sale any more. Below is what there is now.');
    await button(page, 'Buy 50 credits').waitFor({ state: 'detached' });
    await button(page, 'Buy 10 credits').waitFor();
  }));

test('who turns back at the checkout is told that nothing was bought', () =>
  visitDashboard(async (page) => {
    await page.goto('/dashboard?checkout=cancelled');
    await says(page, 'Nothing was bought.');
    await view(page, 'none');
    assert.equal(new URL(page.url()).search, '');
    await look(page, 'money-nothing-bought');
    await page.reload();
    await view(page, 'none');
    assert.ok(await page.getByText('Nothing was bought.').first().isHidden());
  }));

const thanks = 'Thank you. Your credits are on their way; this usually takes a few seconds.';
const later = 'Some ways to pay, such as a bank transfer, take longer: your credits come as soon as the bank confirms. You may leave this page.';

test('a payment that takes longer is asked after for a minute and then by hand', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, {});
    await answerCheckout(page, toStripe);
    await button(page, 'Buy 10 credits').click();
    await page.waitForURL(stripe);

    await page.clock.install();
    await page.goto('/dashboard?checkout=success');
    await says(page, thanks);
    await view(page, 'none');
    await look(page, 'money-on-their-way');
    // A reload goes on waiting.
    await page.reload();
    await says(page, thanks);
    await page.locator('#money').waitFor();

    let asked = 0;
    page.on('response', (response) => {
      if (response.request().method() === 'GET' && response.url() === `${api}/dashboard`) asked += 1;
    });
    while (await page.locator('#check-again').isHidden()) {
      const answered = page.waitForResponse(`${api}/dashboard`);
      await page.clock.runFor(5000);
      await (await answered).finished();
    }
    await says(page, `Thank you. ${later}`);
    assert.ok(asked >= 8 && asked <= 20, `asked ${asked} times`);
    await look(page, 'money-later');

    await button(page, 'Check again').click();
    await says(page, `Nothing new yet. ${later}`);
    await answerWith(page, { credits: 14 });
    await button(page, 'Check again').click();
    await says(page, 'Thank you. You now have 14 credits.');
    assert.equal(await page.locator('#credits').textContent(), '14 credits');
    assert.equal(await page.locator(':focus').getAttribute('id'), 'news');
  }));

test('who comes back from her bank in another tab is thanked there, and told when the credits arrive', () =>
  visitDashboard(async (page) => {
    await answerWith(page, {});
    await page.goto('/dashboard?checkout=success');
    await says(page, 'Thank you. Your credits are here as soon as the payment is confirmed.');
    await page.locator('#money').waitFor();
    await answerWith(page, { credits: 14 });
    await says(page, 'Thank you. You now have 14 credits.');
  }));

test('somebody else who logs in meanwhile is not thanked for it', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, {});
    await answerCheckout(page, toStripe);
    await button(page, 'Buy 10 credits').click();
    await page.waitForURL(stripe);
    await answerWith(page, { user: { ...free.user, id: '7baa4aa5-cce0-4881-adfe-6243406fcadf' }, credits: 40 });
    await page.goto('/dashboard?checkout=success');
    await page.locator('#credits', { hasText: '40 credits' }).waitFor();
    assert.ok(await page.locator('#news').isHidden());
  }));

test('an answer that comes late does not paint over a newer one', () =>
  visitDashboard(async (page) => {
    await reloadWith(page, {});
    let answer;
    const asked = new Promise((resolve) => (answer = resolve));
    let first = true;
    await page.unroute(`${api}/dashboard`);
    await page.route(`${api}/dashboard`, async (route) => {
      if (!first) return route.fulfill({ json: { ...free, credits: 14 } });
      first = false;
      await asked;
      return route.fulfill({ json: free });
    });
    await page.evaluate(() => {
      document.dispatchEvent(new Event('visibilitychange'));
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await page.locator('#credits', { hasText: '14 credits' }).waitFor();
    const late = page.waitForResponse(`${api}/dashboard`);
    answer();
    await (await late).finished();
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
    assert.equal(await page.locator('#credits').textContent(), '14 credits');
  }));

/* The credit history */

const line = (id, changes = {}) => ({
  id: `${id}`,
  type: 'spend',
  amount: -1,
  balance_after: id,
  description: `Picture ${id}`,
  created_at: '2026-11-21T12:00:00.123456Z',
  ...changes,
});

const lines = (newest, count) => Array.from({ length: count }, (_, i) => line(newest - i));

function answerHistory(page, pages) {
  return page.route(`${api}/credit-history*`, (route) => {
    const before = new URL(route.request().url()).searchParams.get('before');
    return route.fulfill({ json: pages[before ?? ''] });
  });
}

test('the credit history shows what came and went, and more of it when asked', () =>
  visitDashboard(async (page) => {
    const newest = [
      line(60, { type: 'adjustment', amount: -30, balance_after: -7, description: 'Taken back, because the payment was returned' }),
      line(59, { type: 'refund', amount: 1, balance_after: 23, description: 'Picture that failed' }),
      line(58, { type: 'purchase', amount: 20, balance_after: 22, description: 'Pro' }),
      line(57, { type: 'something_new', amount: 1, balance_after: 2, description: 'x'.repeat(80) }),
      ...lines(25, 21),
    ];
    await answerHistory(page, { '': { entries: newest, next: '5' }, 5: { entries: lines(4, 3), next: null } });
    await page.getByRole('link', { name: 'Credit history' }).click();
    await page.waitForURL('**/credits');
    await view(page, 'list');
    await says(page, 'You have −7 credits.');
    const entries = page.getByRole('list', { name: 'Credit history, newest first' }).getByRole('listitem');
    assert.equal(await entries.count(), 25);
    assert.match(await entries.nth(2).innerText(), /^Pro\s+\+20\s+20 credits added\s+Bought · 21 Nov( 2026)?, \d\d:00\s+Balance 22$/);
    assert.match(await entries.nth(4).innerText(), /−1\s+1 credit taken off\s+Used/);
    assert.equal(await entries.nth(2).locator('time').getAttribute('datetime'), '2026-11-21T12:00:00.123Z');
    await look(page, 'credits');

    await button(page, 'Show more').click();
    await entries.nth(27).waitFor();
    assert.ok(await page.locator('#more').isHidden());
    assert.match(await page.locator(':focus').innerText(), /^Picture 4/);
    await page.locator('#announcer', { hasText: '3 more entries.' }).waitFor({ state: 'attached' });
    await page.getByRole('link', { name: 'Back to your sweetheart' }).click();
    await page.waitForURL('**/dashboard');
  }));

test('an empty credit history says so', () =>
  visitDashboard(async (page) => {
    await answerHistory(page, { '': { entries: [], next: null } });
    await page.goto('/credits');
    await view(page, 'empty');
    await look(page, 'credits-empty');
  }));

test('a credit history that does not load says so and loads at the next try, and so does its second page', () =>
  visitDashboard(async (page) => {
    const history = `${api}/credit-history*`;
    await page.route(history, (route) => route.fulfill({ status: 503, json: { code: 'database_unavailable' } }));
    await page.goto('/credits');
    await view(page, 'problem');
    await look(page, 'credits-problem');

    await page.unroute(history);
    await answerHistory(page, { '': { entries: lines(50, 25), next: '26' }, 26: { entries: lines(25, 2), next: null } });
    await button(page, 'Try again').click();
    await view(page, 'list');
    assert.equal(await page.locator(':focus').getAttribute('id'), 'main');

    await page.route(history, (route) => route.abort());
    await button(page, 'Show more').click();
    await says(page, 'We cannot reach the server. Please check your connection and try again.');
    await look(page, 'credits-more-problem');
    await page.unroute(history);
    await answerHistory(page, { 26: { entries: lines(25, 2), next: null } });
    await button(page, 'Show more').click();
    await page.getByText('Picture 24').waitFor();
    assert.ok(await page.locator('#more-problem').isHidden());
  }));

test('the credit history is for who is logged in', () =>
  visit(async (page) => {
    await page.goto('/credits');
    await page.waitForURL('**/login');
  }));

test('while the credit history is loading its page is there already', () =>
  visitDashboard(async (page) => {
    let answer;
    const asked = new Promise((resolve) => (answer = resolve));
    await page.route(`${api}/credit-history*`, async (route) => {
      await asked;
      await route.fulfill({ json: { entries: lines(3, 3), next: null } });
    });
    await page.goto('/credits');
    await view(page, 'loading');
    await look(page, 'credits-loading');
    answer();
    await view(page, 'list');
  }));
