// `node local/n8n/test.mjs`: our workflow in the real n8n, first between doubles of its neighbours, then in the main job.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort, install, start } from './n8n.mjs';

const LIMIT = 60_000; // for anything that is waited for
const SECRET = 'the secret between create-influencer and n8n';

before(install, { timeout: 15 * 60_000 });

/** An HTTP server whose answers come from `answer(request, body)`: `{status, headers, body}`, or nothing: hang up. */
async function listen(answer) {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const reply = await answer(request, body && JSON.parse(body));
    if (!reply) return request.socket.destroy();
    response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers });
    response.end(JSON.stringify(reply.body));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } };
}

describe('the workflow', () => {
  let replicate, receiver, n8n;
  let endless; // under way while the other tests run
  const stories = new Map(); // by the name of the character

  before(async () => {
    const storyOf = (text) => [...stories.values()].find(({ order }) => text.includes(order.name));
    replicate = await listen((request, body) => {
      if (request.method === 'POST') {
        const story = storyOf(body.input.prompt);
        story.predictions.push({ path: request.url, headers: request.headers, input: body.input });
        return story.start(story.predictions.length, body.input, `${replicate.url}/v1/predictions/${story.order.name}`);
      }
      const story = storyOf(request.url);
      story.looks += 1;
      assert.equal(request.headers.authorization, 'Bearer r8_test');
      return story.look(story.looks);
    });
    receiver = await listen((request, body) => {
      const story = storyOf(request.url);
      story.callbacks.push({ headers: request.headers, body });
      const status = story.receive(story.callbacks.length);
      if (status === 202 && request.headers.authorization === `Bearer ${story.order.callback_token}`) story.told(body);
      return status && { status, body: {} };
    });
    n8n = await start(await freePort(), {
      N8N_WEBHOOK_SECRET: SECRET,
      REPLICATE_API_TOKEN: 'r8_test',
      REPLICATE_MODEL: 'an-owner/a-model',
      REPLICATE_BASE_URL: replicate.url,
      SETUP_DEADLINE_SECONDS: '60',
    });

    endless = story({
      start: (_, input, url) => made({ status: 'starting', output: null, urls: { get: url } }),
      look: () => made({ status: 'processing', output: null }),
    });
    await send(endless);
  });
  after(async () => {
    await n8n?.stop();
    replicate?.close();
    receiver?.close();
  });

  const made = (more) => ({ status: 201, body: { id: 'p1', status: 'succeeded', output: 'https://replicate.delivery/a.webp', logs: '', error: null, ...more } });

  /** A character with a name of her own, by which the doubles know her, and what they answer: at best, unless told. */
  function story({ start = (_, input) => made({ input }), look, receive = () => 202, ...texts } = {}) {
    const name = `Mara ${randomUUID()}`.replaceAll('-', '').replace(' ', '');
    const it = { predictions: [], callbacks: [], looks: 0, start, look, receive };
    it.order = {
      influencer_id: randomUUID(), user_id: randomUUID(), attempt: 1, name, bio: 'Paints birds in Lisbon', vibe: 'calm', ...texts,
      callback_url: `${receiver.url}/${name}`, callback_token: `token of ${name}`,
    };
    it.report = new Promise((told) => { it.told = told; });
    stories.set(name, it);
    return it;
  }

  /** Sends the order as create-influencer does; `change` may spoil it. */
  async function send({ order }, { secret = SECRET, age = 0, signature, body = JSON.stringify(order) } = {}) {
    const t = Math.floor(Date.now() / 1000) - age;
    const v1 = createHmac('sha256', secret).update(`${t}.${JSON.stringify(order)}`).digest('hex');
    return fetch(n8n.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-signature': signature ?? `t=${t},v1=${v1}`,
        'idempotency-key': `${order.influencer_id}:${order.attempt ?? 1}`,
      },
      body,
      signal: AbortSignal.timeout(LIMIT),
    });
  }

  async function tell(character, sending) {
    const response = await send(character, sending);
    assert.equal(response.status, 202, await response.text());
    return character.report;
  }

  test('an order becomes a picture, its prompt and its seed', { timeout: LIMIT }, async () => {
    const character = story();
    const report = await tell(character);
    const [{ path, headers, input }] = character.predictions;
    const { name, bio, vibe, influencer_id, callback_token } = character.order;

    assert.equal(path, '/v1/models/an-owner/a-model/predictions');
    assert.equal(headers.authorization, 'Bearer r8_test');
    assert.equal(headers.prefer, 'wait');
    assert.equal(input.aspect_ratio, '2:3');
    assert.equal(input.output_format, 'webp');
    assert.ok(Number.isSafeInteger(input.seed) && input.seed > 0);
    for (const words of [name, bio, vibe, 'adult woman, 25 years old or older']) assert.ok(report.base_prompt.includes(words), words);
    assert.ok(input.prompt.startsWith(report.base_prompt));
    assert.equal(character.callbacks[0].headers.authorization, `Bearer ${callback_token}`);
    assert.deepEqual(report, {
      influencer_id, attempt: 1, base_prompt: report.base_prompt, seed: input.seed, image_url: 'https://replicate.delivery/a.webp',
    });
  });

  test('an order without an attempt gets an answer without one', { timeout: LIMIT }, async () => {
    const fine = story({ attempt: undefined });
    const failing = story({ attempt: undefined, start: () => made({ output: null }) });
    assert.deepEqual(Object.keys(await tell(fine)).sort(), ['base_prompt', 'image_url', 'influencer_id', 'seed']);
    assert.deepEqual(Object.keys(await tell(failing)).sort(), ['error', 'influencer_id']);
  });

  test('quotes, braces and emoji arrive as they were typed', { timeout: LIMIT }, async () => {
    const bio = 'Says "hi" \\ {{ $env.PATH }} — 日本 🦜 <b>';
    const report = await tell(story({ bio }));
    assert.ok(report.base_prompt.includes(bio), report.base_prompt);
  });

  test('an unfinished prediction is looked at until it ends, and its logs name the seed', { timeout: LIMIT }, async () => {
    const character = story({
      start: (_, input, url) => made({ status: 'starting', output: null, urls: { get: url } }),
      look: (count) => [
        made({ status: 'processing', output: null }),
        { status: 503, body: {} },
        made({ logs: 'Loading\nUsing seed:\n10184\n', output: ['https://replicate.delivery/first.webp', 'second'] }),
      ][count - 1],
    });
    const report = await tell(character);
    assert.equal(character.looks, 3);
    assert.equal(character.predictions.length, 1);
    assert.equal(report.seed, 10184);
    assert.equal(report.image_url, 'https://replicate.delivery/first.webp');
  });

  for (const [what, wrap] of [['the picture itself', (url) => url], ['a list of pictures', (url) => [url]]]) {
    test(`a prediction with ${what} in its answer is looked at again, for the URL`, { timeout: LIMIT }, async () => {
      const character = story({
        start: (count, input, url) => [
          { status: 502, body: {} },
          made({ input, output: wrap('data:image/webp;base64,UklGRg=='), urls: { get: url } }),
        ][count - 1],
        look: (count) => [{ status: 503, body: {} }, made({ output: wrap('http://127.0.0.1/a.webp'), input: { seed: 7 } })][count - 1],
      });
      const report = await tell(character);
      assert.equal(character.predictions.length, 2);
      assert.equal(character.looks, 2);
      assert.equal(report.image_url, 'http://127.0.0.1/a.webp');
      assert.equal(report.seed, 7);
    });
  }

  test('a prediction that has no URL at the second look either is reported', { timeout: LIMIT }, async () => {
    const picture = { output: 'data:image/webp;base64,UklGRg==' };
    const character = story({ start: (_, input, url) => made({ ...picture, urls: { get: url } }), look: () => made(picture) });
    const { error, image_url } = await tell(character);
    assert.match(error, /could not be made/);
    assert.equal(image_url, undefined);
    assert.equal(character.looks, 1);
  });

  test('a throttled, broken or lost request is made again', { timeout: LIMIT }, async () => {
    const character = story({
      start: (count, input) => [
        { status: 429, body: { detail: 'Request was throttled. Your rate limit resets in ~1s.' } },
        { status: 502, body: {} },
        undefined,
        made({ input }),
      ][count - 1],
    });
    const report = await tell(character);
    assert.equal(character.predictions.length, 4);
    assert.equal(report.seed, character.predictions[3].input.seed);
  });

  for (const [what, answer, sentence] of [
    ['failed', made({ status: 'failed', output: null, error: 'CUDA out of memory' }), /could not be made/],
    ['refused', made({ status: 'failed', output: null, error: 'NSFW content detected' }), /refused this description/],
    ['canceled', made({ status: 'canceled', output: null }), /stopped before/],
    ['aborted', made({ status: 'aborted', output: null }), /stopped before/],
    ['empty', made({ output: [] }), /came out empty/],
    ['unpaid', { status: 402, body: { detail: 'Insufficient credit' } }, /cannot make pictures at the moment/],
    ['neither URL nor picture', made({ output: 'a.webp' }), /could not be made/],
    ['meaningless', { status: 200, body: 'hello' }, /could not be made/],
  ]) {
    test(`a prediction that is ${what} is reported in a sentence for the user`, { timeout: LIMIT }, async () => {
      const character = story({ start: () => answer });
      const { error, ...rest } = await tell(character);
      assert.match(error, sentence);
      assert.match(error, /try again/);
      assert.deepEqual(rest, { influencer_id: character.order.influencer_id, attempt: 1 });
      assert.equal(character.predictions.length, 1);
    });
  }

  test('a callback is repeated until it is taken', { timeout: LIMIT }, async () => {
    const character = story({ receive: (count) => [503, undefined, 429, 202][count - 1] });
    const report = await tell(character);
    assert.equal(character.callbacks.length, 4);
    assert.deepEqual(character.callbacks.map(({ body }) => body), Array(4).fill(report));
  });

  test('a result that is refused is followed by an error', { timeout: LIMIT }, async () => {
    const character = story({ attempt: 3, receive: (count) => [503, 422, 503, 202][count - 1] });
    const { error, ...rest } = await tell(character);
    assert.match(error, /try again/);
    assert.deepEqual(rest, { influencer_id: character.order.influencer_id, attempt: 3 });
    const { callbacks } = character;
    assert.deepEqual(callbacks.map(({ body }) => 'error' in body), [false, false, true, true]);
    assert.deepEqual(callbacks[1].body, callbacks[0].body);
    assert.equal(callbacks[0].body.attempt, 3);
    assert.equal(character.predictions.length, 1);
  });

  test('a refused error is not repeated, nor is a result that is refused with anything but 422', { timeout: LIMIT }, async () => {
    const characters = [
      story({ receive: () => 422 }),
      story({ receive: () => 422, start: () => made({ output: null }) }),
      story({ receive: () => 409 }),
    ];
    for (const character of characters) assert.equal((await send(character)).status, 202);
    while (characters.some(({ callbacks }, i) => callbacks.length < [2, 1, 1][i])) await delay(100);
    await delay(5_000); // longer than the pause before one more
    assert.deepEqual(characters.map(({ callbacks }) => callbacks.length), [2, 1, 1]);
    assert.ok(characters[0].callbacks[1].body.error);
  });

  test('an order that is not signed with our secret, now, is refused and starts nothing', { timeout: LIMIT }, async () => {
    const spoiled = {
      'another secret': { secret: 'guessed' },
      'no secret': { secret: '' },
      'another body': { body: JSON.stringify({ hello: 'world' }) },
      'no body': { body: '' },
      'no signature': { signature: '' },
      'half a signature': { signature: `t=${Math.floor(Date.now() / 1000)},v1=` },
      'no time': { signature: 'v1=00' },
      'too old': { age: 301 },
      'from the future': { age: -310 },
    };
    for (const [what, sending] of Object.entries(spoiled)) {
      const character = story();
      const response = await send(character, sending);
      assert.equal(response.status, 401, what);
      assert.equal(character.predictions.length + character.callbacks.length, 0, what);
    }
    await tell(story());
    assert.equal([...stories.values()].filter(({ predictions }) => predictions.length === 0).length, Object.keys(spoiled).length);
  });

  test('a signed order that is not whole is refused', { timeout: LIMIT }, async () => {
    const character = story({ vibe: '' });
    const response = await send(character);
    assert.equal(response.status, 422);
    assert.match((await response.json()).detail, /vibe/);
  });

  test('a repeated order starts nothing, the next attempt does', { timeout: LIMIT }, async () => {
    const character = story();
    await tell(character);
    for (let i = 0; i < 3; i += 1) assert.equal((await send(character)).status, 202);

    // By now a repeat that was not dropped would have got its picture.
    Object.assign(character.order, { attempt: 2, callback_token: 'token of the second attempt' });
    character.report = new Promise((told) => { character.told = told; });
    assert.equal((await tell(character)).attempt, 2);
    assert.equal(character.predictions.length, 2);
    assert.equal(character.callbacks.length, 2);
  });

  test('orders that arrive at once all become pictures', { timeout: LIMIT }, async () => {
    const characters = Array.from({ length: 10 }, () => story());
    await Promise.all(characters.map((character) => tell(character)));
    for (const { predictions, callbacks } of characters) assert.deepEqual([predictions.length, callbacks.length], [1, 1]);
  });

  test('a prediction that never ends is given up before the deadline', { timeout: LIMIT }, async () => {
    const { error } = await endless.report;
    assert.match(error, /took too long/);
    assert.equal(endless.predictions[0].headers['cancel-after'], '48s');
  });
});

