// The main job: she is described, drawn and shown; and everything that can go wrong on the way.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, arm } from './house.mjs';
import {
  askForHer,
  createButton,
  describeHer,
  herPicture,
  linkInMail,
  logIn,
  look,
  password,
  submitButton,
  view,
  visit,
  visitDashboard,
} from './person.mjs';

// What is in the window is painted, the window is 2:3, and the name hangs below it.
async function assertHanging(page, name) {
  const picture = await herPicture(page);
  assert.ok((await picture.evaluate((image) => image.naturalWidth)) > 0);
  const { width, height } = await page.locator('.window').boundingBox();
  assert.ok(Math.abs(width / height - 2 / 3) < 0.005, `the window is ${width} by ${height}`);
  const caption = page.getByRole('figure').locator('figcaption');
  assert.equal(await caption.textContent(), name);
  assert.ok((await caption.boundingBox()).y >= (await picture.boundingBox()).y + height - 1);
}

test('she is created, her progress is shown, and she is there again after the next log-in', () =>
  visitDashboard(async (page, email) => {
    const bio = 'Mia grew up above a small bookshop in Lisbon and restores old maps.\nShe loves rain, strong coffee and long trains.';
    await arm('replicate_slow', 'Mia Prima');
    await askForHer(page, { name: 'Mia Prima', bio, vibe: 'Warm, witty, a little mischievous' });

    await view(page, 'progress');
    assert.equal(await page.locator(':focus').textContent(), 'Mia Prima is on her way');
    assert.match(await page.locator('[aria-current=step]').textContent(), /Writing her story and drawing her picture/);
    await page.reload();
    await view(page, 'progress');

    await view(page, 'ready');
    await assertHanging(page, 'Mia Prima');
    await page.getByText('Warm, witty, a little mischievous').waitFor();
    // A line break is a control character to the server: it became a space.
    await page.getByText('restores old maps. She loves rain').waitFor();
    await look(page, 'dashboard-ready');

    await page.getByRole('button', { name: 'Log out' }).click();
    await page.waitForURL('**/login?note=logged-out');
    await look(page, 'login-logged-out');
    await logIn(page, email);
    await view(page, 'ready');
    await assertHanging(page, 'Mia Prima');
  }));

test('all that is wrong stands beside its field at once, and what was typed stays, even over a reload', () =>
  visitDashboard(async (page) => {
    await createButton(page).click();
    assert.equal(await page.locator(':focus').getAttribute('id'), 'name');
    await look(page, 'dashboard-form');

    await describeHer(page, { name: '😀'.repeat(41), bio: ' ', vibe: 'Just sixteen years old' });
    assert.equal(await page.locator('#name-count').textContent(), '41 / 40');
    assert.equal(await page.locator('#bio-count').textContent(), '0 / 1000');
    await submitButton(page).click();

    const errors = { name: 'Her name must have at most 40 characters.', bio: 'Her bio must not be empty.', vibe: 'Her vibe must describe an adult.' };
    for (const [field, words] of Object.entries(errors)) {
      await page.locator(`#${field}-error`, { hasText: words }).waitFor();
      assert.equal(await page.locator(`#${field}`).getAttribute('aria-invalid'), 'true');
      assert.match(await page.locator(`#${field}`).getAttribute('aria-describedby'), new RegExp(`${field}-error`));
    }
    assert.equal(await page.locator(':focus').getAttribute('id'), 'name');
    await look(page, 'dashboard-form-errors');

    await page.reload();
    await view(page, 'form');
    assert.equal(await page.getByLabel('Vibe').inputValue(), 'Just sixteen years old');
    await page.getByRole('button', { name: 'Not now' }).click();
    await view(page, 'none');
    await createButton(page).click();
    assert.equal(await page.getByLabel('Vibe').inputValue(), 'Just sixteen years old');
  }));

test('the counters count as the server does', () =>
  visitDashboard(async (page) => {
    await createButton(page).click();
    // Forty characters when composed and trimmed, though more code units: the server takes them.
    await describeHer(page, { name: `  ${'😀'.repeat(39)}e\u0301  ` });
    assert.equal(await page.locator('#name-count').textContent(), '40 / 40');
    await submitButton(page).click();
    await view(page, 'progress');
  }));

test('the longest words that the server takes stay within the page', () =>
  visitDashboard(async (page) => {
    await askForHer(page, { name: 'W'.repeat(40), bio: 'x'.repeat(1000), vibe: 'y'.repeat(200) });
    await view(page, 'ready');
    await herPicture(page);
    await look(page, 'dashboard-longest-words');
  }));

