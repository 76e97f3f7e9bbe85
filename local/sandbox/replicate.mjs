// Stands in for Replicate (https://replicate.com/docs/reference/http): predictions and signed webhooks on the wire as the real
// ones. Anything is a model.
//
//   GET /sandbox/replicate.json     ?job=<id>: {predictions: [{…prediction, idempotency_key, webhooks: [{tries, status}]}]}: those that
//                                   were made for a job, the oldest first, how each ended, and what became of its webhooks

import { createHmac, randomBytes, randomInt, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Hono } from 'hono';
import { deliver } from './deliver.mjs';

const KEEP_MS = 60 * 60 * 1000; // inputs, outputs and files are gone an hour later
const SLOW_MS = 2_500;
const PAGE = 100;
const API_FAULTS = ['replicate_api_500', 'replicate_api_429'];
// Those that a prediction meets when it is made.
const FATES = ['fails', 'breaks', 'slow', 'stalls', 'aborted', 'api_lost', 'webhook_twice', 'webhook_lost', 'webhook_early', 'webhook_forged'].map((fate) => `replicate_${fate}`);
const UNFINISHED = ['starting', 'processing'];

const newId = () => Array.from({ length: 26 }, () => 'abcdefghjkmnpqrstvwxyz0123456789'[randomInt(32)]).join('');

// What models call the picture to start from.
const imageOf = ({ image, image_prompt, input_image, input_images }) => image ?? image_prompt ?? input_image ?? input_images?.[0];

// `1h30m45s` in ms.
function duration(text) {
  const [, hours = 0, minutes = 0, seconds = 0] = text?.match(/^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?$/) ?? [];
  return ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
}

