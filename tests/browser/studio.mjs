// Pictures that she asks for: uploads, what is made of them, and what can go wrong on the way. The worker, the bucket, the queues
// and the database are real; the sandbox stands in for the image models.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { awsClient } from '../../local/stack/storage.mjs';
import { api, arm, publishableKey, sandbox, web } from './house.mjs';
import { askForHer, button, herPicture, look, says, view, visit, visitDashboard } from './person.mjs';

const require = createRequire(new URL('../../local/package.json', import.meta.url));
const sharp = require('sharp');
const { SendMessageCommand, SetQueueAttributesCommand, SQSClient } = require('@aws-sdk/client-sqs');

const { AWS_ENDPOINT_URL, GENERATION_QUEUE_URL: jobsQueue, UPLOAD_QUEUE_URL: uploadsQueue, MEDIA_BUCKET: bucket, SUPABASE_SECRET_KEY: secretKey, SUPABASE_URL: supabase } = process.env;
const sqs = awsClient(SQSClient, AWS_ENDPOINT_URL);

const blue = { create: { width: 600, height: 600, channels: 3, background: '#3b6ea5' } };
const product = { name: 'handbag.png', mimeType: 'image/png', buffer: await sharp(blue).png().toBuffer() };

// What only the server may do.
async function asServer(method, path, body) {
  const headers = { apikey: secretKey, 'content-type': 'application/json' };
  const response = await fetch(`${supabase}/rest/v1/${path}`, { method, headers, body: JSON.stringify(body) });
  assert.ok(response.ok, `${path}: ${await response.clone().text()}`);
}

// Messages stay in the queue for as long as the story takes: whatever they are about waits for its turn. (A message with a delay
// of its own goes through.)
async function withoutWorkers(story, queueUrl = jobsQueue) {
  const delayEach = (seconds) => sqs.send(new SetQueueAttributesCommand({ QueueUrl: queueUrl, Attributes: { DelaySeconds: `${seconds}` } }));
  await delayEach(900);
  try {
    await story();
  } finally {
    await delayEach(0);
  }
}

const put = (queueUrl, message) => sqs.send(new SendMessageCommand({ QueueUrl: queueUrl, MessageBody: JSON.stringify(message), DelaySeconds: 0 }));

// What a webhook or the sweeper does: lets the worker look at it.
const poke = (id) => put(jobsQueue, { job_id: id });

function visitStudio(story) {
  return visitDashboard(async (page, email) => {
    await page.getByRole('link', { name: 'Make pictures' }).click();
    await view(page, 'studio');
    await story(page, email);
  });
}

const prompt = (page) => page.getByLabel('What is to be seen');
const makeButton = (page) => page.getByRole('button', { name: 'Make the picture' });

async function askFor(page, words) {
  await prompt(page).fill(words);
  await makeButton(page).click();
}

const card = (page, words) => page.getByRole('listitem').filter({ hasText: words }).first();

const stands = (page, words, status) => page.locator(`.job[data-status=${status}]`, { hasText: words }).first().waitFor();

const idOf = (page, words) => card(page, words).getAttribute('data-id');

const chooseFile = (page, ...files) => page.locator('#file').setInputFiles(files);

async function has(page, credits) {
  await page.locator('#credits', { hasText: new RegExp(`^${credits}$`) }).waitFor();
}

async function announced(page, words) {
  await page.locator('#announcer', { hasText: words }).waitFor({ state: 'attached' });
}

const userIdOf = (page) => page.evaluate(() => JSON.parse(localStorage.getItem('sweetheart.session')).user.id);

const setHidden = (page, hidden) =>
  page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);

// Counts how often the page asks for the list.
function questions(page) {
  const asked = [];
  page.on('request', (request) => request.method() === 'GET' && request.url() === `${api}/generation-jobs` && asked.push(request));
  return asked;
}

async function isPainted(image) {
  await image.waitFor();
  await image.page().waitForFunction((element) => element.complete && element.naturalWidth > 0, await image.elementHandle());
}

