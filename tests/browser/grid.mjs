// The grid: what people share, who likes what, and what a reader sees of it while it changes. The functions, the bucket and the
// database are real; only what a test is about fails by a route.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { awsClient } from '../../local/stack/storage.mjs';
import { api, arm, publishableKey, web } from './house.mjs';
import { button, logIn, look, password, says, view, visit, visitDashboard } from './person.mjs';

const require = createRequire(new URL('../../local/package.json', import.meta.url));
const sharp = require('sharp');
const { PutObjectCommand, S3Client } = require('@aws-sdk/client-s3');
const { SendMessageCommand, SQSClient } = require('@aws-sdk/client-sqs');

const { AWS_ENDPOINT_URL, GENERATION_QUEUE_URL: jobsQueue, MEDIA_BUCKET: bucket, SUPABASE_SECRET_KEY: secretKey, SUPABASE_URL: supabase } = process.env;
const sqs = awsClient(SQSClient, AWS_ENDPOINT_URL);
const s3 = awsClient(S3Client, AWS_ENDPOINT_URL);

const folders = ['#b4506c/#f3c9a5', '#27506b/#8fc1c4', '#5b3a77/#e6a1c3', '#356b4a/#e9dba0'].map((colours, i) => ({ colours: colours.split('/'), folder: `users/grid/${i}` }));
for (const { colours: [from, to], folder } of folders) {
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="320" height="480"><defs><linearGradient id="g" y2="1"><stop stop-color="${from}"/><stop offset="1" stop-color="${to}"/></linearGradient></defs><rect width="320" height="480" fill="url(#g)"/><circle cx="160" cy="190" r="80" fill="${to}"/></svg>`;
  const Body = await sharp(Buffer.from(drawing)).webp().toBuffer();
  for (const name of ['thumb', 'screen']) await s3.send(new PutObjectCommand({ Bucket: bucket, Key: `${folder}/${name}.webp`, Body, ContentType: 'image/webp' }));
}

// What only the server may do.
async function asServer(method, path, body) {
  const headers = { apikey: secretKey, 'content-type': 'application/json', prefer: 'return=representation' };
  const response = await fetch(`${supabase}/rest/v1/${path}`, { method, headers, body: JSON.stringify(body) });
  assert.ok(response.ok, `${path}: ${await response.clone().text()}`);
  return response.json();
}

const emptyGrid = () => asServer('PATCH', 'images?published_at=not.is.null', { published_at: null });

async function ownerOfPictures() {
  const headers = { apikey: publishableKey, 'content-type': 'application/json' };
  const body = JSON.stringify({ email: `${crypto.randomUUID()}@example.com`, password });
  const answer = await (await fetch(`${web}/auth/v1/signup`, { method: 'POST', headers, body })).json();
  return (answer.user ?? answer).id;
}

const owner = await ownerOfPictures();

// Pictures of somebody else's, shared as long ago as they are listed: the first is the newest.
async function hang(...prompts) {
  const now = Date.now();
  const rows = prompts.map((one, i) => {
    const { prompt, likes_count = 0 } = typeof one === 'string' ? { prompt: one } : one;
    const object_key = `${folders[i % folders.length].folder}/original.webp`;
    return {
      user_id: owner, object_key, image_url: `https://media.example.com/${object_key}`, prompt, likes_count, width: 1024, height: 1536,
      blurhash: 'LEHV6nWB2yk8pyo0adR*.7kCMdnj', published_at: new Date(now - i), character_name: i % 2 ? null : 'Mia Prima',
    };
  });
  await asServer('POST', 'images', rows);
}

// Other tests may have made pictures by the same words.
const idOf = async (prompt) => (await asServer('GET', `images?prompt=eq.${encodeURIComponent(prompt)}&select=id&order=created_at.desc&limit=1`))[0].id;

const takeOut = (prompt) => asServer('PATCH', `images?prompt=eq.${encodeURIComponent(prompt)}`, { published_at: null });