// `url` is where this server answers; `predictionMs` how long a prediction takes; `webhookSecret` is `whsec_<base64>`.
export function replicate({ faults, url, token, webhookSecret, predictionMs, pictures, stopped, log }) {
  const app = new Hono();
  // By id: {prediction, job, key, faults, webhooks, done}
  const all = new Map();

  // Ends a prediction, once.
  function finish(made, change) {
    const { prediction } = made;
    if (!UNFINISHED.includes(prediction.status)) return;
    const completed = new Date();
    const since = (start) => (completed - start) / 1000;
    const metrics = { ...(prediction.started_at && { predict_time: since(prediction.started_at) }), total_time: since(prediction.created_at) };
    Object.assign(prediction, { completed_at: completed, metrics }, change);
    log(`${prediction.id}: ${prediction.status}`);
    setTimeout(() => {
      pictures.forget(prediction.id);
      Object.assign(prediction, { input: {}, output: null, logs: '', data_removed: true });
    }, KEEP_MS).unref();
    if (prediction.webhook) notify(made);
  }

  // Says it to whom it concerns, until it is heard, for about a minute.
  function notify(made) {
    if (made.faults.has('replicate_webhook_lost')) return;
    const times = made.faults.has('replicate_webhook_twice') ? 2 : 1;
    made.heard = Promise.all(Array.from({ length: times }, () => new Promise((resolve) => send(made, resolve))));
  }

  // `first` is called when the first try is over.
  async function send({ prediction, faults: struck, webhooks }, first) {
    const forged = struck.has('replicate_webhook_forged');
    const key = forged ? randomBytes(24) : Buffer.from(webhookSecret.slice('whsec_'.length), 'base64');
    const body = JSON.stringify(forged ? { ...prediction, status: 'succeeded', output: ['https://replicate.delivery/forged.webp'] } : prediction);
    // Signed as https://www.standardwebhooks.com says; the id stays the same when it is sent again.
    const id = `msg_${randomUUID()}`;
    const headers = () => {
      const timestamp = Math.floor(Date.now() / 1000);
      const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
      return { 'webhook-id': id, 'webhook-timestamp': `${timestamp}`, 'webhook-signature': `v1,${signature}` };
    };
    const webhook = { tries: 0, status: null };
    webhooks.push(webhook);
    const tried = (status) => {
      webhook.tries += 1;
      webhook.status = status;
      first();
    };
    // A redirect counts as heard, and is not followed.
    const failed = (status) => status === 0 || status >= 400;
    const { status, tries } = await deliver(prediction.webhook, { headers, body, stopped, failed, tried, most: forged ? 1 : 9 });
    first();
    log(`${prediction.id}: webhook answered ${status} at try ${tries}`);
  }

  async function run(made) {
    const { prediction, faults: struck } = made;
    if (struck.has('replicate_aborted')) return finish(made, { status: 'aborted' });
    const { prompt, seed = randomInt(1, 2 ** 31) } = prediction.input;
    const logs = `Using seed: ${seed}\n  0%|          | 0/28 [00:00<?, ?it/s]\n 50%|█████     | 14/28 [00:01<00:01, 13.02it/s]\n`;
    Object.assign(prediction, { status: 'processing', started_at: new Date(), logs });
    if (struck.has('replicate_stalls')) return;

    const ms = struck.has('replicate_slow') ? SLOW_MS : predictionMs;
    const image = await pictures.make({ prompt, seed, imageUrl: imageOf(prediction.input), ms });
    if (struck.has('replicate_fails')) return finish(made, { status: 'failed', error: 'NSFW content detected. Try running it again, or try a different prompt.' });
    if (struck.has('replicate_breaks')) return finish(made, { status: 'failed', error: 'CUDA out of memory. Tried to allocate 2.00 GiB' });
    const output = [pictures.show(prediction.id, image, `${prompt} ${prediction.webhook ?? ''}`)];
    finish(made, { status: 'succeeded', logs: `${logs}100%|██████████| 28/28 [00:02<00:00, 13.11it/s]\n`, output });
  }

  // No answer at all.
  function cut(c) {
    c.env.incoming.socket.resetAndDestroy();
    return c.body(null);
  }

  app.use('/v1/*', async (c, next) => {
    const given = c.req.header('authorization');
    if (given === `Bearer ${token}`) return next();
    const detail = given ? 'You did not pass a valid authentication token' : 'You did not pass an authentication token';
    return c.json({ title: 'Unauthenticated', detail, status: 401 }, 401);
  });

  app.use('/v1/*', async (c, next) => {
    const about = all.get(c.req.path.split('/')[3])?.prediction;
    const said = `${c.req.method} ${c.req.path} ${await c.req.text()} ${about ? JSON.stringify(about) : ''}`;
    const struck = API_FAULTS.find((fault) => faults.strikes(fault, said));
    if (!struck) return next();
    log(`${c.req.method} ${c.req.path}: ${struck}`);
    if (struck === 'replicate_api_500') return c.json({ title: 'Internal server error', detail: 'An unexpected error occurred', status: 500 }, 500);
    const detail = 'Request was throttled. Your rate limit resets in ~1s.';
    return c.json({ title: 'Request was throttled', detail, status: 429, retry_after: 1 }, 429, { 'retry-after': '1' });
  });

  async function create(c) {
    const body = await c.req.json().catch(() => ({}));
    const { prompt } = body.input ?? {};
    if (typeof prompt !== 'string') {
      const invalid_fields = [{ type: 'required', field: 'input', description: 'prompt is required' }];
      return c.json({ title: 'Input validation failed', detail: '- input: prompt is required\n', status: 422, invalid_fields }, 422);
    }

    const id = newId();
    const { owner, name } = c.req.param();
    const key = c.req.header('idempotency-key');
    const cancelAfter = duration(c.req.header('cancel-after'));
    const created = new Date();
    const prediction = {
      id,
      model: owner ? `${owner}/${name}` : (body.version?.match(/^(.+\/.+?)(:|$)/)?.[1] ?? null),
      version: body.version?.split(':').at(-1) ?? 'hidden',
      input: body.input,
      logs: '',
      output: null,
      error: null,
      status: 'starting',
      source: 'api',
      data_removed: false,
      created_at: created,
      ...(cancelAfter && { deadline: new Date(created.getTime() + cancelAfter) }),
      urls: { get: `${url}/v1/predictions/${id}`, cancel: `${url}/v1/predictions/${id}/cancel`, web: `${url}/p/${id}` },
      webhook: body.webhook,
    };
    const said = `${JSON.stringify(body)} ${key ?? ''}`;
    const struck = FATES.filter((fate) => faults.strikes(fate, said));
    const job = URL.canParse(body.webhook) ? new URL(body.webhook).searchParams.get('job') : null;
    // A key that comes again is another prediction: the real one does not promise to know it.
    const made = { prediction, key, job: job ?? key, faults: new Set(struck), webhooks: [] };
    if (struck.length > 0) log(`${id}: ${struck.join(', ')}`);
    all.set(id, made);
    made.done = run(made).catch((error) => {
      if (!stopped.aborted) finish(made, { status: 'failed', error: error.message });
    });
    if (cancelAfter) setTimeout(() => finish(made, { status: prediction.started_at ? 'canceled' : 'aborted' }), cancelAfter).unref();

    if (made.faults.has('replicate_webhook_early')) {
      await made.done;
      await made.heard;
    }
    if (made.faults.has('replicate_api_lost')) return cut(c);

    const wait = c.req.header('prefer')?.match(/\bwait(?:=(\d+))?/);
    if (wait) {
      // A slow one is answered unfinished after a second already, so that nobody has to wait a minute for that.
      const hold = made.faults.has('replicate_slow') ? 1_000 : Math.min(Number(wait[1] ?? 60), 60) * 1000;
      const late = new AbortController();
      await Promise.race([made.done, delay(hold, undefined, { signal: late.signal }).catch(() => {})]);
      late.abort();
    }
    return c.json(prediction, 201);
  }
  app.post('/v1/predictions', create);
  app.post('/v1/models/:owner/:name/predictions', create);

  // The newest first; `next` leads on as a whole URL.
  app.get('/v1/predictions', (c) => {
    const { created_after = 0, cursor } = c.req.query();
    const after = new Date(created_after);
    const newest = [...all.values()].map(({ prediction }) => prediction).filter(({ created_at }) => created_at >= after);
    newest.reverse();
    const start = cursor ? newest.findIndex(({ id }) => id === cursor) + 1 : 0;
    const results = newest.slice(start, start + PAGE);
    const more = start + PAGE < newest.length;
    const query = new URLSearchParams({ ...(created_after && { created_after }), cursor: results.at(-1)?.id });
    return c.json({ next: more ? `${url}/v1/predictions?${query}` : null, previous: null, results });
  });

  const missing = (c) => c.json({ title: 'Not found', detail: 'The requested resource could not be found.', status: 404 }, 404);
  app.get('/v1/predictions/:id', (c) => {
    const made = all.get(c.req.param('id'));
    return made ? c.json(made.prediction) : missing(c);
  });
  app.post('/v1/predictions/:id/cancel', (c) => {
    const made = all.get(c.req.param('id'));
    if (!made) return missing(c);
    finish(made, { status: 'canceled' });
    return c.json(made.prediction);
  });
  app.get('/v1/webhooks/default/secret', (c) => c.json({ key: webhookSecret }));
  app.all('/v1/*', missing);

  app.get('/sandbox/replicate.json', (c) => {
    const { job } = c.req.query();
    const found = [...all.values()].filter((made) => !job || made.job === job);
    return c.json({ predictions: found.map(({ prediction, key, webhooks }) => ({ ...prediction, idempotency_key: key, webhooks })) });
  });

  return app;
}
