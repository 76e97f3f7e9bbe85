// Her data: she takes it along, and has it deleted.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { api } from './house.mjs';
import { askForHer, button, herPicture, logIn, look, says, view, visitDashboard } from './person.mjs';

const leaveForm = async (page) => {
  await button(page, 'Delete account…').click();
  await page.getByRole('dialog', { name: 'Delete your account?' }).waitFor();
};
const word = (page) => page.getByLabel('Type DELETE to confirm');

test('she downloads everything that is kept about her, with links that work', () =>
  visitDashboard(async (page, email) => {
    await askForHer(page, { name: 'Clara' });
    await herPicture(page);
    const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Download everything').click()]);
    assert.equal(download.suggestedFilename(), 'sweetheart.json');
    const { data, files } = JSON.parse(await readFile(await download.path(), 'utf8'));
    assert.equal(data.sign_in.email, email);
    assert.equal(data.influencers[0].name, 'Clara');
    assert.equal(files.length, 1);
    const picture = await fetch(files[0].url);
    assert.match(picture.headers.get('content-type'), /^image\//);
    await says(page, 'Everything is in the file sweetheart.json.');
    await look(page, 'leaving-downloaded');
  }));

test('she deletes her account after she has typed DELETE, and nobody can log in as her any more', () =>
  visitDashboard(async (page, email) => {
    await leaveForm(page);
    await look(page, 'leaving-asked');
    await word(page).fill('delete');
    await button(page, 'Delete my account').click();
    await says(page, 'Please type DELETE, in capital letters.');
    assert.ok(await word(page).evaluate((input) => input === document.activeElement));

    await word(page).fill('DELETE');
    await button(page, 'Delete my account').click();
    await page.waitForURL('**/login*');
    await says(page, 'Your account is deleted. Goodbye, and thank you for having been here.');
    await logIn(page, email);
    await says(page, 'That e-mail address and password do not match.');
    assert.equal(await page.evaluate(() => localStorage.getItem('sweetheart.session')), null);
  }));

test('she may change her mind, by the button and by the Escape key', () =>
  visitDashboard(async (page) => {
    await leaveForm(page);
    await word(page).fill('DELETE');
    await button(page, 'Keep it').click();
    await leaveForm(page);
    assert.equal(await word(page).inputValue(), '', 'what was typed before is not kept');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    assert.ok(await button(page, 'Delete account…').evaluate((there) => there === document.activeElement));
    await page.reload();
    await view(page, 'none');
  }));

test('what fails is said, and trying again succeeds', () =>
  visitDashboard(async (page) => {
    const down = (route) =>
      route.fulfill({
        status: 503,
        headers: { 'access-control-allow-origin': '*' },
        json: { code: 'database_unavailable', status: 503 },
      });
    await page.route(`${api}/me`, down);
    await page.route(`${api}/me/export`, down);
    const words = 'We cannot get at your data at the moment. Nothing is lost: please try again shortly.';
    await button(page, 'Download everything').click();
    await page.locator('#data-status', { hasText: words }).waitFor();
    await leaveForm(page);
    await word(page).fill('DELETE');
    await button(page, 'Delete my account').click();
    await page.locator('#leaving-problem', { hasText: words }).waitFor();
    await look(page, 'leaving-failed');
    await page.unroute(`${api}/me`);
    await button(page, 'Delete my account').click();
    await page.waitForURL('**/login*');
  }));