const many = (count, word) => Array.from({ length: count }, (_, i) => `${word} ${i + 1}`);

async function openGrid(page, path = '/grid') {
  await page.goto(path);
  await view(page, 'grid');
}

// For somebody who has no account, and for somebody who has one.
const visitGrid = (story) =>
  visit(async (page) => {
    await openGrid(page);
    await story(page);
  });
const visitGridSignedIn = (story) =>
  visitDashboard(async (page, email) => {
    await page.getByRole('link', { name: 'The grid' }).click();
    await view(page, 'grid');
    await story(page, email);
  });

const shot = (page, prompt) => page.locator('#pictures > .shot:not(.hole)').filter({ has: page.getByText(prompt, { exact: true }) });
const like = (page, prompt) => shot(page, prompt).getByRole('button', { name: /^Like/ });
const likes = (page, prompt, count, pressed) => page.locator(`#pictures .like[aria-label="Like: ${prompt}, ${count}"]${pressed === undefined ? '' : `[aria-pressed=${pressed}]`}`).waitFor();
const order = (page) => page.locator('#pictures .shot-prompt').allTextContents();
const gone = (page, prompt) => shot(page, prompt).waitFor({ state: 'detached' });
const dialog = (page) => page.locator('#large');
const announced = (page, words) => page.locator('#announcer', { hasText: words }).waitFor({ state: 'attached' });
const isFocused = (locator) => locator.and(locator.page().locator(':focus')).waitFor();

async function isPainted(image) {
  await image.waitFor();
  await image.page().waitForFunction((element) => element.complete && element.naturalWidth > 0, await image.elementHandle());
}

const setHidden = (page, hidden) =>
  page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);

const sessionOf = (page) => page.evaluate(() => JSON.parse(localStorage.getItem('sweetheart.session')));


test('everybody sees the grid, newest first or most liked first, to its end', async () => {
  await emptyGrid();
  const prompts = many(50, 'Lantern');
  await hang(...prompts.map((prompt, i) => ({ prompt, likes_count: i })));
  await visitGrid(async (page) => {
    await page.getByRole('link', { name: 'Log in' }).waitFor();
    assert.equal(await page.locator('#log-out').isVisible(), false);
    await isPainted(shot(page, 'Lantern 1').locator('img'));
    assert.deepEqual((await order(page)).slice(0, 24), prompts.slice(0, 24));
    await look(page, 'grid');

    // Each page comes before its place is seen.
    for (const last of [prompts[23], prompts[47], prompts[49]]) await shot(page, last).scrollIntoViewIfNeeded();
    await says(page, 'You have seen them all.');
    assert.deepEqual(await order(page), prompts);
    assert.ok(await button(page, 'Show more').isHidden());

    await page.getByRole('link', { name: 'Most liked' }).click();
    await view(page, 'grid');
    await page.locator('[aria-current=page]', { hasText: 'Most liked' }).waitFor();
    assert.deepEqual((await order(page)).slice(0, 24), prompts.toReversed().slice(0, 24));
    await likes(page, 'Lantern 50', '49 likes');
  });
});

test('nothing jumps: each picture has its place before a byte of it is there', async () => {
  await emptyGrid();
  await hang(...many(12, 'Kite'));
  await visit(async (page) => {
    let go;
    const held = new Promise((resolve) => (go = resolve));
    await page.route(`${AWS_ENDPOINT_URL}/**`, async (route) => {
      await held;
      await route.continue();
    });
    await openGrid(page);
    const last = shot(page, 'Kite 12').locator('.window');
    const before = await last.boundingBox();
    assert.ok(Math.abs(before.width / before.height - 2 / 3) < 0.01);
    const blur = shot(page, 'Kite 1').locator('canvas');
    assert.ok(await blur.evaluate((canvas) => canvas.getContext('2d').getImageData(8, 12, 1, 1).data[3] === 255));
    await look(page, 'grid-blurred');
    go();
    await isPainted(shot(page, 'Kite 1').locator('img'));
    await page.locator('#pictures .there').first().waitFor();
    assert.deepEqual(await last.boundingBox(), before);
    assert.equal(await shot(page, 'Kite 1').locator('img').getAttribute('loading'), 'lazy');
  });
});

