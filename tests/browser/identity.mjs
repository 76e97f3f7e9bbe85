// The other ways in: Google, through Supabase Auth, where the project offers it; and Clerk, where the pages are set so.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, publishableKey, sandbox, web } from './house.mjs';
import { look, password, says, view, visit, visitDashboard } from './person.mjs';

/* Google */

const googleLink = (page) => page.getByRole('link', { name: 'Continue with Google' });
const authorizeUrl = `${web}/auth/v1/authorize?provider=google&redirect_to=${encodeURIComponent(`${web}/redirect`)}`;

// Supabase says that the project has Google.
async function offerGoogle(page) {
  await page.route('**/auth/v1/settings', (route) => route.fulfill({ json: { external: { email: true, google: true } } }));
}

// Google and Supabase together: whoever goes there is sent back to /redirect with this.
async function comeBackWith(page, query, fragment) {
  await page.route('**/auth/v1/authorize?*', (route) => {
    const { searchParams } = new URL(route.request().url());
    route.fulfill({ status: 302, headers: { location: `${searchParams.get('redirect_to')}${query}#${fragment}` } });
  });
}

async function sessionOf(email) {
  const headers = { apikey: publishableKey, 'content-type': 'application/json' };
  const body = JSON.stringify({ email, password });
  const response = await fetch(`${web}/auth/v1/token?grant_type=password`, { method: 'POST', headers, body });
  return response.json();
}

test('Google is not offered where the project does not have it', () =>
  visit(async (page) => {
    for (const path of ['/login', '/sign-up']) {
      const settings = page.waitForResponse('**/auth/v1/settings');
      await page.goto(path);
      assert.notEqual((await (await settings).json()).external?.google, true);
      assert.ok(await googleLink(page).isHidden());
    }
  }));

test('Google is not offered where nobody says whether the project has it', () =>
  visit(async (page) => {
    const asked = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/auth/v1/settings'));
    await page.route('**/auth/v1/settings', (route) => route.abort());
    await page.goto('/login');
    await asked;
    await page.getByRole('button', { name: 'Log in' }).waitFor();
    assert.ok(await googleLink(page).isHidden());
  }));

test('Google is offered where the project has it, on both pages, by the right link', () =>
  visit(async (page) => {
    await offerGoogle(page);
    for (const path of ['/login', '/sign-up']) {
      await page.goto(path);
      await googleLink(page).waitFor();
      assert.equal(await googleLink(page).getAttribute('href'), authorizeUrl);
      await look(page, `${path.slice(1)}-google`);
    }
  }));

test('who comes back from Google with a session is on her dashboard', () =>
  visitDashboard(async (page, email) => {
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.waitForURL('**/login?note=logged-out');
    const { access_token, refresh_token } = await sessionOf(email);
    await offerGoogle(page);
    await comeBackWith(page, '', new URLSearchParams({ access_token, refresh_token, expires_in: 3600, token_type: 'bearer' }));
    await page.goto('/login');
    await googleLink(page).click();
    await page.waitForURL('**/dashboard');
    await view(page, 'none');
    assert.equal(await page.locator('#account-email').textContent(), email);
  }));

test('who comes back from Google without one is told why', () =>
  visit(async (page) => {
    await offerGoogle(page);
    for (const [error, description, words] of [
      ['access_denied', 'The user denied your request', 'You did not agree at Google. Nothing was changed.'],
      ['server_error', 'Unable to exchange external code', 'Unable to exchange external code'],
    ]) {
      const told = new URLSearchParams({ error, error_code: 'x', error_description: description });
      await comeBackWith(page, `?${told}`, told);
      await page.goto('/login');
      await googleLink(page).click();
      await view(page, 'refused');
      await says(page, words);
      assert.equal(page.url(), `${web}/redirect`);
      await page.unroute('**/auth/v1/authorize?*');
    }
    await look(page, 'redirect-refused');
    await page.getByRole('link', { name: 'Try again' }).click();
    await page.waitForURL('**/login');
  }));

test('a session that Supabase does not know signs nobody in', () =>
  visit(async (page) => {
    await offerGoogle(page);
    await comeBackWith(page, '', 'access_token=x.y.z&refresh_token=nobodys&token_type=bearer');
    await page.goto('/login');
    await googleLink(page).click();
    await view(page, 'refused');
    await page.goto('/dashboard');
    await page.waitForURL('**/login');
  }));

