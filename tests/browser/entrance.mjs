// From the sign-up to the dashboard, and out again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, sandbox } from './house.mjs';
import { logIn, look, password, view, visit, visitDashboard } from './person.mjs';

async function signUp(page, email) {
  await page.goto('/sign-up');
  await page.getByRole('textbox', { name: 'E-mail' }).fill(email);
  await page.getByRole('textbox', { name: 'Password' }).fill(password);
  await page.getByRole('button', { name: 'Create account' }).click();
  await view(page, 'sent');
}

async function clickLinkInMail(page, email) {
  await page.goto(`${sandbox}/inbox`);
  await page.locator('article', { hasText: email }).getByRole('link').click();
}

test('a visitor signs up, confirms by the link in the mail, logs in and finds the Free plan with 4 credits', () =>
  visit(async (page, email) => {
    await page.goto('/');
    await page.waitForURL('**/login');
    await look(page, 'login');
    await page.getByRole('link', { name: 'Create an account' }).click();
    await page.waitForURL('**/sign-up');
    await look(page, 'sign-up');

    await signUp(page, email);
    assert.equal(await page.locator(':focus').textContent(), 'Check your e-mail');
    assert.equal(await page.locator('#sent-to').textContent(), email);
    assert.ok(await page.getByRole('button', { name: /^Send it again in \d+ s$/ }).isDisabled());
    await look(page, 'sign-up-sent');

    await clickLinkInMail(page, email);
    await view(page, 'confirmed');
    assert.doesNotMatch(page.url(), /access_token/);
    await page.waitForURL('**/login?note=confirmed');
    await page.getByText('Your e-mail is confirmed. You can log in now.').waitFor();
    assert.equal(await page.getByRole('textbox', { name: 'E-mail' }).inputValue(), email);
    await look(page, 'login-confirmed');

    await logIn(page, email);
    await page.waitForURL('**/dashboard');
    await view(page, 'none');
    assert.equal(await page.locator('#plan').textContent(), 'Free plan');
    assert.equal(await page.locator('#credits').textContent(), '4 credits');
    assert.equal(await page.locator('#account-email').textContent(), email);
    await look(page, 'dashboard-none');
  }));

test('the confirmation page says that it worked and leads on', () =>
  visit(async (page, email) => {
    await signUp(page, email);
    // The page goes on by itself: hold it while it is being looked at.
    let release;
    const looked = new Promise((resolve) => (release = resolve));
    await page.route('**/login?note=confirmed', async (route) => {
      await looked;
      await route.continue();
    });
    await clickLinkInMail(page, email);
    await view(page, 'confirmed');
    await look(page, 'redirect-confirmed');
    release();
    await page.waitForURL('**/login?note=confirmed');
  }));

test('a link that was used already says so and offers a new mail', () =>
  visit(async (page, email) => {
    await signUp(page, email);
    await clickLinkInMail(page, email);
    await view(page, 'confirmed');
    await clickLinkInMail(page, email);
    await view(page, 'failed');
    await page.getByText('It has expired, or it has been used already.').waitFor();
    await look(page, 'redirect-failed');

    // Lite refuses every second mail, so the answer of Supabase stands in.
    await page.route('**/auth/v1/resend*', (route) => route.fulfill({ json: {} }));
    assert.equal(await page.getByRole('textbox', { name: 'E-mail' }).inputValue(), email);
    await page.getByRole('button', { name: 'Send me a new link' }).click();
    await page.getByText(`A new link is on its way to ${email}.`).waitFor();
    assert.ok(await page.getByRole('button', { name: /^Send me a new link in \d+ s$/ }).isDisabled());
  }));

test('a sign-up without an address and with a short password is told beside the fields', () =>
  visit(async (page) => {
    await page.goto('/sign-up');
    const secret = page.getByRole('textbox', { name: 'Password' });
    await secret.fill('short');
    await page.getByText('At least 8 characters, 3 to go').waitFor();
    await page.getByRole('button', { name: 'Show password' }).click();
    assert.equal(await secret.getAttribute('type'), 'text');
    await page.getByRole('button', { name: 'Create account' }).click();

    await page.getByText('Please enter your e-mail address.').waitFor();
    await page.getByText('Please choose a password of at least 8 characters.').waitFor();
    assert.equal(await page.locator(':focus').getAttribute('id'), 'email');
    await look(page, 'sign-up-errors');

    await secret.fill('long enough');
    await page.getByText('Long enough').waitFor();
    assert.equal(await secret.getAttribute('aria-invalid'), null);
  }));

test('a wrong password is refused in plain words', () =>
  visitDashboard(async (page, email) => {
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('You are logged out. See you soon.').waitFor();
    await logIn(page, email, 'not her password');
    await page.getByText('That e-mail address and password do not match.').waitFor();
    await look(page, 'login-wrong-password');
  }));

test('who has not confirmed yet is told so and may ask for the mail again', () =>
  visit(async (page, email) => {
    await signUp(page, email);
    await page.goto('/login');
    await logIn(page, email);
    await page.getByText('Your e-mail address is not confirmed yet.').waitFor();
    await look(page, 'login-not-confirmed');
    await page.getByRole('button', { name: 'Send the link again' }).click();
    await page.getByText('Too many mails were asked for just now.').waitFor();
  }));

test('a log-in with the server away says so', () =>
  visit(async (page, email) => {
    await page.goto('/login');
    await page.route('**/auth/v1/token*', (route) => route.abort());
    await logIn(page, email);
    await page.getByText('We cannot reach the server.').waitFor();
  }));

test('the dashboard is for who is logged in', () =>
  visit(async (page) => {
    await page.goto('/dashboard');
    await page.waitForURL('**/login');
  }));

test('a session that the server refuses leads to a new log-in, and says why', () =>
  visitDashboard(async (page) => {
    await page.route(`${api}/dashboard`, (route) => route.fulfill({ status: 401, json: { code: 'unauthenticated' } }));
    await page.reload();
    await page.waitForURL('**/login?note=session-ended');
    await page.getByText('You have been logged out. Please log in again.').waitFor();
    await page.goto('/dashboard');
    await page.waitForURL('**/login');
  }));

test('a token that the server refuses once is renewed without a word', () =>
  visitDashboard(async (page) => {
    // Not by `times: 1`: that takes the interception away while the next request is already under way, which then may hang.
    let refused = false;
    await page.route(`${api}/dashboard`, (route) => {
      if (refused) return route.continue();
      refused = true;
      return route.fulfill({ status: 401, json: { code: 'unauthenticated' } });
    });
    const renewed = page.waitForRequest(/grant_type=refresh_token/);
    await page.reload();
    await renewed;
    await view(page, 'none');
  }));

test('logging out in one tab logs out the others', () =>
  visitDashboard(async (page) => {
    const other = await page.context().newPage();
    await other.goto('/dashboard');
    await view(other, 'none');
    await page.getByRole('button', { name: 'Log out' }).click();
    await other.waitForURL('**/login?note=session-ended');
  }));