test('one likes a picture, and another sees its count move', async () => {
  await emptyGrid();
  await hang('A paper boat', 'A quiet harbour');
  await visitGrid((other) =>
    visitGridSignedIn(async (page) => {
      await likes(other, 'A quiet harbour', '0 likes');
      await like(page, 'A quiet harbour').click();
      await likes(page, 'A quiet harbour', '1 like', true);
      await likes(other, 'A quiet harbour', '1 like', false);

      await page.reload();
      await likes(page, 'A quiet harbour', '1 like', true);
      await like(page, 'A quiet harbour').click();
      await likes(page, 'A quiet harbour', '0 likes', false);
      await likes(other, 'A quiet harbour', '0 likes', false);
    }),
  );
});

test('a like is shown before the server has answered, and the last word counts', async () => {
  await emptyGrid();
  await hang('A red balloon');
  await visitGridSignedIn(async (page) => {
    const sent = [];
    let go;
    const held = new Promise((resolve) => (go = resolve));
    await page.route(`${api}/images/*/like`, async (route) => {
      sent.push(route.request().method());
      await held;
      await route.continue();
    });
    await like(page, 'A red balloon').click();
    await likes(page, 'A red balloon', '1 like', true);
    // Meanwhile the grid is asked for again, and does not know of it yet.
    await page.waitForResponse(`${api}/images?order=new`);
    await likes(page, 'A red balloon', '1 like', true);
    await like(page, 'A red balloon').click();
    await likes(page, 'A red balloon', '0 likes', false);
    const settled = page.waitForResponse((response) => response.request().method() === 'DELETE');
    go();
    await settled;
    await likes(page, 'A red balloon', '0 likes', false);
    assert.deepEqual(sent, ['PUT', 'DELETE']);
    assert.equal((await asServer('GET', `image_likes?image_id=eq.${await idOf('A red balloon')}`)).length, 0);
  });
});

test('a like that does not arrive or is refused is taken back, and it is said why', async () => {
  await emptyGrid();
  await hang('A storm over Porto', 'A lighthouse in fog');
  await visitGridSignedIn(async (page) => {
    // Nobody asks while nobody looks: the page goes on believing what it shows.
    await setHidden(page, true);
    await page.route(`${api}/images/*/like`, (route) => route.abort(), { times: 1 });
    await like(page, 'A storm over Porto').click();
    await says(page, 'Your like was not taken. We cannot reach the server. Please check your connection and try again.');
    await likes(page, 'A storm over Porto', '0 likes', false);
    await look(page, 'grid-like-refused');
    await page.locator('#toast').getByRole('button', { name: 'Close' }).click();
    assert.ok(await page.locator('#toast').isHidden());

    await takeOut('A storm over Porto');
    await like(page, 'A storm over Porto').click();
    await says(page, 'Your like was not taken. This picture is no longer in the grid.');
    await gone(page, 'A storm over Porto');
    assert.deepEqual(await order(page), ['A lighthouse in fog']);
  });
});

