// Stands in for fal (https://fal.ai/docs/api-reference/inference-api): the queue of queue.fal.run below /fal, and of api.fal.ai,
// below /fal-platform, the list of requests. Any name of a model will do.
//
//   GET /sandbox/fal.json           ?job=<id>: {requests: [{request_id, endpoint_id, status, status_code, …}]}: those whose
//                                   Idempotency-Key was this, the oldest first, and how each ended

import { randomInt, randomUUID } from 'node:crypto';
import { Hono } from 'hono';

const KEEP_MS = 60 * 60 * 1000; // results are gone an hour later
const SLOW_MS = 2_500;
const API_FAULTS = ['fal_api_500', 'fal_api_429'];
// Those that a request meets when it is made.
const FATES = ['fal_refuses', 'fal_breaks', 'fal_slow', 'fal_stalls', 'fal_api_lost'];

// `url` is where this server answers; `predictionMs` how long a picture takes.
export function fal({ faults, url, key, predictionMs, pictures, stopped, log }) {
  const app = new Hono();
  // By id: {endpoint_id, app, input, key, faults, status, sent_at, started_at?, ended_at?, logs, code?, body?}
  const requests = new Map();

  function end(request, code, body) {
    if (request.status === 'COMPLETED') return;
    Object.assign(request, { status: 'COMPLETED', ended_at: new Date(), code, body });
    log(`fal ${request.id}: ${code}`);
    setTimeout(() => {
      pictures.forget(request.id);
      requests.delete(request.id);
    }, KEEP_MS).unref();
  }

  async function run(request) {
    const { id, input, faults: struck } = request;
    const { prompt, seed = randomInt(1, 2 ** 31), image_url: imageUrl } = input;
    Object.assign(request, { status: 'IN_PROGRESS', started_at: new Date() });
    request.logs = [' 50%|█████     | 14/28 [00:01<00:01, 13.02it/s]'];
    if (typeof prompt !== 'string') return end(request, 422, { detail: [{ loc: ['body', 'prompt'], msg: 'Field required', type: 'missing', input }] });
    if (struck.has('fal_stalls')) return;
    const refused = struck.has('fal_refuses');
    const ms = struck.has('fal_slow') ? SLOW_MS : predictionMs;
    const image = await (refused ? pictures.black() : pictures.make({ prompt, seed, imageUrl, ms }));
    if (struck.has('fal_breaks')) {
      const error = { loc: ['body'], msg: 'Internal server error', type: 'internal_server_error', url: 'https://docs.fal.ai/errors#internal_server_error' };
      return end(request, 500, { detail: [error] });
    }
    const images = [{ url: pictures.show(id, image, prompt), width: 832, height: 1248, content_type: 'image/webp' }];
    end(request, 200, { images, timings: { inference: (new Date() - request.started_at) / 1000 }, seed, has_nsfw_concepts: [refused], prompt });
  }

  const guard = async (c, next) => {
    const given = c.req.header('authorization');
    if (given !== `Key ${key}`) return c.json({ detail: given ? 'Invalid authentication credentials' : 'Authentication is required to access this application' }, 401);
    const said = `${c.req.method} ${c.req.path} ${await c.req.text()} ${c.req.header('idempotency-key') ?? ''}`;
    const struck = API_FAULTS.find((fault) => faults.strikes(fault, said));
    if (!struck) return next();
    log(`${c.req.method} ${c.req.path}: ${struck}`);
    return struck === 'fal_api_500' ? c.text('Internal Server Error', 500) : c.json({ detail: 'Too many requests' }, 429, { 'retry-after': '1' });
  };
  app.use('/fal/*', guard);
  app.use('/fal-platform/*', guard);

  // The URLs have the model's owner and name only, whatever followed them.
  const urlsOf = ({ id, app: name }) => {
    const response_url = `${url}/fal/${name}/requests/${id}`;
    return { request_id: id, response_url, status_url: `${response_url}/status`, cancel_url: `${response_url}/cancel` };
  };

  const requestOf = (c) => {
    const { owner, name, id } = c.req.param();
    const request = requests.get(id);
    return request?.app === `${owner}/${name}` ? request : undefined;
  };
  const missing = (c) => c.json({ detail: 'Request not found' }, 404);

  app.get('/fal/:owner/:name/requests/:id/status', (c) => {
    const request = requestOf(c);
    if (!request) return missing(c);
    const { status } = request;
    const more = {
      ...(status === 'IN_QUEUE' && { queue_position: 0 }),
      ...(status !== 'IN_QUEUE' && c.req.query('logs') === '1' && { logs: request.logs.map((message) => ({ message, level: 'STDERR', source: 'USER', timestamp: request.started_at })) }),
      ...(status === 'COMPLETED' && { metrics: { inference_time: (request.ended_at - (request.started_at ?? request.sent_at)) / 1000 } }),
    };
    return c.json({ status, ...urlsOf(request), ...more }, status === 'COMPLETED' ? 200 : 202);
  });

  app.get('/fal/:owner/:name/requests/:id', (c) => {
    const request = requestOf(c);
    if (!request) return missing(c);
    if (request.status !== 'COMPLETED') return c.json({ detail: 'Request is still in progress' }, 400);
    return c.json(request.body, request.code);
  });

  app.put('/fal/:owner/:name/requests/:id/cancel', (c) => {
    const request = requestOf(c);
    if (!request) return c.json({ status: 'NOT_FOUND' }, 404);
    if (request.status === 'COMPLETED') return c.json({ status: 'ALREADY_COMPLETED' }, 400);
    end(request, 499, { detail: 'Request was cancelled by the client', error_type: 'client_cancelled' });
    return c.json({ status: 'CANCELLATION_REQUESTED' }, 202);
  });

  app.post('/fal/:owner/:name/:rest{.+}?', async (c) => {
    const { owner, name, rest } = c.req.param();
    const input = await c.req.json().catch(() => null);
    if (input === null) return c.json({ detail: 'Invalid JSON' }, 400);
    const endpoint_id = [owner, name, rest].filter(Boolean).join('/');
    const idempotencyKey = c.req.header('idempotency-key');
    const said = `${endpoint_id} ${JSON.stringify(input)} ${idempotencyKey ?? ''}`;
    const struck = FATES.filter((fate) => faults.strikes(fate, said));
    // A key that comes again is another request: the real one does not promise to know it.
    const request = { id: randomUUID(), endpoint_id, app: `${owner}/${name}`, input, key: idempotencyKey, faults: new Set(struck), status: 'IN_QUEUE', sent_at: new Date(), logs: [] };
    log(`fal ${request.id}: ${endpoint_id}${struck.length > 0 ? `, ${struck.join(', ')}` : ''}`);
    requests.set(request.id, request);
    run(request).catch((error) => {
      if (!stopped.aborted) end(request, 422, { detail: [{ loc: ['body', 'image_url'], msg: error.message, type: 'file_download_error' }] });
    });
    if (request.faults.has('fal_api_lost')) {
      c.env.incoming.socket.resetAndDestroy();
      return c.body(null);
    }
    return c.json({ status: 'IN_QUEUE', ...urlsOf(request), queue_position: 0 });
  });

  // Those that have ended, the last first.
  app.get('/fal-platform/v1/models/requests/by-endpoint', (c) => {
    const { start, expand, cursor, limit = 50 } = c.req.query();
    const endpoints = c.req.queries('endpoint_id')?.flatMap((one) => one.split(',')) ?? [];
    if (endpoints.length === 0) return c.json({ error: { type: 'validation_error', message: 'endpoint_id is required' } }, 400);
    const since = start ? new Date(start) : new Date(Date.now() - 24 * 3600 * 1000);
    const ended = [...requests.values()].filter((request) => request.ended_at >= since && endpoints.includes(request.endpoint_id));
    ended.sort((a, b) => b.ended_at - a.ended_at);
    const first = cursor ? Number(Buffer.from(cursor, 'base64').toString()) : 0;
    const last = first + Math.min(Number(limit), 100);
    const items = ended.slice(first, last).map((request) => ({
      request_id: request.id,
      endpoint_id: request.endpoint_id,
      started_at: request.started_at,
      sent_at: request.sent_at,
      ended_at: request.ended_at,
      status_code: request.code,
      duration: (request.ended_at - request.sent_at) / 1000,
      ...(expand?.includes('payloads') && { json_input: request.input, json_output: request.body }),
    }));
    const more = last < ended.length;
    return c.json({ items, next_cursor: more ? Buffer.from(`${last}`).toString('base64') : null, has_more: more });
  });

  app.get('/sandbox/fal.json', (c) => {
    const { job } = c.req.query();
    const found = [...requests.values()].filter((request) => !job || request.key === job);
    const shown = found.map(({ id, key: idempotency_key, faults: _, app: __, code, ...request }) => ({ request_id: id, idempotency_key, status_code: code, ...request }));
    return c.json({ requests: shown });
  });

  return app;
}
