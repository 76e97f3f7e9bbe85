// Somebody with a browser of her own: what she does on the pages, and what must be true of every page that she sees.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { axeSource, newContext, publishableKey, sandbox, web } from './house.mjs';

const SCREENSHOTS = fileURLToPath(new URL('../../target/screenshots', import.meta.url));
const SIZES = { desktop: { width: 1280, height: 860 }, phone: { width: 360, height: 740 } };
const SMALLEST = { width: 320, height: 568 };
const SCHEMES = ['light', 'dark'];
const LONGEST_VISIT_MS = 60_000;

export const password = 'a quiet evening';

await mkdir(SCREENSHOTS, { recursive: true });

// Runs `story(page, email)` in a fresh browser profile. No script may break on the way, and no page may break its own
// Content-Security-Policy.
export async function visit(story) {
  const context = await newContext({ viewport: SIZES.desktop });
  const broken = [];
  context.on('weberror', (error) => broken.push(error.error().stack));
  context.on('console', (message) => {
    if (/Content Security Policy/.test(message.text())) broken.push(message.text());
  });
  // Playwright gives up waiting for an element, but not for a script in the page: closing ends that too.
  const deadline = setTimeout(() => context.close({ reason: 'the test took too long' }), LONGEST_VISIT_MS);
  try {
    const page = await context.newPage();
    await story(page, `${randomUUID().slice(0, 8)}@example.com`);
    assert.deepEqual(broken, []);
  } finally {
    clearTimeout(deadline);
    await context.close();
  }
}

// The same for somebody who has an account already and is on her dashboard.
export function visitDashboard(story) {
  return visit(async (page, email) => {
    await haveAccount(email);
    await page.goto('/login');
    await logIn(page, email);
    await view(page, 'none');
    await story(page, email);
  });
}

// Signs up and confirms without the pages, which is quick; tests of the pages themselves do it by hand.
async function haveAccount(email) {
  const headers = { apikey: publishableKey, 'content-type': 'application/json' };
  const signUp = await fetch(`${web}/auth/v1/signup`, { method: 'POST', headers, body: JSON.stringify({ email, password }) });
  assert.equal(signUp.status, 200);
  await fetch(await linkInMail(email), { redirect: 'manual' });
}

export async function linkInMail(email) {
  const response = await fetch(`${sandbox}/inbox.json?to=${email}`);
  const { mails } = await response.json();
  return mails[0].links[0];
}

export async function logIn(page, email, secret = password) {
  await page.getByRole('textbox', { name: 'E-mail' }).fill(email);
  await page.getByRole('textbox', { name: 'Password' }).fill(secret);
  await page.getByRole('button', { name: 'Log in' }).click();
}

export const button = (page, name) => page.getByRole('button', { name, exact: true });

// Waits until the page says exactly that, before everybody's eyes.
export async function says(page, words) {
  await page.getByText(words, { exact: true }).and(page.locator(':not(#announcer)')).waitFor();
}

// Waits until this view of the page is the one to see.
export async function view(page, name) {
  await page.locator(`#view-${name}`).waitFor();
}

export async function describeHer(page, { name, bio = 'She restores old maps above a bookshop in Lisbon.', vibe = 'Warm and witty' }) {
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Bio').fill(bio);
  await page.getByLabel('Vibe').fill(vibe);
}

export const createButton = (page) => page.getByRole('button', { name: 'Create your sweetheart now' });
export const submitButton = (page) => page.getByRole('button', { name: 'Create her' });

// From an empty dashboard to the form's last click.
export async function askForHer(page, her) {
  await createButton(page).click();
  await describeHer(page, her);
  await submitButton(page).click();
}

export async function herPicture(page) {
  const picture = page.getByRole('img', { name: /^Portrait of / });
  await picture.waitFor();
  return picture;
}

// Looks at a state of a page as people do: on a desktop and on a phone, by day and by night. Nothing hangs over the edge, a
// screen reader finds its way (axe), and a screenshot is kept.
export async function look(page, state) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of SCHEMES) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      const where = `${state}-${size}-${colorScheme}`;
      await page.screenshot({ path: `${SCREENSHOTS}/${where}.png`, animations: 'disabled', fullPage: true });

      await assertNoSidewaysScroll(page, where);
      await page.evaluate(axeSource);
      const { violations } = await page.evaluate(() => window.axe.run());
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`), [], where);
    }
  }
  await page.setViewportSize(SMALLEST);
  await page.screenshot({ path: `${SCREENSHOTS}/${state}-smallest.png`, animations: 'disabled', fullPage: true });
  await assertNoSidewaysScroll(page, state);
  await page.setViewportSize(SIZES.desktop);
  await page.emulateMedia({ colorScheme: null });
}

async function assertNoSidewaysScroll(page, where) {
  const { width } = page.viewportSize();
  const overhang = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overhang, 0, `${where} scrolls sideways at a width of ${width}`);
}