test('a new picture comes in on top by itself, and is told of to who has scrolled down, whose place stays', async () => {
  await emptyGrid();
  const prompts = many(40, 'Harbour');
  await hang(...prompts);
  await visitGrid(async (page) => {
    await hang('A fox');
    await shot(page, 'A fox').waitFor();
    await announced(page, '1 new picture in the grid.');
    assert.equal((await order(page))[0], 'A fox');

    const read = shot(page, 'Harbour 30');
    await shot(page, 'Harbour 23').scrollIntoViewIfNeeded();
    await read.scrollIntoViewIfNeeded();
    const before = await read.boundingBox();
    await hang('A badger', 'An owl');
    await takeOut('Harbour 2');
    await button(page, '2 new pictures').waitFor();
    await gone(page, 'Harbour 2');
    assert.deepEqual(await read.boundingBox(), before);
    await likes(page, 'Harbour 30', '0 likes');
    await asServer('POST', 'image_likes', { image_id: await idOf('Harbour 30'), user_id: owner });
    await likes(page, 'Harbour 30', '1 like');
    assert.deepEqual(await read.boundingBox(), before);
    await look(page, 'grid-news');

    await button(page, '2 new pictures').click();
    await isFocused(shot(page, 'A badger'));
    assert.deepEqual((await order(page)).slice(0, 5), ['A badger', 'An owl', 'A fox', 'Harbour 1', 'Harbour 3']);
    assert.equal(await page.evaluate(() => window.scrollY), 0);
    assert.ok(await page.locator('#news').isHidden());
    assert.equal(await page.locator('.hole').count(), 0);
  });
});

test('after so many new pictures that some would be left out, the grid starts anew', async () => {
  await emptyGrid();
  await hang('An old door');
  await visitGrid(async (page) => {
    await setHidden(page, true);
    await hang(...many(30, 'Swan'));
    await setHidden(page, false);
    await shot(page, 'Swan 24').scrollIntoViewIfNeeded();
    await says(page, 'You have seen them all.');
    assert.deepEqual(await order(page), [...many(30, 'Swan'), 'An old door']);
  });
});

test('among the most liked nothing moves by itself', async () => {
  await emptyGrid();
  await hang({ prompt: 'Much liked', likes_count: 9 }, { prompt: 'Liked', likes_count: 3 });
  await visitGrid(async (page) => {
    await openGrid(page, '/grid?order=top');
    await hang({ prompt: 'New', likes_count: 5 });
    await button(page, '1 new picture').click();
    await isFocused(shot(page, 'Much liked'));
    assert.deepEqual(await order(page), ['Much liked', 'New', 'Liked']);
    await takeOut('New');
    await gone(page, 'New');
  });
});

test('she makes a picture, shares it, everybody sees it, and she takes it back', async () => {
  await emptyGrid();
  await visitGrid((other) =>
    visitDashboard(async (page) => {
      await says(other, 'Nothing here yet. Pictures appear here as soon as somebody shares one.');
      await look(other, 'grid-empty');
      await page.goto('/studio');
      await page.getByLabel('What is to be seen').fill('A windmill');
      await page.getByRole('button', { name: 'Make the picture' }).click();
      await page.getByRole('button', { name: 'Share: A windmill' }).click();
      await announced(page, 'Everybody can see it in the grid now.');
      await says(page, 'In the grid, 0 likes');
      await isFocused(page.getByRole('button', { name: 'Take back: A windmill' }));
      await look(page, 'studio-shared');
      await isPainted(shot(other, 'A windmill').locator('img'));
      assert.ok(await other.locator('#empty').isHidden());

      await openGrid(page);
      await shot(page, 'A windmill').getByText('Yours').waitFor();
      await page.goto('/studio');
      await page.getByRole('button', { name: 'Take back: A windmill' }).click();
      await announced(page, 'It is no longer in the grid.');
      await page.getByRole('button', { name: 'Share: A windmill' }).waitFor();
      await gone(other, 'A windmill');
      await says(other, 'Nothing here yet. Pictures appear here as soon as somebody shares one.');

      await page.getByRole('button', { name: 'Share: A windmill' }).click();
      await openGrid(page);
      await page.getByRole('button', { name: 'Show large: A windmill' }).click();
      await dialog(page).getByRole('heading', { name: 'Your picture' }).waitFor();
      assert.ok(await page.locator('#report-open').isHidden());
      await dialog(page).getByRole('button', { name: 'Take it back' }).click();
      await announced(page, 'It is out of the grid. You find it among your pictures.');
      await gone(page, 'A windmill');
    }),
  );
});

