// Stands in for Replicate (https://replicate.com/docs/reference/http): predictions on the wire as the real ones, and pictures
// that are drawn here. Anything is a model.

import { createHmac, randomBytes, randomInt, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Hono } from 'hono';
import { deliver } from './deliver.mjs';
import { draw } from './portrait.mjs';

const KEEP_MS = 60 * 60 * 1000; // inputs, outputs and files are gone an hour later
const SLOW_MS = 2_500;
const UNFINISHED = ['starting', 'processing'];

const newId = () => Array.from({ length: 26 }, () => 'abcdefghjkmnpqrstvwxyz0123456789'[randomInt(32)]).join('');

// `url` is where this server answers; `predictionMs` how long a prediction takes.
export function replicate({ faults, url, token, predictionMs, stopped, log }) {
  const app = new Hono();
  const predictions = new Map();
  const webhookKey = randomBytes(24);

  const view = ({ done, webhook, image, ...prediction }) => prediction;

  async function finish(prediction, change) {
    if (!UNFINISHED.includes(prediction.status)) return;
    const completed = new Date();
    const seconds = (completed - prediction.started_at) / 1000;
    Object.assign(prediction, { completed_at: completed, metrics: { predict_time: seconds, total_time: seconds } }, change);
    log(`${prediction.id}: ${prediction.status}`);
    setTimeout(() => {
      Object.assign(prediction, { input: {}, output: null, logs: '', image: null, data_removed: true });
    }, KEEP_MS).unref();
    if (!prediction.webhook) return;

    // Signed as https://www.standardwebhooks.com says; the id stays the same when it is sent again.
    const body = JSON.stringify(view(prediction));
    const id = `msg_${randomUUID()}`;
    const timestamp = Math.floor(Date.now() / 1000);
    const signature = createHmac('sha256', webhookKey).update(`${id}.${timestamp}.${body}`).digest('base64');
    const headers = { 'webhook-id': id, 'webhook-timestamp': `${timestamp}`, 'webhook-signature': `v1,${signature}` };
    const { status, tries } = await deliver(prediction.webhook, { headers, body, stopped });
    log(`${prediction.id}: webhook answered ${status} at try ${tries}`);
  }

  async function run(prediction, { fails, slow }) {
    const { prompt, seed = randomInt(1, 2 ** 31) } = prediction.input;
    Object.assign(prediction, { status: 'processing', started_at: new Date(), logs: `Using seed: ${seed}\n` });
    const [image] = await Promise.all([draw(prompt, seed), delay(slow ? SLOW_MS : predictionMs, undefined, { signal: stopped })]);
    if (fails) return finish(prediction, { status: 'failed', error: 'NSFW content detected. Try running it again, or try a different prompt.' });
    const logs = `${prediction.logs}Generating image...\nGenerated image\n`;
    return finish(prediction, { status: 'succeeded', logs, image, output: [`${url}/files/${prediction.id}/out-0.webp`] });
  }

  app.use('/v1/*', async (c, next) => {
    const given = c.req.header('authorization');
    if (given === `Bearer ${token}`) return next();
    const detail = given ? 'You did not pass a valid authentication token' : 'You did not pass an authentication token';
    return c.json({ title: 'Unauthenticated', detail, status: 401 }, 401);
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
    const prediction = {
      id,
      model: owner ? `${owner}/${name}` : null,
      version: body.version ?? 'hidden',
      input: body.input,
      logs: '',
      output: null,
      error: null,
      status: 'starting',
      source: 'api',
      data_removed: false,
      created_at: new Date(),
      urls: { get: `${url}/v1/predictions/${id}`, cancel: `${url}/v1/predictions/${id}/cancel`, web: `${url}/p/${id}` },
      webhook: body.webhook,
    };
    predictions.set(id, prediction);
    const slow = faults.strikes('replicate_slow', prompt);
    prediction.done = run(prediction, { slow, fails: faults.strikes('replicate_fails', prompt) }).catch((error) => {
      if (!stopped.aborted) return finish(prediction, { status: 'failed', error: error.message });
    });

    const wait = c.req.header('prefer')?.match(/\bwait(?:=(\d+))?/);
    if (wait) {
      // A slow one is answered unfinished after a second already, so that nobody has to wait a minute for that.
      const hold = slow ? 1_000 : Math.min(Number(wait[1] ?? 60), 60) * 1000;
      const late = new AbortController();
      await Promise.race([prediction.done, delay(hold, undefined, { signal: late.signal }).catch(() => {})]);
      late.abort();
    }
    return c.json(view(prediction), 201);
  }
  app.post('/v1/predictions', create);
  app.post('/v1/models/:owner/:name/predictions', create);

  const missing = (c) => c.json({ title: 'Not found', detail: 'The requested resource could not be found.', status: 404 }, 404);
  app.get('/v1/predictions/:id', (c) => {
    const prediction = predictions.get(c.req.param('id'));
    return prediction ? c.json(view(prediction)) : missing(c);
  });
  app.post('/v1/predictions/:id/cancel', (c) => {
    const prediction = predictions.get(c.req.param('id'));
    if (!prediction) return missing(c);
    finish(prediction, { status: 'canceled' });
    return c.json(view(prediction));
  });
  app.get('/v1/webhooks/default/secret', (c) => c.json({ key: `whsec_${webhookKey.toString('base64')}` }));
  app.all('/v1/*', missing);

  // What the real one serves from replicate.delivery.
  app.get('/files/:id/out-0.webp', (c) => {
    const prediction = predictions.get(c.req.param('id'));
    const prompt = prediction?.input.prompt ?? '';
    const fault = ['image_server_error', 'image_gone', 'image_not_an_image', 'image_truncated'].find((one) => faults.strikes(one, prompt));
    if (fault) log(`${c.req.param('id')}: ${fault}`);
    if (fault === 'image_server_error') return c.text('Internal Server Error', 500);
    if (fault === 'image_gone' || !prediction?.image) return c.text('Not Found', 404);

    const webp = { 'content-type': 'image/webp' };
    if (fault === 'image_not_an_image') return c.body('<!doctype html><title>Nothing here</title><p>No picture.', 200, webp);
    const { image } = prediction;
    return c.body(fault === 'image_truncated' ? image.subarray(0, image.length / 2) : image, 200, webp);
  });

  return app;
}