describe('the main job', () => {
  let stack, n8n, urls, settings;

  before(async () => {
    const port = await freePort();
    const main = fileURLToPath(new URL('../stack/main.mjs', import.meta.url));
    const args = [main, 'test', '--set', `N8N_WEBHOOK_URL=http://127.0.0.1:${port}/webhook/influencer-set-up`];
    stack = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = await Promise.race([
      once(createInterface({ input: stack.stdout }), 'line'),
      once(stack, 'exit').then(([code]) => { throw new Error(`the stack ended with ${code}`); }),
    ]);
    const facts = JSON.parse(line);
    ({ urls, settings } = facts);
    n8n = await start(port, {
      N8N_WEBHOOK_SECRET: settings.N8N_WEBHOOK_SECRET,
      REPLICATE_API_TOKEN: facts.replicate_token,
      REPLICATE_BASE_URL: urls.sandbox,
      SETUP_DEADLINE_SECONDS: settings.SETUP_DEADLINE_SECONDS,
    });
  }, { timeout: 10 * LIMIT });
  after(async () => {
    await n8n?.stop();
    stack.stdin.end();
    if (stack.exitCode === null) await once(stack, 'exit');
  });

  async function call(method, url, { body, headers } = {}) {
    const response = await fetch(url, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      body: body && JSON.stringify(body),
      redirect: 'manual',
      signal: AbortSignal.timeout(LIMIT),
    });
    const text = await response.text();
    assert.ok(response.status < 400, `${method} ${url} answered ${response.status}: ${text}`);
    return text && response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text;
  }

  /** Looks until `check` answers something; the test's own timeout is the limit. */
  async function until(check) {
    for (;;) {
      const found = await check();
      if (found) return found;
      await delay(100);
    }
  }

  /** Somebody who has signed up, followed the link in her mail, and logged in. */
  async function user() {
    const email = `${randomUUID()}@example.com`;
    const password = 'correct horse battery staple';
    const auth = (path, body) => call('POST', `${urls.supabase}/auth/v1/${path}`, { body, headers: { apikey: settings.SUPABASE_PUBLISHABLE_KEY } });
    await auth('signup', { email, password });
    const mail = await until(async () => (await call('GET', `${urls.sandbox}/inbox.json?to=${email}`)).mails[0]);
    await call('GET', mail.links[0]);
    const { access_token } = await auth('token?grant_type=password', { email, password });
    const headers = { authorization: `Bearer ${access_token}` };
    return {
      create: (body) => call('POST', `${urls.functions}/influencers`, { body, headers }),
      outcome: () => until(async () => {
        const { influencer } = await call('GET', `${urls.functions}/dashboard`, { headers });
        return ['requested', 'image_pending'].includes(influencer.state) ? undefined : influencer;
      }),
    };
  }

  const texts = (name) => ({ name, bio: 'Paints birds in Lisbon', vibe: 'calm and curious' });
  const strike = (fault, only) => call('PUT', `${urls.sandbox}/sandbox/next`, { body: { fault, only } });

  test('a signed-in user creates her character and gets her picture', { timeout: 2 * LIMIT }, async () => {
    const { create, outcome } = await user();
    const { influencer } = await create(texts('Mara'));
    assert.equal(influencer.state, 'requested');

    const { state, image_url, failure } = await outcome();
    assert.equal(state, 'ready', JSON.stringify(failure));
    const image = await fetch(image_url);
    assert.equal(image.headers.get('content-type'), 'image/webp');
    assert.equal(Buffer.from(await image.arrayBuffer()).toString('latin1', 8, 12), 'WEBP');
  });

  test('a slow prediction becomes a picture as well', { timeout: 2 * LIMIT }, async () => {
    await strike('replicate_slow', 'Slowena');
    const { create, outcome } = await user();
    await create(texts('Slowena'));
    assert.equal((await outcome()).state, 'ready');
  });

  test('a refused picture is shown with its reason, and may be tried again', { timeout: 2 * LIMIT }, async () => {
    await strike('replicate_fails', 'Nella');
    const { create, outcome } = await user();
    await create(texts('Nella'));
    const { state, failure } = await outcome();
    assert.equal(state, 'failed');
    assert.equal(failure.message, 'The studio refused this description. Please change her bio or vibe and try again.');

    await create({ ...texts('Nella'), vibe: 'calm' });
    assert.equal((await outcome()).state, 'ready');
  });

  test('the sandbox had no part in it but as Replicate', async () => {
    assert.deepEqual((await call('GET', `${urls.sandbox}/n8n/executions.json`)).executions, []);
  });
});