test('her own picture under way is before the others, and she shares it when it is made', async () => {
  await emptyGrid();
  await hang('A teapot');
  await visitDashboard(async (page) => {
    await arm('replicate_webhook_lost', 'A snail');
    await page.goto('/studio');
    await page.getByLabel('What is to be seen').fill('A snail');
    await page.getByRole('button', { name: 'Make the picture' }).click();
    await page.locator('.job[data-status=processing]').waitFor();
    await openGrid(page);
    const own = page.locator('#under-way > .own', { hasText: 'A snail' });
    await own.getByText('Being made').waitFor();
    const id = await own.getAttribute('data-id');
    await asServer('PATCH', `generation_jobs?id=eq.${id}`, { progress: 40 });
    await own.getByText('Being made, 40 %').waitFor();
    await look(page, 'grid-under-way');

    await sqs.send(new SendMessageCommand({ QueueUrl: jobsQueue, MessageBody: JSON.stringify({ job_id: id }) }));
    await own.getByText('Ready').waitFor();
    await announced(page, 'Your picture is ready: A snail');
    await isPainted(own.locator('img.picture'));
    await look(page, 'grid-ready');
    await own.getByRole('button', { name: 'Share: A snail' }).click();
    await shot(page, 'A snail').waitFor();
    await own.waitFor({ state: 'detached' });
    assert.deepEqual(await order(page), ['A snail', 'A teapot']);
  });
});

test('a file of hers that is being checked is shown, too', async () => {
  await emptyGrid();
  await visitGridSignedIn(async (page) => {
    const { user } = await sessionOf(page);
    const asset = { user_id: user.id, kind: 'upload', object_key: `uploads/${crypto.randomUUID()}.png`, content_type: 'image/png', bytes: 1, filename: 'handbag.png' };
    const [{ id }] = await asServer('POST', 'assets', asset);
    await page.evaluate((sent) => sessionStorage.setItem('sweetheart.uploads', JSON.stringify([sent])), id);
    await page.reload();
    const own = page.locator('#under-way > .own', { hasText: 'handbag.png' });
    await own.getByText('Being checked').waitFor();
    await asServer('PATCH', `assets?id=eq.${id}`, { rejected_code: 'image_invalid' });
    await own.waitFor({ state: 'detached' });
  });
});

test('a picture that an admin hides vanishes, and its owner sees why', async () => {
  await emptyGrid();
  await visitDashboard(async (page) => {
    await page.goto('/studio');
    await page.getByLabel('What is to be seen').fill('A green door');
    await page.getByRole('button', { name: 'Make the picture' }).click();
    await page.getByRole('button', { name: 'Share: A green door' }).click();
    await says(page, 'In the grid, 0 likes');
    await visitGrid((other) =>
      visitDashboard(async (admin) => {
        await shot(other, 'A green door').waitFor();
        const { access_token: token, user } = await sessionOf(admin);
        await asServer('POST', 'user_roles', { user_id: user.id, role: 'admin' });
        const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
        const url = `${api}/images/${await idOf('A green door')}/hidden`;
        const response = await fetch(url, { method: 'PUT', headers, body: JSON.stringify({ reason: 'It shows a real place of somebody.' }) });
        assert.equal(response.status, 200);
        await gone(other, 'A green door');

        // She looks away and comes back.
        await setHidden(page, true);
        await setHidden(page, false);
        await says(page, 'An admin hid this: It shows a real place of somebody.');
        await look(page, 'studio-hidden');
        await page.getByRole('button', { name: 'Take back: A green door' }).click();
        await page.getByRole('button', { name: 'Take back: A green door' }).waitFor({ state: 'hidden' });
        await says(page, 'An admin hid this: It shows a real place of somebody.');
      }),
    );
  });
});