test('she uploads a picture, has another made of it, watches, looks at it large and downloads it', () =>
  visitStudio(async (page) => {
    await has(page, '4 credits');
    await says(page, 'Nothing here yet. Your pictures appear here while they are being made, the newest first.');
    await says(page, 'This costs 1 credit. You have 4 credits; 3 are left afterwards.');
    await look(page, 'studio-empty');

    await chooseFile(page, product);
    const bag = page.getByRole('radio', { name: 'handbag.png' });
    await bag.waitFor();
    assert.ok(await bag.isChecked());
    await announced(page, 'handbag.png is ready to be used.');
    await isPainted(page.locator('.start', { hasText: 'handbag.png' }).locator('img'));

    await page.getByLabel('Pose').selectOption('Sitting');
    await page.getByLabel('Scene').selectOption('Beach');
    // A line break is a control character to the server: it becomes a space.
    await askFor(page, 'A woman with this handbag\nat sunset');
    await has(page, '3 credits');
    await announced(page, 'Your picture is ready: A woman with this handbag at sunset');
    await stands(page, 'this handbag', 'completed');
    await has(page, '3 credits');
    await isPainted(card(page, 'this handbag').locator('.job-open img'));
    await look(page, 'studio-done');

    await page.getByRole('button', { name: /^Show large/ }).click();
    const dialog = page.getByRole('dialog', { name: 'Your picture' });
    await dialog.waitFor();
    await isPainted(dialog.getByRole('img', { name: 'A woman with this handbag at sunset' }));
    const { width, height } = await dialog.locator('.window').boundingBox();
    assert.ok(Math.abs(width / height - 2 / 3) < 0.01, `the picture is ${width} by ${height}`);
    await dialog.getByText(/^From handbag\.png · Sitting · Beach · Standard · /).waitFor();
    await look(page, 'studio-large');

    const [download] = await Promise.all([page.waitForEvent('download'), dialog.getByRole('link', { name: 'Download' }).click()]);
    assert.match(download.suggestedFilename(), /^sweetheart-[0-9a-f-]{36}\.webp$/);
    const { format } = await sharp(await readFile(await download.path())).metadata();
    assert.equal(format, 'webp');

    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    assert.match(await page.locator(':focus').getAttribute('aria-label'), /^Show large/);
  }));

test('her character is in the picture that is made of her', () =>
  visitDashboard(async (page) => {
    await askForHer(page, { name: 'Mia Prima' });
    await view(page, 'ready');
    await herPicture(page);
    await page.goto('/studio');
    await page.getByRole('radio', { name: 'Mia Prima' }).check();
    await askFor(page, 'Reading in a garden');
    await stands(page, 'Reading in a garden', 'completed');
    await isPainted(card(page, 'Reading in a garden').locator('.job-open img'));

    const { predictions } = await (await fetch(`${sandbox}/sandbox/replicate.json?job=${await idOf(page, 'Reading in a garden')}`)).json();
    assert.equal(predictions.length, 1);
    assert.match(predictions[0].input.prompt, /Mia Prima.*Reading in a garden/s);
    await look(page, 'studio-with-her');
  }));

test('a picture that the model refuses says why, its credit comes back, and trying again succeeds', () =>
  visitStudio(async (page) => {
    await arm('replicate_fails', 'A storm over Porto');
    await askFor(page, 'A storm over Porto');
    await stands(page, 'A storm over Porto', 'failed');
    await says(page, 'The image model declined this description. Your credits are back; try other words.');
    await announced(page, 'A storm over Porto: The image model declined this description.');
    await has(page, '4 credits');
    await look(page, 'studio-failed');

    await page.getByRole('button', { name: /^Try again/ }).click();
    await stands(page, 'A storm over Porto', 'completed');
    await has(page, '3 credits');

    // It has one retry; asked again, that is the answer.
    await page.getByRole('button', { name: /^Try again/ }).click();
    await announced(page, 'This was tried again already.');
    await has(page, '3 credits');
    assert.equal(await page.locator('.job').count(), 2);
  }));