test('a form that is sent twice in haste is sent once', () =>
  visitDashboard(async (page) => {
    let sent = 0;
    page.on('request', (request) => {
      if (request.method() === 'POST' && request.url() === `${api}/influencers`) sent += 1;
    });
    await createButton(page).click();
    await describeHer(page, { name: 'Ella' });
    await submitButton(page).dblclick();
    await view(page, 'ready');
    assert.equal(sent, 1);
  }));

test('a set-up that failed says why, and trying again succeeds', () =>
  visitDashboard(async (page) => {
    await arm('replicate_fails', 'Carla Nova');
    await askForHer(page, { name: 'Carla Nova' });
    await view(page, 'failed');
    await page.getByText('The studio refused this description.').first().waitFor();
    await look(page, 'dashboard-failed');

    await page.getByRole('button', { name: 'Try again' }).click();
    assert.equal(await page.getByLabel('Name').inputValue(), 'Carla Nova');
    assert.equal(await page.getByLabel('Vibe').inputValue(), 'Warm and witty');
    await page.getByLabel('Vibe').fill('Calm and curious');
    await submitButton(page).click();
    await view(page, 'ready');
    await assertHanging(page, 'Carla Nova');
    await page.getByText('Calm and curious').waitFor();
  }));

test('a set-up that took too long says so, and offers to try again', () =>
  visitDashboard(async (page) => {
    await arm('n8n_silent', 'Thea Lenta');
    await askForHer(page, { name: 'Thea Lenta' });
    await view(page, 'progress');
    await look(page, 'dashboard-requested');

    // The deadline is ten minutes: the answer that comes then, now.
    await page.route(`${api}/dashboard`, async (route) => {
      const response = await route.fetch();
      const dashboard = await response.json();
      const failure = { code: 'timed_out', message: 'This took longer than it should. Please try again.' };
      Object.assign(dashboard.influencer, { state: 'timed_out', failure });
      await route.fulfill({ response, json: dashboard });
    });
    await view(page, 'failed');
    await page.getByRole('heading', { name: 'This took too long' }).waitFor();
    await look(page, 'dashboard-timed-out');
    await page.getByRole('button', { name: 'Try again' }).click();
    assert.equal(await page.getByLabel('Name').inputValue(), 'Thea Lenta');
  }));

test('while her picture is being fetched that is what the page says', () =>
  visitDashboard(async (page) => {
    await arm('image_server_error', 'Ida Sera');
    await askForHer(page, { name: 'Ida Sera' });
    await page.locator('[aria-current=step]', { hasText: 'Hanging the picture' }).waitFor();
    await look(page, 'dashboard-image-pending');
    await view(page, 'ready');
    await assertHanging(page, 'Ida Sera');
  }));

test('with n8n down the form says so and keeps what was typed, and trying again works', () =>
  visitDashboard(async (page) => {
    await arm('n8n_down', 'Vera Alta');
    await askForHer(page, { name: 'Vera Alta' });
    await page.getByText('Our studio cannot be reached at the moment.').waitFor();
    assert.equal(await page.getByLabel('Name').inputValue(), 'Vera Alta');
    await look(page, 'dashboard-studio-unavailable');
    await submitButton(page).click();
    await view(page, 'ready');
    await assertHanging(page, 'Vera Alta');
  }));

test('who has her already, from another tab, is shown her', () =>
  visitDashboard(async (page) => {
    const other = await page.context().newPage();
    await other.goto('/dashboard');
    await askForHer(page, { name: 'Lena' });
    await view(page, 'ready');
    await askForHer(other, { name: 'Nora' });
    await view(other, 'ready');
    await assertHanging(other, 'Lena');
  }));

test('a dashboard that cannot be loaded says so and loads at the next try', () =>
  visitDashboard(async (page) => {
    await page.route(`${api}/dashboard`, (route) => route.abort());
    await page.reload();
    await view(page, 'unreachable');
    await page.getByText('We cannot reach the server.').first().waitFor();
    await look(page, 'dashboard-unreachable');
    await page.unroute(`${api}/dashboard`);
    await page.getByRole('button', { name: 'Try again' }).click();
    await view(page, 'none');
    assert.equal(await page.locator(':focus').textContent(), 'She is waiting to be imagined');
  }));