test('sharing what an admin has hidden meanwhile says why it is not shared', async () => {
  await emptyGrid();
  await visitDashboard(async (page) => {
    await page.goto('/studio');
    await page.getByLabel('What is to be seen').fill('A blue door');
    await page.getByRole('button', { name: 'Make the picture' }).click();
    const share = page.getByRole('button', { name: 'Share: A blue door' });
    await share.waitFor();
    await asServer('PATCH', `images?id=eq.${await idOf('A blue door')}`, { hidden_at: new Date(), hidden_reason: 'Reported.' });
    await share.click();
    await says(page, 'An admin hid this: Reported.');
    await announced(page, 'An admin hid this: Reported.');
    await share.waitFor({ state: 'hidden' });
  });
});

test('who is not logged in is asked to when she likes, and comes back to what she liked', async () => {
  await emptyGrid();
  await hang(...many(30, 'Tulip'));
  await visitDashboard(async (page, email) => {
    await button(page, 'Log out').click();
    await page.waitForURL('**/login?note=logged-out');
    await openGrid(page);
    await shot(page, 'Tulip 24').scrollIntoViewIfNeeded();
    await like(page, 'Tulip 28').click();
    const ask = page.getByRole('dialog', { name: 'Log in to like pictures' });
    await ask.waitFor();
    await look(page, 'grid-ask');
    await ask.getByRole('button', { name: 'Not now' }).click();
    await isFocused(like(page, 'Tulip 28'));
    await likes(page, 'Tulip 28', '0 likes', false);

    await like(page, 'Tulip 28').click();
    await ask.getByRole('link', { name: 'Log in' }).click();
    await page.waitForURL('**/login');
    await logIn(page, email);
    await page.waitForURL('**/grid');
    await likes(page, 'Tulip 28', '1 like', true);
    await isFocused(like(page, 'Tulip 28'));
    await announced(page, 'You are logged in, and like this picture now.');
    // That was once: from now on she lands where everybody does.
    await page.goto('/dashboard');
    await view(page, 'none');
    assert.equal(page.url(), `${web}/dashboard`);
  });
});

test('whose session has ended reads on, and is asked to log in when she likes', async () => {
  await emptyGrid();
  await hang('A lamp');
  await visitGridSignedIn(async (page) => {
    const other = await page.context().newPage();
    await openGrid(other);
    await button(other, 'Log out').click();
    await other.waitForURL('**/login?note=logged-out');
    await page.getByRole('link', { name: 'Log in' }).waitFor();
    await like(page, 'A lamp').click();
    await page.getByRole('dialog', { name: 'Log in to like pictures' }).waitFor();
  });
});

test('where nobody can say who reads, the grid is there all the same', async () => {
  await emptyGrid();
  await hang('A stone bridge');
  await visit(async (page) => {
    await page.goto('/identity/clerk');
    await page.route('**/clerk.browser.js', (route) => route.abort());
    await openGrid(page);
    await shot(page, 'A stone bridge').waitFor();
    await page.getByRole('link', { name: 'Log in' }).waitFor();
  });
});