test('a picture that waits is cancelled, and its credit comes back', () =>
  visitStudio((page) =>
    withoutWorkers(async () => {
      await askFor(page, 'A quiet harbour');
      await has(page, '3 credits');
      await stands(page, 'A quiet harbour', 'queued');
      await says(page, 'Waiting for its turn');
      await look(page, 'studio-queued');
      await page.getByRole('button', { name: 'Cancel: A quiet harbour' }).click();
      await stands(page, 'A quiet harbour', 'cancelled');
      await says(page, 'Cancelled. 1 credit is back.');
      await announced(page, 'Cancelled. 1 credit is back.');
      await has(page, '4 credits');
      assert.ok(await card(page, 'A quiet harbour').evaluate((element) => element === document.activeElement));
      await look(page, 'studio-cancelled');
    }),
  ));

test('what has started meanwhile is not cancelled, and that is said', () =>
  visitStudio((page) =>
    withoutWorkers(async () => {
      // Nobody asks while nobody looks: the page goes on believing that it waits.
      await setHidden(page, true);
      await askFor(page, 'A red balloon');
      await stands(page, 'A red balloon', 'queued');
      const id = await idOf(page, 'A red balloon');
      await asServer('POST', 'rpc/claim_generation_job', { p_job_id: id, p_token: crypto.randomUUID(), p_lease_seconds: 100 });
      await page.getByRole('button', { name: 'Cancel: A red balloon' }).click({ force: true });
      await says(page, 'It has started and can no longer be cancelled. If it fails, your credits come back.');
      await stands(page, 'A red balloon', 'processing');
      await has(page, '3 credits');
    }),
  ));

test('a page that is loaded anew in the middle goes on showing what is being made', () =>
  visitStudio(async (page) => {
    await arm('replicate_webhook_lost', 'A lighthouse in fog');
    await askFor(page, 'A lighthouse in fog');
    await stands(page, 'A lighthouse in fog', 'processing');
    await page.reload();
    await stands(page, 'A lighthouse in fog', 'processing');
    await has(page, '3 credits');
    await look(page, 'studio-processing');

    const id = await idOf(page, 'A lighthouse in fog');
    await asServer('PATCH', `generation_jobs?id=eq.${id}`, { progress: 40 });
    await says(page, 'Being made, 40 %');
    assert.equal(await card(page, 'A lighthouse in fog').getByRole('progressbar').getAttribute('value'), '40');
    await look(page, 'studio-progress');

    await page.evaluate(() => (window.sameDocument = true));
    await poke(id);
    await stands(page, 'A lighthouse in fog', 'completed');
    await isPainted(card(page, 'A lighthouse in fog').locator('.job-open img'));
    assert.ok(await page.evaluate(() => window.sameDocument));
  }));

test('with too few credits it is said what is missing, and where there are more', () =>
  visitStudio(async (page) => {
    await page.getByRole('radio', { name: 'High quality' }).check();
    await says(page, 'This costs 2 credits. You have 4 credits; 2 are left afterwards.');
    await askFor(page, 'Two swans');
    await has(page, '2 credits');
    await page.getByRole('radio', { name: 'Standard' }).check();
    await askFor(page, 'Three swans');
    await has(page, '1 credit');
    await page.getByRole('radio', { name: 'High quality' }).check();
    await says(page, 'This costs 2 credits, and you have 1 credit: 1 credit more is needed.');
    const way = page.getByRole('link', { name: 'Get credits', description: /1 credit more is needed/ });
    await way.waitFor();
    await askFor(page, 'Four swans');
    await page.locator('#buy:focus').waitFor();
    await has(page, '1 credit');
    assert.equal(await page.locator('.job').count(), 2);
    await look(page, 'studio-too-few-credits');

    await page.setViewportSize({ width: 390, height: 500 });
    await way.click();
    await page.locator('#money-heading:focus').waitFor();
    const { y, height } = await button(page, 'Buy 10 credits').boundingBox();
    assert.ok(y >= 0 && y + height <= 500, `the button to buy is at ${y}`);
  }));

test('credits that were used elsewhere are missed when the server says so', () =>
  visitStudio(async (page) => {
    await asServer('POST', 'rpc/spend_credits', { p_user_id: await userIdOf(page), p_amount: 4, p_business_key: `test:${crypto.randomUUID()}`, p_description: 'Spent' });
    await askFor(page, 'A fifth swan');
    await says(page, 'This costs 1 credit, and you have 0 credits: 1 credit more is needed.');
    await page.locator('#buy:focus').waitFor();
    await has(page, '0 credits');
  }));

