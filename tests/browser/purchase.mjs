// To Stripe's pages and back, with everything real but Stripe itself, for which the sandbox stands in: its checkout and its
// portal are driven as people do, and its webhooks reach our function.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, arm, sandbox } from './house.mjs';
import { button, look, says, view, visitDashboard } from './person.mjs';

const json = (method, body) => ({ method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

async function ask(path, options) {
  const response = await fetch(`${sandbox}/sandbox/stripe${path}`, options);
  const answer = await response.json();
  assert.ok(response.ok, JSON.stringify(answer));
  return answer;
}

// What banks and time do.
const act = (path, body = {}) => ask(path, json('POST', body));

const idOf = (page) => page.evaluate(() => JSON.parse(localStorage.getItem('sweetheart.session')).user.id);

// The object of the newest event of this type about her.
async function newest(page, type) {
  const { events } = await ask(`/events.json?about=${await idOf(page)}`);
  return events.find((event) => event.type === type).data.object;
}

// All that Stripe has to say arrives only when told.
async function holdingBack(story) {
  await ask('', json('PUT', { hold: true }));
  try {
    await story(() => act('/deliver'));
  } finally {
    await ask('', json('PUT', { hold: false }));
  }
}

async function checkout(page, offer) {
  await button(page, offer).click();
  await page.waitForURL(`${sandbox}/checkout/*`);
}

const pay = (page) => page.getByRole('button', { name: /^(Pay|Subscribe)/ }).click();

async function buy(page, offer) {
  await checkout(page, offer);
  await pay(page);
  await page.waitForURL('**/dashboard*');
}

async function shows(page, plan, credits) {
  await page.locator('#plan', { hasText: plan }).waitFor();
  await page.locator('#credits', { hasText: credits }).waitFor();
  assert.equal(await page.locator('#credits').textContent(), credits);
}

async function backFromPortal(page) {
  await page.getByRole('link', { name: 'Return to Sweetheart' }).click();
  await page.waitForURL('**/dashboard*');
}

test('she subscribes and finds 20 credits, buys a pack, cancels, resumes, and it is all in her credit history', () =>
  visitDashboard(async (page) => {
    await shows(page, 'Free plan', '4 credits');
    await buy(page, 'Subscribe to Pro');
    await says(page, 'Thank you. You are on the Pro plan now and have 20 credits.');
    await shows(page, 'Pro plan', '20 credits');
    await page.getByText(/^Renews on \d+ \w+ \d{4}, with 20 new credits\.$/).waitFor();
    assert.equal(new URL(page.url()).search, '');
    assert.equal(await page.getByRole('button', { name: /Subscribe/ }).count(), 0);
    await look(page, 'purchase-subscribed');

    await buy(page, 'Buy 10 credits');
    await says(page, 'Thank you. You now have 30 credits.');
    await shows(page, 'Pro plan', '30 credits');

    await button(page, 'Manage subscription').click();
    await page.getByRole('button', { name: 'Cancel subscription' }).click();
    await page.getByRole('heading', { name: 'Cancel your subscription' }).waitFor();
    await page.getByRole('button', { name: 'Cancel subscription' }).click();
    await backFromPortal(page);
    await page.getByText(/^Pro until \d+ \w+ \d{4}\. It is cancelled and will not renew; until then you can resume it\.$/).waitFor();
    await shows(page, 'Pro plan', '30 credits');
    await look(page, 'purchase-cancelled');

    await button(page, 'Manage subscription').click();
    await page.getByRole('button', { name: "Don't cancel subscription" }).click();
    await backFromPortal(page);
    await page.getByText(/^Renews on /).waitFor();

    await page.getByRole('link', { name: 'Credit history' }).click();
    await view(page, 'list');
    await says(page, 'You have 30 credits.');
    const entries = await page.getByRole('list', { name: 'Credit history, newest first' }).getByRole('listitem').allInnerTexts();
    assert.deepEqual(entries.map((entry) => entry.split(/\s*\n\s*/).slice(0, 2)), [
      ['10 credits', '+10'],
      ['Free credits, replaced by those of Pro', '−4'],
      ['Pro', '+20'],
      ['Free credits to start with', '+4'],
    ]);
    await look(page, 'purchase-history');
  }));

test('the new credits appear as soon as Stripe has told us, without a reload', () =>
  holdingBack((deliver) =>
    visitDashboard(async (page) => {
      await buy(page, 'Subscribe to Pro');
      await says(page, 'Thank you. Your credits are on their way; this usually takes a few seconds.');
      await shows(page, 'Free plan', '4 credits');
      await page.evaluate(() => (window.sameDocument = true));
      await deliver();
      await says(page, 'Thank you. You are on the Pro plan now and have 20 credits.');
      await shows(page, 'Pro plan', '20 credits');
      await page.locator('#announcer', { hasText: 'Thank you. You are on the Pro plan now and have 20 credits.' }).waitFor({ state: 'attached' });
      assert.ok(await page.evaluate(() => window.sameDocument));
    }),
  ));

test('what she did in the portal appears when Stripe has told us, without a reload', () =>
  visitDashboard(async (page) => {
    await buy(page, 'Subscribe to Pro');
    await shows(page, 'Pro plan', '20 credits');
    await holdingBack(async (deliver) => {
      await button(page, 'Manage subscription').click();
      await page.getByRole('button', { name: 'Cancel subscription' }).click();
      await page.getByRole('heading', { name: 'Cancel your subscription' }).waitFor();
      await page.getByRole('button', { name: 'Cancel subscription' }).click();
      await backFromPortal(page);
      await page.getByText(/^Renews on /).waitFor();
      await deliver();
      await page.getByText(/^Pro until /).waitFor();
    });
  }));

test('a bank transfer brings its credits when the bank confirms', () =>
  visitDashboard(async (page) => {
    await checkout(page, 'Buy 50 credits');
    const session = new URL(page.url()).pathname.split('/').pop();
    await page.getByLabel('Bank transfer, confirmed later').check();
    await pay(page);
    await says(page, 'Thank you. Your credits are on their way; this usually takes a few seconds.');
    await act(`/checkout/${session}/settle`, { succeeded: true });
    await says(page, 'Thank you. You now have 54 credits.');
  }));

test('a card that is declined buys nothing, and another one does', () =>
  visitDashboard(async (page) => {
    await checkout(page, 'Buy 10 credits');
    await page.getByLabel('Card number').fill('4000 0000 0000 0002');
    await pay(page);
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Card number').fill('4242 4242 4242 4242');
    await pay(page);
    await says(page, 'Thank you. You now have 14 credits.');
  }));

test('who comes back from the checkout by its link or by the back button has bought nothing and may buy', () =>
  visitDashboard(async (page) => {
    await checkout(page, 'Buy 10 credits');
    await page.getByRole('link', { name: 'Back', exact: true }).click();
    await says(page, 'Nothing was bought.');
    await checkout(page, 'Subscribe to Pro');
    await page.goBack();
    await shows(page, 'Free plan', '4 credits');
    await buy(page, 'Buy 10 credits');
    await says(page, 'Thank you. You now have 14 credits.');
  }));

test('a renewal that fails is said with its grace, and a good card in the portal mends it', () =>
  visitDashboard(async (page) => {
    await buy(page, 'Subscribe to Pro');
    await shows(page, 'Pro plan', '20 credits');
    const { id } = await newest(page, 'customer.subscription.created');
    await act(`/subscriptions/${id}/renew`, { fails: true });
    await ask(`/settled?about=${id}`);

    await page.reload();
    await page.getByText(/^Your last payment failed\. Pro stays until \d+ \w+ \d{4}\. Please update your card\.$/).waitFor();
    await shows(page, 'Pro plan', '20 credits');
    await look(page, 'purchase-payment-failed');

    await button(page, 'Update your card').click();
    await page.getByRole('button', { name: /^Pay .* now$/ }).click();
    await backFromPortal(page);
    await shows(page, 'Pro plan', '40 credits');
    await page.locator('#trouble').waitFor({ state: 'hidden' });
  }));

test('a subscription that is over may be begun again', () =>
  visitDashboard(async (page) => {
    await buy(page, 'Subscribe to Pro');
    await shows(page, 'Pro plan', '20 credits');
    const { id } = await newest(page, 'customer.subscription.created');
    await act(`/subscriptions/${id}/cancel`, { now: true });
    await ask(`/settled?about=${id}`);
    await page.reload();
    await page.getByText(/^Pro ended on /).waitFor();
    await shows(page, 'Free plan', '20 credits');
    await buy(page, 'Subscribe to Pro again');
    await says(page, 'Thank you. You are on the Pro plan now and have 40 credits.');
  }));

test('who subscribed in one tab cannot do so again in another, and is led to what she has', () =>
  visitDashboard(async (page) => {
    const other = await page.context().newPage();
    await other.goto('/dashboard');
    await button(other, 'Subscribe to Pro').waitFor();
    await buy(page, 'Subscribe to Pro');
    await shows(page, 'Pro plan', '20 credits');

    await button(other, 'Subscribe to Pro').click();
    await says(other, 'You are subscribed already, perhaps from another tab. Nothing was bought twice.');
    await button(other, 'Subscribe to Pro').waitFor({ state: 'detached' });
    await shows(other, 'Pro plan', '20 credits');
    await look(other, 'purchase-subscribed-already');
    await other.getByRole('link', { name: 'Manage subscription' }).click();
    await other.waitForURL(`${sandbox}/portal/*`);
    await backFromPortal(other);
  }));

test('a tab shows what was bought in another as soon as somebody looks at it', () =>
  visitDashboard(async (page) => {
    const other = await page.context().newPage();
    await other.goto('/dashboard');
    await shows(other, 'Free plan', '4 credits');
    await buy(page, 'Buy 10 credits');
    await shows(page, 'Free plan', '14 credits');
    await other.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await shows(other, 'Free plan', '14 credits');
  }));

test('credits that another tab bought are not taken for the ones that are on their way', () =>
  visitDashboard(async (page) => {
    const other = await page.context().newPage();
    await other.goto('/dashboard');
    await shows(other, 'Free plan', '4 credits');
    await buy(page, 'Buy 50 credits');
    await shows(page, 'Free plan', '54 credits');
    await holdingBack(async (deliver) => {
      await buy(other, 'Buy 10 credits');
      await shows(other, 'Free plan', '54 credits');
      await says(other, 'Thank you. Your credits are on their way; this usually takes a few seconds.');
      await deliver();
      await says(other, 'Thank you. You now have 64 credits.');
    });
  }));

test('with Stripe down nothing is bought, and trying again succeeds when it is back', () =>
  visitDashboard(async (page) => {
    await arm('stripe_api_500', await idOf(page), 2);
    await button(page, 'Buy 10 credits').click();
    await says(page, 'The payment service cannot be reached at the moment. Nothing was charged: please try again shortly.');
    await look(page, 'purchase-stripe-down');
    await button(page, 'Try again').click();
    await page.waitForURL(`${sandbox}/checkout/*`);
    await pay(page);
    await says(page, 'Thank you. You now have 14 credits.');
  }));