test('a picture is looked at large, liked there, and reported', async () => {
  await emptyGrid();
  await hang('A woman at a window', 'Two swans');
  await visitGridSignedIn(async (page) => {
    await page.getByRole('button', { name: 'Show large: A woman at a window' }).click();
    await dialog(page).getByRole('heading', { name: 'A picture of Mia Prima' }).waitFor();
    await isPainted(dialog(page).getByRole('img', { name: 'A woman at a window' }));
    await dialog(page).getByText('A woman at a window').waitFor();
    await look(page, 'grid-large');
    await dialog(page).getByRole('button', { name: /^Like/ }).click();
    await dialog(page).getByRole('button', { name: 'Like: A woman at a window, 1 like', pressed: true }).waitFor();
    await likes(page, 'A woman at a window', '1 like', true);

    await dialog(page).getByRole('button', { name: 'Report' }).click();
    await button(page, 'Send report').click();
    await says(page, 'Please choose what is wrong with it.');
    await look(page, 'grid-report');
    await page.getByRole('radio', { name: 'It shows a real person' }).check();
    await button(page, 'Send report').click();
    await says(page, 'Thank you. Somebody will look at this picture.');
    const [report] = await asServer('GET', `image_reports?image_id=eq.${await idOf('A woman at a window')}`);
    assert.equal(report.reason, 'person');
    await look(page, 'grid-reported');
    await page.keyboard.press('Escape');
    await isFocused(page.getByRole('button', { name: 'Show large: A woman at a window' }));

    await page.getByRole('button', { name: 'Show large: Two swans' }).click();
    await dialog(page).getByRole('heading', { name: 'A picture', exact: true }).waitFor();
    await takeOut('Two swans');
    await says(page, 'The picture that you looked at is no longer in the grid.');
    assert.ok(await dialog(page).isHidden());
  });
});

test('a grid that cannot be loaded says so and loads at the next try, and so does its next page', async () => {
  await emptyGrid();
  await hang(...many(30, 'Bridge'));
  await visit(async (page) => {
    let go;
    const held = new Promise((resolve) => (go = resolve));
    await page.route(`${api}/images?*`, async (route) => {
      await held;
      await route.abort();
    });
    await page.goto('/grid');
    await view(page, 'loading');
    await look(page, 'grid-loading');
    go();
    await view(page, 'problem');
    await says(page, 'We cannot reach the server. Please check your connection and try again.');
    await look(page, 'grid-problem');
    await page.unrouteAll();
    await page.route(`${api}/images?*cursor*`, (route) => route.abort());
    await button(page, 'Try again').click();
    await view(page, 'grid');

    await shot(page, 'Bridge 24').scrollIntoViewIfNeeded();
    await page.locator('#more-problem', { hasText: 'We cannot reach the server. Please check your connection and try again.' }).waitFor();
    await look(page, 'grid-more-problem');
    await page.unrouteAll();
    await button(page, 'Show more').click();
    await isFocused(shot(page, 'Bridge 25'));
    await says(page, 'You have seen them all.');
    assert.deepEqual(await order(page), many(30, 'Bridge'));
  });
});

test('a server that is away for a moment is said to be, and what came meanwhile is there afterwards', async () => {
  await emptyGrid();
  await hang('A snowman');
  await visitGrid(async (page) => {
    await page.route(`${api}/images?*`, (route) => route.abort());
    await says(page, 'We cannot reach the server just now. We keep trying.');
    await hang('A sledge');
    await page.unrouteAll();
    await shot(page, 'A sledge').waitFor();
    await page.locator('#connection-problem').waitFor({ state: 'hidden' });
  });
});

test('without an IntersectionObserver there is a button', async () => {
  await emptyGrid();
  await hang(...many(30, 'Ladder'));
  await visit(async (page) => {
    await page.addInitScript(() => delete window.IntersectionObserver);
    await openGrid(page);
    await shot(page, 'Ladder 24').scrollIntoViewIfNeeded();
    await button(page, 'Show more').click();
    await isFocused(shot(page, 'Ladder 25'));
    assert.deepEqual(await order(page), many(30, 'Ladder'));
  });
});

test('the grid that has not changed is not sent again', async () => {
  await emptyGrid();
  await hang('A clock');
  await visit(async (page) => {
    // What goes over the wire: the page itself is given what its browser kept.
    const wire = await page.context().newCDPSession(page);
    await wire.send('Network.enable');
    const asked = [];
    const statuses = new Map();
    wire.on('Network.requestWillBeSent', ({ requestId, request }) => request.url === `${api}/images?order=new` && asked.push(requestId));
    wire.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => statuses.set(requestId, statusCode));
    await openGrid(page);
    // The second time, unless a half hour ends just then, and the links with it.
    while (![...statuses.values()].includes(304)) await page.waitForResponse(`${api}/images?order=new`);
    assert.equal(statuses.get(asked[0]), 200);
    await hang('A bell');
    await shot(page, 'A bell').waitFor();
  });
});