test('credits that come back while the server is away for a moment are shown when it is there again', () =>
  visitStudio((page) =>
    withoutWorkers(async () => {
      await askFor(page, 'A paper boat');
      await stands(page, 'A paper boat', 'queued');
      await has(page, '3 credits');
      await page.route(`${api}/generation-options`, (route) => route.abort(), { times: 1 });
      await asServer('POST', 'rpc/cancel_generation_job', { p_user_id: await userIdOf(page), p_job_id: await idOf(page, 'A paper boat') });
      await stands(page, 'A paper boat', 'cancelled');
      await has(page, '4 credits');
      await page.locator('#connection-problem').waitFor({ state: 'hidden' });
    }),
  ));

test('who has made enough for this hour is told when she may go on', () =>
  visitStudio(async (page) => {
    await asServer('PATCH', 'plans?id=eq.free', { jobs_per_hour: 0 });
    try {
      await askFor(page, 'One too many');
      await page.getByText(/^That is all for this hour\. You can make the next picture at \d\d:\d\d\.$/).waitFor();
    } finally {
      await asServer('PATCH', 'plans?id=eq.free', { jobs_per_hour: 10 });
    }
    await has(page, '4 credits');
    await look(page, 'studio-enough');
    await makeButton(page).click();
    await stands(page, 'One too many', 'completed');
  }));

test('a double click makes one picture, and so does a click whose answer was lost', () =>
  visitStudio(async (page) => {
    await prompt(page).fill('A fox');
    await makeButton(page).dblclick();
    await stands(page, 'A fox', 'completed');
    await has(page, '3 credits');
    assert.equal(await page.locator('.job').count(), 1);

    const lose = async (route) => {
      if (route.request().method() !== 'POST') return route.continue();
      await route.fetch();
      return route.abort();
    };
    await page.route(`${api}/generation-jobs`, lose);
    await askFor(page, 'A badger');
    await says(page, 'We cannot reach the server. Please check your connection and try again.');
    await page.unroute(`${api}/generation-jobs`, lose);
    await makeButton(page).click();
    await stands(page, 'A badger', 'completed');
    await has(page, '2 credits');
    assert.equal(await page.locator('.job').count(), 2);
  }));

test('a prompt that is too short or too long is marked at once', () =>
  visitStudio(async (page) => {
    await makeButton(page).click();
    await page.locator('#prompt-error', { hasText: 'This must not be empty.' }).waitFor();
    assert.ok(await prompt(page).evaluate((element) => element === document.activeElement));
    await prompt(page).fill('😀'.repeat(1001));
    assert.equal(await page.locator('#prompt-count').textContent(), '1001 / 1000');
    await makeButton(page).click();
    await page.locator('#prompt-error', { hasText: 'This must have at most 1000 characters.' }).waitFor();
    await has(page, '4 credits');
    await look(page, 'studio-prompt-too-long');
  }));