test('a link with a session that somebody else made up signs nobody in', () =>
  visitDashboard(async (page, email) => {
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.waitForURL('**/login?note=logged-out');
    const { access_token, refresh_token } = await sessionOf(email);
    await page.goto(`/redirect#${new URLSearchParams({ access_token, refresh_token, token_type: 'bearer' })}`);
    await page.waitForURL('**/login?note=confirmed');
    await page.goto('/dashboard');
    await page.waitForURL('**/login');
  }));

/* Clerk */

// A browser in which the pages know people by Clerk.
function visitByClerk(story) {
  return visit(async (page, email) => {
    await page.goto('/identity/clerk');
    await page.waitForURL('**/login');
    await story(page, email);
  });
}

async function signIn(page, email, words = 'Log in') {
  await page.getByRole('button', { name: words, exact: true }).click();
  await page.waitForURL(`${sandbox}/clerk/sign-in?*`);
  await page.getByRole('textbox', { name: 'E-mail' }).fill(email);
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.waitForURL('**/dashboard');
  await view(page, 'none');
}

test('with Clerk she signs up, finds 4 credits, makes a picture, signs out, and finds it all when she is back', () =>
  visitByClerk(async (page, email) => {
    assert.ok(await page.getByRole('textbox', { name: 'Password' }).isHidden());
    await look(page, 'login-clerk');
    await page.getByRole('link', { name: 'Create an account' }).click();
    await page.waitForURL('**/sign-up');
    await look(page, 'sign-up-clerk');
    await signIn(page, email, 'Create account');
    assert.doesNotMatch(page.url(), /__clerk/);
    assert.equal(await page.locator('#credits').textContent(), '4 credits');
    assert.equal(await page.locator('#account-email').textContent(), email);

    await page.getByRole('link', { name: 'Make pictures' }).click();
    await view(page, 'studio');
    assert.equal(await page.locator('#account-email').textContent(), email);
    await page.getByLabel('What is to be seen').fill('A lighthouse at dusk');
    await page.getByRole('button', { name: 'Make the picture' }).click();
    await page.locator('.job[data-status=completed]', { hasText: 'A lighthouse at dusk' }).waitFor();
    await page.locator('#credits', { hasText: /^3 credits$/ }).waitFor();

    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('You are logged out. See you soon.').waitFor();
    await page.goto('/studio');
    await page.waitForURL('**/login');

    await signIn(page, email);
    assert.equal(await page.locator('#credits').textContent(), '3 credits');
    await page.goto('/studio');
    await page.locator('.job[data-status=completed]', { hasText: 'A lighthouse at dusk' }).waitFor();
    await page.goto('/login');
    await page.waitForURL('**/dashboard');
  }));

test('with Clerk, too, a token that the server refuses once is renewed without a word, and one refused twice ends the visit', () =>
  visitByClerk(async (page, email) => {
    await signIn(page, email);
    let refusals = 1;
    await page.route(`${api}/dashboard`, (route) => {
      if (refusals === 0) return route.continue();
      refusals -= 1;
      return route.fulfill({ status: 401, json: { code: 'unauthenticated' } });
    });
    await page.reload();
    await view(page, 'none');
    assert.equal(refusals, 0);
    refusals = 2;
    await page.reload();
    await page.waitForURL('**/login?note=session-ended');
  }));

test('with Clerk, too, logging out in one tab logs out the others', () =>
  visitByClerk(async (page, email) => {
    await signIn(page, email);
    const other = await page.context().newPage();
    await other.goto('/dashboard');
    await view(other, 'none');
    await page.getByRole('button', { name: 'Log out' }).click();
    await other.waitForURL('**/login?note=session-ended');
  }));

test('a page that cannot get at Clerk says so', () =>
  visitByClerk(async (page) => {
    await page.route('**/clerk.browser.js', (route) => route.abort());
    await page.goto('/login');
    await page.getByRole('button', { name: 'Log in' }).click();
    await says(page, 'We cannot reach the server. Please check your connection and try again.');
  }));
