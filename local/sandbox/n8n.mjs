// Stands in for n8n with the "Influencer Set up Workflow" (infra/n8n/influencer-set-up.json): the same webhook, the same
// checks and answers, the same calls to Replicate and back.

import { createHmac, randomInt, timingSafeEqual } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Hono } from 'hono';
import { deliver } from './deliver.mjs';

const MODEL = 'black-forest-labs/flux-1.1-pro';
const POLL_EVERY_MS = 300;
const GIVE_UP_AFTER_MS = 120_000;

// Whether `X-Signature: t=<unix seconds>,v1=<hex>` belongs to these bytes and is at most 300 s old.
function genuine(header, raw, secret) {
  const fields = (header ?? '').split(',').map((field) => field.trim().split('='));
  const time = fields.find(([name]) => name === 't')?.[1] ?? '';
  if (!/^\d+$/.test(time) || Math.abs(Date.now() / 1000 - Number(time)) > 300) return false;
  const expected = createHmac('sha256', secret).update(`${time}.`).update(raw).digest();
  return fields.some(([name, value]) => {
    const given = Buffer.from(value ?? '', 'hex');
    return name === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

function parse(raw) {
  try {
    return JSON.parse(raw) ?? {};
  } catch {
    return {};
  }
}

// `replicate` is {url, token}; `stopped` an AbortSignal that ends everything under way.
export function n8n({ faults, secret, replicate, stopped, log }) {
  const app = new Hono();
  const executions = new Map();
  // The fault that an Idempotency-Key met: a sender that repeats its request meets it again.
  const met = new Map();

  async function predict(prompt, seed) {
    const headers = { authorization: `Bearer ${replicate.token}`, 'content-type': 'application/json', prefer: 'wait' };
    const input = { prompt, seed, aspect_ratio: '2:3', output_format: 'webp' };
    const read = async (url, request) => {
      const response = await fetch(url, { headers, signal: stopped, ...request });
      if (!response.ok) throw new Error(`Replicate answered ${response.status}`);
      return response.json();
    };

    const url = `${replicate.url}/v1/models/${MODEL}/predictions`;
    let prediction = await read(url, { method: 'POST', body: JSON.stringify({ input }) });
    const giveUpAt = Date.now() + GIVE_UP_AFTER_MS;
    while (['starting', 'processing'].includes(prediction.status) && Date.now() < giveUpAt) {
      await delay(POLL_EVERY_MS, undefined, { signal: stopped });
      prediction = await read(prediction.urls.get);
    }
    return prediction;
  }

  // What the callback says.
  async function work({ influencer_id, name, bio, vibe }) {
    const failed = (error) => ({ influencer_id, error });
    const base_prompt = `Photograph of ${name}, an adult woman of 25 or older. About her: ${bio} Her vibe: ${vibe}. True-to-life colours.`;
    try {
      const seed = randomInt(1, 2 ** 31);
      const prediction = await predict(`${base_prompt} Vertical portrait from the waist up, one person, natural light.`, seed);
      if (prediction.status === 'succeeded') return { influencer_id, base_prompt, seed, image_url: [prediction.output].flat()[0] };
      if (/nsfw/i.test(prediction.error)) return failed('The studio refused this description. Please change her bio or vibe and try again.');
      return failed('Her picture could not be made. Please try again.');
    } catch (error) {
      log(`the workflow broke: ${error.message}`);
      return failed('Something went wrong in the studio. Please try again.');
    }
  }

  async function run(execution, order) {
    const report = { ...(await work(order)), attempt: order.attempt };
    execution.state = 'calling back';
    const headers = { authorization: `Bearer ${order.callback_token}` };
    const { status, tries } = await deliver(order.callback_url, { headers, body: JSON.stringify(report), stopped });
    Object.assign(execution, { state: 'finished', reported: report.error ?? 'a picture', callback_status: status, callback_tries: tries });
    log(`${execution.idempotency_key}: called back with ${execution.reported}, answered ${status} at try ${tries}`);
  }

  app.post('/webhook/influencer-set-up', async (c) => {
    const raw = Buffer.from(await c.req.arrayBuffer());
    const refuse = (status, detail) => c.json({ status, detail }, status);
    if (!genuine(c.req.header('x-signature'), raw, secret)) return refuse(401, 'X-Signature is missing, wrong or too old.');

    const order = parse(raw);
    const names = ['influencer_id', 'name', 'bio', 'vibe', 'callback_url', 'callback_token'];
    const absent = names.filter((name) => typeof order[name] !== 'string' || order[name] === '');
    if (absent.length > 0) return refuse(422, `Missing: ${absent.join(', ')}`);
    const key = c.req.header('idempotency-key') ?? '';
    if (!key.startsWith(`${order.influencer_id}:`)) return refuse(422, 'Idempotency-Key must be <influencer_id>:<attempt>.');

    if (!met.has(key)) met.set(key, ['n8n_down', 'n8n_reset', 'n8n_silent'].find((fault) => faults.strikes(fault, raw.toString())));
    const fault = met.get(key);
    if (fault) log(`${key}: ${fault}`);
    if (fault === 'n8n_down') return c.text('Service Unavailable', 503);
    if (fault === 'n8n_reset') {
      c.env.incoming.socket.resetAndDestroy();
      return c.body(null);
    }

    const known = executions.get(key);
    if (known) {
      known.received += 1;
    } else {
      const execution = { idempotency_key: key, influencer_id: order.influencer_id, name: order.name, started_at: new Date(), received: 1, state: 'running' };
      executions.set(key, execution);
      log(`${key}: started for ${order.name}`);
      if (fault === 'n8n_silent') execution.state = 'lost';
      else run(execution, order);
    }
    return c.json({ status: 'accepted' }, 202);
  });

  // Which workflows ran, for tests to count.
  app.get('/n8n/executions.json', (c) => {
    const wanted = c.req.query('influencer_id');
    const found = [...executions.values()].filter(({ influencer_id }) => !wanted || influencer_id === wanted);
    return c.json({ executions: found.reverse() });
  });

  const unknown = (c) =>
    c.json({ code: 404, message: `The requested webhook "${c.req.method} ${c.req.path.slice('/webhook/'.length)}" is not registered.` }, 404);
  app.all('/webhook/*', unknown);

  return app;
}