test('files that cannot be used are refused before they are sent, or say why afterwards', () =>
  visitStudio(async (page) => {
    const sent = [];
    page.on('request', (request) => request.method() === 'POST' && sent.push(request.url()));
    await chooseFile(page, { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') });
    await says(page, '“notes.txt” is no JPEG, PNG, WebP or GIF picture.');
    await chooseFile(page, { name: 'huge.png', mimeType: 'image/png', buffer: Buffer.alloc(10 * 2 ** 20 + 1) });
    await says(page, '“huge.png” is larger than 10 MB. Please make it smaller.');
    await chooseFile(page, { name: 'nothing.png', mimeType: 'image/png', buffer: Buffer.alloc(0) });
    await says(page, '“nothing.png” is empty.');
    assert.deepEqual(sent, []);

    await chooseFile(page, { ...product, name: 'liar.jpg', mimeType: 'image/jpeg' }, { ...product, name: 'broken.png', buffer: Buffer.from('no picture') });
    await says(page, 'This file is another kind of picture than its name says. Please save it anew as JPEG or PNG.');
    await says(page, 'This file is broken, or not a picture. Please choose another.');
    await page.getByRole('radio', { name: 'Just words', checked: true }).waitFor();
    await look(page, 'studio-uploads-refused');
    await page.locator('.upload', { hasText: 'liar.jpg' }).getByRole('button', { name: 'Remove' }).click();
    assert.equal(await page.locator('.upload').count(), 1);
  }));

test('a file that is dropped shows itself and its progress at once, and an upload that breaks off is tried again', () =>
  visitStudio(async (page) => {
    let go;
    const held = new Promise((resolve) => (go = resolve));
    const anyObject = `${AWS_ENDPOINT_URL}/**`;
    const cut = async (route) => {
      await held;
      await route.abort();
    };
    await page.route(anyObject, cut);
    const dropped = await page.evaluateHandle((bytes) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(bytes)], 'handbag.png', { type: 'image/png' }));
      return transfer;
    }, [...product.buffer]);
    await page.dispatchEvent('#drop', 'dragover', { dataTransfer: dropped });
    await page.dispatchEvent('#drop', 'drop', { dataTransfer: dropped });
    const row = page.locator('.upload', { hasText: 'handbag.png' });
    await row.getByText(/^Uploading, \d+ %$/).waitFor();
    await isPainted(row.locator('img'));
    await look(page, 'studio-uploading');

    go();
    await says(page, 'The upload broke off. Please check your connection and try again.');
    await look(page, 'studio-upload-broken');
    await page.unroute(anyObject, cut);
    await row.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('radio', { name: 'handbag.png', checked: true }).waitFor();
  }));

test('an upload that the bucket refuses is tried again with a new form', () =>
  visitStudio(async (page) => {
    const refuse = (route) => route.fulfill({ status: 403, headers: { 'access-control-allow-origin': '*' } });
    await page.route(`${AWS_ENDPOINT_URL}/**`, refuse, { times: 1 });
    await chooseFile(page, product);
    await says(page, 'The upload was not accepted. Please try again.');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('radio', { name: 'handbag.png', checked: true }).waitFor();
  }));

test('an upload that is being checked is waited for, also over a reload', () =>
  visitStudio((page) =>
    withoutWorkers(async () => {
      await chooseFile(page, product);
      await says(page, 'Checking…');
      await askFor(page, 'A woman with this handbag');
      await says(page, 'Your upload is not ready yet. Please wait a moment, or remove it.');
      await look(page, 'studio-checking');
      await page.reload();
      await says(page, 'Checking…');

      const [id] = await page.evaluate(() => JSON.parse(sessionStorage.getItem('sweetheart.uploads')));
      const object = { key: `uploads/${await userIdOf(page)}/${id}.png`, size: product.buffer.length };
      await put(uploadsQueue, { Records: [{ eventSource: 'aws:s3', eventName: 'ObjectCreated:Post', s3: { bucket: { name: bucket }, object } }] });
      await page.getByRole('radio', { name: 'handbag.png', checked: true }).waitFor();
      await has(page, '4 credits');
    }, uploadsQueue),
  ));

test('a studio that cannot be loaded says so and loads at the next try', () =>
  visitStudio(async (page) => {
    await page.route(`${api}/generation-jobs`, (route) => route.abort());
    await page.reload();
    await view(page, 'problem');
    await says(page, 'We cannot reach the server. Please check your connection and try again.');
    await look(page, 'studio-problem');
    await page.unroute(`${api}/generation-jobs`);
    await button(page, 'Try again').click();
    await view(page, 'studio');
  }));

test('a studio whose session could not be renewed is whole at the next try', () =>
  visitStudio(async (page, email) => {
    await prompt(page).fill('A lantern');
    await page.evaluate(() => {
      const session = JSON.parse(localStorage.getItem('sweetheart.session'));
      localStorage.setItem('sweetheart.session', JSON.stringify({ ...session, expires_at: 0 }));
    });
    await page.route('**/auth/v1/token*', (route) => route.abort());
    await page.clock.install();
    await page.reload();
    await page.clock.runFor(10_000);
    await view(page, 'problem');
    await says(page, 'We cannot reach the server. Please check your connection and try again.');
    await page.unrouteAll();
    await button(page, 'Try again').click();
    await view(page, 'studio');
    await says(page, email);
    assert.equal(await prompt(page).inputValue(), 'A lantern');
  }));