test('nobody is asked while nobody looks, and less often while nothing happens', async () => {
  await emptyGrid();
  await hang('A stone');
  await visit(async (page) => {
    await page.clock.install();
    await openGrid(page);
    const asked = [];
    page.on('request', (request) => request.url() === `${api}/images?order=new` && asked.push(request));
    const waitMs = async () => {
      let waited = 0;
      for (const before = asked.length; asked.length === before; waited += 1000) await page.clock.runFor(1000);
      await (await asked.at(-1).response()).finished();
      return waited;
    };
    const waits = [await waitMs(), await waitMs(), await waitMs(), await waitMs()];
    assert.ok(waits.at(-1) > waits[0], `${waits}`);

    await setHidden(page, true);
    const before = asked.length;
    await page.clock.runFor(120_000);
    assert.equal(asked.length, before);
    const again = page.waitForResponse(`${api}/images?order=new`);
    await setHidden(page, false);
    await again;
  });
});

test('links that died are fetched anew, and a picture that does not load says so', async () => {
  await emptyGrid();
  await hang('A well');
  const object = (url) => url.pathname.includes('/users/grid/');
  await visit(async (page) => {
    const refused = [];
    await page.route(object, (route) => {
      if (refused.length > 0) return route.continue();
      refused.push(route.request().url());
      return route.fulfill({ status: 403 });
    });
    await openGrid(page);
    const image = shot(page, 'A well').locator('img');
    await isPainted(image);
    assert.equal(refused.length, 1);

    await page.unrouteAll();
    await page.route(object, (route) => route.abort());
    await page.reload();
    await shot(page, 'A well').getByText('The picture did not load.').waitFor();
    await look(page, 'grid-picture-problem');
    await page.unrouteAll();
    await button(page, 'Load it again').click();
    await isPainted(image);

    // Looked at large after an hour: the page has other links by then.
    refused.length = 0;
    await page.route(object, (route) => {
      if (refused.length > 0) return route.continue();
      refused.push(route.request().url());
      return route.fulfill({ status: 403 });
    });
    await page.getByRole('button', { name: 'Show large: A well' }).click();
    await isPainted(dialog(page).getByRole('img', { name: 'A well' }));
    assert.equal(refused.length, 1);
  });
});

test('the whole grid can be gone by keyboard', async () => {
  await emptyGrid();
  await hang('A ribbon', 'A button');
  await visitGridSignedIn(async (page) => {
    const { keyboard } = page;
    const focused = () => page.evaluate(() => document.activeElement.ariaLabel || document.activeElement.id || document.activeElement.textContent.trim());
    const tabTo = async (name) => {
      for (let presses = 0; presses < 12 && (await focused()) !== name; presses += 1) await keyboard.press('Tab');
      assert.equal(await focused(), name);
    };
    await page.reload();
    await view(page, 'grid');
    await tabTo('Most liked');
    await tabTo('Show large: A ribbon');
    await tabTo('Like: A ribbon, 0 likes');
    await keyboard.press('Space');
    await likes(page, 'A ribbon', '1 like', true);
    await tabTo('Show large: A button');
    await keyboard.press('Enter');
    assert.equal(await focused(), 'large-heading');
    await tabTo('Like: A button, 0 likes');
    await keyboard.press('Enter');
    await tabTo('report-open');
    await keyboard.press('Enter');
    await keyboard.press('ArrowDown');
    await tabTo('report-send');
    await keyboard.press('Enter');
    await isFocused(page.locator('#thanks'));
    await keyboard.press('Escape');
    assert.equal(await focused(), 'Show large: A button');
    await likes(page, 'A button', '1 like', true);
  });
});