test('while the dashboard is loading its frame is there already', () =>
  visitDashboard(async (page) => {
    let answer;
    const asked = new Promise((resolve) => (answer = resolve));
    await page.route(`${api}/dashboard`, async (route) => {
      await asked;
      await route.continue();
    });
    await page.reload();
    await view(page, 'loading');
    const before = await page.locator('.window').boundingBox();
    await look(page, 'dashboard-loading');
    answer();
    await view(page, 'none');
    assert.deepEqual(await page.locator('.window').boundingBox(), before);
  }));

test('a picture that does not load is asked for anew once, and then by hand', () =>
  visitDashboard(async (page) => {
    await askForHer(page, { name: 'Rosa' });
    await herPicture(page);
    const image = await page.locator('#picture').getAttribute('src');
    const anyImage = (url) => url.pathname === new URL(image).pathname;

    let failed = false;
    await page.route(anyImage, (route) => {
      if (failed) return route.continue();
      failed = true;
      return route.abort();
    });
    await page.reload();
    await assertHanging(page, 'Rosa');

    await page.route(anyImage, (route) => route.abort());
    await page.reload();
    await page.getByText('Her picture did not load.').waitFor();
    await look(page, 'dashboard-picture-problem');
    await page.unroute(anyImage);
    await page.getByRole('button', { name: 'Load it again' }).click();
    await assertHanging(page, 'Rosa');
  }));

test('a server that is away for a moment does not disturb the progress', () =>
  visitDashboard(async (page) => {
    await arm('n8n_silent', 'Olga Muta');
    await askForHer(page, { name: 'Olga Muta' });
    await view(page, 'progress');
    await page.route(`${api}/dashboard`, (route) => route.abort());
    await page.getByText('We cannot reach the server just now.').waitFor();
    await look(page, 'dashboard-connection-problem');
    await page.unroute(`${api}/dashboard`);
    await page.getByText('We cannot reach the server just now.').waitFor({ state: 'hidden' });
    await view(page, 'progress');
  }));

test('nobody is asked while nobody looks, and at once when somebody looks again', () =>
  visitDashboard(async (page) => {
    await arm('n8n_silent', 'Yara Quieta');
    await askForHer(page, { name: 'Yara Quieta' });
    await view(page, 'progress');
    await page.clock.install();
    await page.reload();
    await view(page, 'progress');

    const setHidden = (hidden) =>
      page.evaluate((value) => {
        Object.defineProperty(document, 'hidden', { configurable: true, value });
        document.dispatchEvent(new Event('visibilitychange'));
      }, hidden);
    // The page is put away while a question is on its way.
    const putAway = async (route) => {
      await setHidden(true);
      await route.continue();
    };
    await page.route(`${api}/dashboard`, putAway, { times: 1 });
    const last = await page.waitForResponse(`${api}/dashboard`);
    await last.finished();

    let asked = 0;
    page.on('request', (request) => {
      if (request.method() === 'GET' && request.url() === `${api}/dashboard`) asked += 1;
    });
    await page.clock.runFor(60_000);
    assert.equal(asked, 0);
    const answered = page.waitForResponse(`${api}/dashboard`);
    await setHidden(false);
    await answered;
  }));

test('the whole way can be gone by keyboard', () =>
  visit(async (page, email) => {
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
    const tabTo = async (name) => {
      for (let presses = 0; presses < 12; presses += 1) {
        if ((await focused()) === name) return;
        await page.keyboard.press('Tab');
      }
      assert.equal(await focused(), name);
    };
    const { keyboard } = page;

    await page.goto('/sign-up');
    await keyboard.press('Tab');
    assert.equal(await focused(), 'Skip to the content');
    await keyboard.press('Enter');
    await tabTo('email');
    await keyboard.type(email);
    await tabTo('password');
    await keyboard.type(password);
    await keyboard.press('Enter');
    await view(page, 'sent');

    await page.goto(await linkInMail(email));
    await view(page, 'confirmed');
    await tabTo('Go on to log in');
    await keyboard.press('Enter');
    await page.waitForURL('**/login?note=confirmed');

    await tabTo('password');
    await keyboard.type(password);
    await keyboard.press('Enter');
    await view(page, 'none');
    await tabTo('create');
    await keyboard.press('Enter');
    assert.equal(await focused(), 'name');
    await keyboard.type('Alma');
    await keyboard.press('Tab');
    await keyboard.type('She keeps bees on a roof in Porto.');
    await keyboard.press('Tab');
    await keyboard.type('Calm');
    await tabTo('submit');
    await keyboard.press('Enter');
    await view(page, 'ready');
    await page.locator('#announcer', { hasText: 'Alma is here.' }).waitFor({ state: 'attached' });
    assert.equal(await focused(), 'ready-heading');
  }));