test('the studio is for who is logged in', () =>
  visit(async (page) => {
    await page.goto('/studio');
    await page.waitForURL('**/login');
  }));

test('a server that is away for a moment is said to be, and the picture arrives all the same', () =>
  visitStudio(async (page) => {
    await arm('replicate_webhook_lost', 'A windmill');
    await askFor(page, 'A windmill');
    await stands(page, 'A windmill', 'processing');
    await page.route(`${api}/generation-jobs`, (route) => route.abort());
    await says(page, 'We cannot reach the server just now. We keep trying; your pictures are made meanwhile.');
    await page.unroute(`${api}/generation-jobs`);
    await poke(await idOf(page, 'A windmill'));
    await stands(page, 'A windmill', 'completed');
    await page.locator('#connection-problem').waitFor({ state: 'hidden' });
  }));

test('links that no longer work are asked for anew', () =>
  visitStudio(async (page) => {
    await askFor(page, 'A teapot');
    await stands(page, 'A teapot', 'completed');
    const thumb = card(page, 'A teapot').locator('.job-open img');
    const path = new URL(await thumb.getAttribute('src')).pathname;
    const refused = [];
    await page.route((url) => url.pathname === path, (route) => {
      if (refused.length > 0) return route.continue();
      refused.push(route.request().url());
      return route.fulfill({ status: 403 });
    });
    await page.reload();
    await isPainted(thumb);
    assert.equal(refused.length, 1);

    await page.unrouteAll();
    await page.route((url) => url.pathname === path, (route) => route.abort());
    await page.reload();
    await says(page, 'The picture did not load.');
    await look(page, 'studio-picture-problem');
    await page.unrouteAll();
    await page.getByRole('button', { name: /^Load it again/ }).click();
    await isPainted(thumb);
  }));

test('older pictures are there on demand, and those that are unfinished are watched, too', () =>
  visitStudio(async (page) => {
    const userId = await userIdOf(page);
    const wish = { model_preset: 'fashion_model_v1', pose_preset: 'standing', scene_preset: 'studio', generation_type: 'standard' };
    // Nobody works on them: they have no message, and the sweeper looks much later.
    const job = { ...wish, user_id: userId, status: 'queued', look_at: '2100-01-01' };
    const now = Date.now();
    const jobs = Array.from({ length: 22 }, (_, i) => ({ ...job, prompt: `Lantern ${i + 1}`, created_at: new Date(now + i) }));
    await asServer('POST', 'rpc/grant_credits', { p_user_id: userId, p_amount: 20, p_business_key: `test:${userId}`, p_description: 'Given' });
    await asServer('PATCH', 'plans?id=eq.free', { jobs_per_hour: 100 });
    try {
      await asServer('POST', 'generation_jobs', jobs);
    } finally {
      await asServer('PATCH', 'plans?id=eq.free', { jobs_per_hour: 10 });
    }
    await page.reload();
    await view(page, 'studio');
    await has(page, '2 credits');
    assert.equal(await page.locator('.job').count(), 20);
    await button(page, 'Show more').click();
    await announced(page, '2 more pictures.');
    const newestFirst = jobs.map((one) => one.prompt).reverse();
    assert.deepEqual(await page.locator('.job-prompt').allTextContents(), newestFirst);
    await page.getByRole('button', { name: 'Show more' }).waitFor({ state: 'hidden' });
    await look(page, 'studio-many');

    const oldest = page.locator('.job').last();
    await asServer('POST', 'rpc/cancel_generation_job', { p_user_id: userId, p_job_id: await oldest.getAttribute('data-id') });
    await oldest.getByText('Cancelled. 1 credit is back.').waitFor();
    await has(page, '3 credits');
  }));

test('nobody is asked while nothing is being made, or while nobody looks', () =>
  visitStudio((page) =>
    withoutWorkers(async () => {
      await page.clock.install();
      await page.reload();
      await view(page, 'studio');
      const asked = questions(page);
      await page.clock.runFor(60_000);
      assert.equal(asked.length, 0);

      await askFor(page, 'A snail');
      await stands(page, 'A snail', 'queued');
      const answered = page.waitForResponse(`${api}/generation-jobs`);
      await page.clock.runFor(1000);
      await (await answered).finished();
      await setHidden(page, true);
      const before = asked.length;
      await page.clock.runFor(60_000);
      assert.equal(asked.length, before);
      const again = page.waitForResponse(`${api}/generation-jobs`);
      await setHidden(page, false);
      await again;
    }),
  ));

// The settings that `make web` writes for hosted Supabase.
async function hostedConfig() {
  const folder = await mkdtemp(join(tmpdir(), 'sweetheart-web-'));
  try {
    const env = { ...process.env, SUPABASE_URL: web, SUPABASE_PUBLISHABLE_KEY: publishableKey, API_URL: `${api}/` };
    const script = fileURLToPath(new URL('../../local/stack/pages.mjs', import.meta.url));
    await promisify(execFile)(process.execPath, [script, join(folder, 'pages')], { env });
    return await readFile(join(folder, 'pages/config.js'), 'utf8');
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('with Realtime the page is told, and asks no more than it must', () =>
  visitStudio((page) =>
    withoutWorkers(async () => {
      const config = await hostedConfig();
      await page.route('**/config.js', (route) => route.fulfill({ contentType: 'text/javascript', body: config }));
      const topic = `realtime:generation-jobs:${await userIdOf(page)}`;
      const token = await page.evaluate(() => JSON.parse(localStorage.getItem('sweetheart.session')).access_token);
      const tell = (event, payload, ref = null) => socket.send(JSON.stringify([null, ref, topic, event, payload]));
      let socket;
      let joins = 0;
      // Supabase's Realtime, which is not on this machine: it lets her into her own channel.
      await page.routeWebSocket(/\/realtime\/v1\/websocket/, (opened) => {
        socket = opened;
        opened.onMessage((text) => {
          const [join, ref, about, event, payload] = JSON.parse(text);
          const joining = event === 'phx_join' && about === topic && payload.config.private && payload.access_token === token;
          if (joining) joins += 1;
          const status = event === 'heartbeat' || joining ? 'ok' : 'error';
          opened.send(JSON.stringify([join, ref, about, 'phx_reply', { status, response: {} }]));
        });
      });
      // The first question is the page's own, the second comes of having joined.
      const before = questions(page);
      const joined = page.waitForResponse((response) => response.request() === before[1]);
      await page.clock.install();
      await page.reload();
      await view(page, 'studio');
      await joined;

      await askFor(page, 'A kite');
      await stands(page, 'A kite', 'queued');
      const asked = questions(page);
      await page.clock.runFor(40_000);
      assert.equal(asked.length, 0);
      const id = await idOf(page, 'A kite');
      await asServer('POST', 'rpc/claim_generation_job', { p_job_id: id, p_token: crypto.randomUUID(), p_lease_seconds: 100 });
      tell('broadcast', { type: 'broadcast', event: 'job', payload: { id, status: 'processing' } });
      await stands(page, 'A kite', 'processing');

      // A channel that the server closes is joined again, and what happened meanwhile asked for.
      const again = page.waitForResponse(`${api}/generation-jobs`);
      tell('phx_close', {});
      await page.clock.runFor(10_000);
      await again;
      assert.equal(joins, 2);
    }),
  ));

test('the whole way can be gone by keyboard', () =>
  visitStudio(async (page) => {
    const { keyboard } = page;
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.value || document.activeElement.ariaLabel);
    const tabTo = async (name) => {
      for (let presses = 0; presses < 12 && (await focused()) !== name; presses += 1) await keyboard.press('Tab');
      assert.equal(await focused(), name);
    };
    await page.reload();
    await view(page, 'studio');
    await tabTo('file');
    await tabTo('prompt');
    await keyboard.type('A green door');
    await tabTo('standard');
    await keyboard.press('ArrowRight');
    await says(page, 'This costs 2 credits. You have 4 credits; 2 are left afterwards.');
    await tabTo('submit');
    await keyboard.press('Enter');
    await announced(page, 'Your picture is ready: A green door');
    await has(page, '2 credits');
    await tabTo('Show large: A green door');
    await keyboard.press('Enter');
    assert.equal(await focused(), 'large-heading');
    await tabTo('close');
    await keyboard.press('Enter');
    assert.equal(await focused(), 'Show large: A green door');
  }));
