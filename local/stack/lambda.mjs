// What AWS puts around a function, on one machine: the Lambda runtime API (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html)
// for real function processes, and the ways to call them: the HTTP API's routes, function URLs, Invoke.
//
// As in the cloud a process serves one call at a time, another process starts while all are busy, one that ends or takes too
// long fails its call, and the next call gets a fresh one. Unlike there, calls wait in line when all processes are busy.

import { randomUUID } from 'node:crypto';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { listen } from './listen.mjs';
import { ending } from './process.mjs';

const API_TIMEOUT_MS = 29_000; // the HTTP API gives up after 30 s
const INVOKE_TIMEOUT_MS = 90_000; // the longest Timeout of a function behind a queue in template.yaml
const VERSION = '2018-06-01';

class Fn {
  #start;
  #most;
  #processes = new Set();
  #calls = [];

  // `start(id)` starts a process; at most `most` run at once.
  constructor({ name, start, most, log }) {
    this.name = name;
    this.log = log;
    this.#start = start;
    this.#most = most;
  }

  // Answers {error, payload}: what the function returned, or the error that it or its process ended with.
  invoke(payload, timeoutMs) {
    return new Promise((resolve) => {
      this.#calls.push({ id: randomUUID(), payload, timeoutMs, resolve });
      this.#next();
    });
  }

  find(id) {
    return [...this.#processes].find((process) => process.id === id);
  }

  pids() {
    return [...this.#processes].map((process) => process.program.pid);
  }

  // The process is ready for a call. Answers the call, or undefined when the process is to end.
  wait(process) {
    process.ready = true;
    return new Promise((resolve) => {
      process.take = resolve;
      if (process.stale) this.#end(process);
      else this.#next();
    });
  }

  finish(process, callId, error, payload) {
    const { call } = process;
    if (call?.id !== callId) return false;
    clearTimeout(process.timer);
    process.call = undefined;
    call.resolve({ error, payload });
    return true;
  }

  // New code: every process ends as soon as it has no call.
  renew() {
    for (const process of this.#processes) {
      process.stale = true;
      if (process.take) this.#end(process);
    }
  }

  #end(process) {
    process.take?.(undefined);
    process.take = undefined;
    return process.program.stop();
  }

  #next() {
    while (this.#calls.length > 0) {
      const idle = [...this.#processes].find((process) => process.take && !process.stale);
      if (!idle) break;
      this.#hand(idle, this.#calls.shift());
    }
    const starting = [...this.#processes].filter((process) => !process.ready).length;
    const wanted = Math.min(this.#calls.length - starting, this.#most - this.#processes.size);
    for (let i = 0; i < wanted; i += 1) this.#add();
  }

  #hand(process, call) {
    const take = process.take;
    process.take = undefined;
    process.call = call;
    call.deadline = Date.now() + call.timeoutMs;
    process.timer = setTimeout(() => {
      const errorMessage = `${call.id} Task timed out after ${call.timeoutMs / 1000} seconds`;
      this.log(errorMessage);
      this.finish(process, call.id, true, JSON.stringify({ errorType: 'Sandbox.Timedout', errorMessage }));
      process.program.stop('SIGKILL');
    }, call.timeoutMs);
    take(call);
  }

  #add() {
    const process = { id: randomUUID(), ready: false };
    process.program = this.#start(process.id);
    this.#processes.add(process);
    process.program.exited.then((end) => {
      this.#processes.delete(process);
      process.take?.(undefined);
      // One that never got ready would be started again and again: the call that it was meant for fails instead.
      const call = process.call ?? (process.ready ? undefined : this.#calls.shift());
      if (call) {
        clearTimeout(process.timer);
        const errorMessage = `RequestId: ${call.id} Error: Runtime exited: ${ending(end)}`;
        this.log(errorMessage);
        call.resolve({ error: true, payload: JSON.stringify({ errorType: 'Runtime.ExitError', errorMessage }) });
      }
      this.#next();
    });
  }
}

// An HTTP request as the HTTP API and function URLs hand it over (payload format 2.0).
async function httpEvent(request, { routeKey, path, pathParameters }) {
  const { pathname, search, searchParams, host } = new URL(request.url);
  const headers = Object.fromEntries(request.headers);
  const cookies = headers.cookie?.split('; ');
  delete headers.cookie;
  const bytes = Buffer.from(await request.arrayBuffer());
  const isText = /^(text\/|application\/(.*\+)?(json|xml|javascript))/.test(headers['content-type'] ?? 'text/plain');

  const query = {};
  for (const [name, value] of searchParams) query[name] = name in query ? `${query[name]},${value}` : value;
  const now = new Date();
  const [, day, month, year, clock] = now.toUTCString().split(' ');
  return {
    version: '2.0',
    routeKey,
    rawPath: path ?? pathname,
    rawQueryString: search.slice(1),
    ...(cookies && { cookies }),
    headers,
    ...(search.length > 1 && { queryStringParameters: query }),
    ...(pathParameters && { pathParameters }),
    requestContext: {
      accountId: '123456789012',
      apiId: 'local',
      domainName: host,
      domainPrefix: 'local',
      http: { method: request.method, path: path ?? pathname, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: headers['user-agent'] ?? '' },
      requestId: randomUUID(),
      routeKey,
      stage: '$default',
      time: `${day}/${month}/${year}:${clock} +0000`,
      timeEpoch: now.getTime(),
    },
    ...(bytes.length > 0 && { body: bytes.toString(isText ? 'utf8' : 'base64') }),
    isBase64Encoded: bytes.length > 0 && !isText,
  };
}

// What a function returned, as an HTTP response. Without a statusCode the whole of it is the body.
function httpResponse(payload) {
  const value = JSON.parse(payload);
  if (typeof value?.statusCode !== 'number') return Response.json(value);
  const headers = new Headers(value.headers);
  for (const [name, values] of Object.entries(value.multiValueHeaders ?? {})) {
    headers.delete(name);
    for (const one of values) headers.append(name, one);
  }
  for (const cookie of value.cookies ?? []) headers.append('set-cookie', cookie);
  const body = value.body === undefined || value.body === null ? null : Buffer.from(value.body, value.isBase64Encoded ? 'base64' : 'utf8');
  return new Response(body?.length > 0 ? body : null, { status: value.statusCode, headers });
}

// `names` are the functions, `routes` [{method, path, name}], `start(name, environment)` starts a process of one.
// Answers {renew, stop}.
export async function serveLambda({ port, names, routes, start, mostProcesses, siteUrl, logOf }) {
  const functions = new Map(
    names.map((name) => {
      const startOne = (id) =>
        start(name, {
          AWS_LAMBDA_RUNTIME_API: `http://127.0.0.1:${port}/.runtime/${name}/${id}`,
          AWS_LAMBDA_FUNCTION_NAME: name,
          AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
          AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
          AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
          AWS_LAMBDA_LOG_STREAM_NAME: id,
        });
      return [name, new Fn({ name, start: startOne, most: mostProcesses, log: logOf(name) })];
    }),
  );
  const app = new Hono();

  // The runtime API: one base path for each process.
  const runtime = new Hono();
  const processOf = (c) => {
    const fn = functions.get(c.req.param('name'));
    return { fn, process: fn?.find(c.req.param('process')) };
  };
  runtime.get('/invocation/next', async (c) => {
    const { fn, process } = processOf(c);
    if (!process) return c.json({ errorType: 'UnknownProcess' }, 403);
    const call = await fn.wait(process);
    if (!call) return c.json({ errorType: 'Stopping' }, 403);
    return c.body(call.payload, 200, {
      'content-type': 'application/json',
      'lambda-runtime-aws-request-id': call.id,
      'lambda-runtime-deadline-ms': `${call.deadline}`,
      'lambda-runtime-invoked-function-arn': `arn:aws:lambda:us-east-1:123456789012:function:${fn.name}`,
      'lambda-runtime-trace-id': `Root=1-${Math.floor(Date.now() / 1000).toString(16)}-${call.id.replaceAll('-', '').slice(0, 24)};Sampled=0`,
    });
  });
  const finish = (error) => async (c) => {
    const { fn, process } = processOf(c);
    const payload = await c.req.text();
    const known = process && fn.finish(process, c.req.param('call'), error, payload);
    return known ? c.json({ status: 'OK' }, 202) : c.json({ errorType: 'InvalidRequestID' }, 400);
  };
  runtime.post('/invocation/:call/response', finish(false));
  runtime.post('/invocation/:call/error', finish(true));
  runtime.post('/init/error', async (c) => {
    processOf(c).fn?.log(`failed to start: ${await c.req.text()}`);
    return c.json({ status: 'OK' }, 202);
  });
  app.route(`/.runtime/:name/:process/${VERSION}/runtime`, runtime);

  // Invoke.
  app.post('/2015-03-31/functions/:name/invocations', async (c) => {
    const fn = functions.get(c.req.param('name'));
    if (!fn) return c.json({ Type: 'User', Message: `Function not found: ${c.req.param('name')}` }, 404);
    const { error, payload } = await fn.invoke(await c.req.text(), INVOKE_TIMEOUT_MS);
    return c.body(payload, 200, { 'content-type': 'application/json', ...(error && { 'x-amz-function-error': 'Unhandled' }) });
  });
  // Not AWS's: which processes run, so that a test can kill one in the middle of a call.
  app.get('/.processes', (c) => c.json(Object.fromEntries([...functions].map(([name, fn]) => [name, fn.pids()]))));

  // Function URLs.
  app.all('/lambda-url/:name/:rest{.*}', async (c) => {
    const fn = functions.get(c.req.param('name'));
    if (!fn) return c.json({ Message: 'Forbidden' }, 403);
    const event = await httpEvent(c.req.raw, { routeKey: '$default', path: `/${c.req.param('rest')}` });
    const { error, payload } = await fn.invoke(JSON.stringify(event), API_TIMEOUT_MS);
    return error ? c.json({ Message: 'Internal Server Error' }, 502) : httpResponse(payload);
  });

  // The HTTP API, with the CORS of template.yaml.
  app.use('*', cors({ origin: siteUrl, allowMethods: ['GET', 'POST', 'PUT', 'DELETE'], allowHeaders: ['authorization', 'content-type', 'idempotency-key'], exposeHeaders: ['retry-after'], maxAge: 3600 }));
  for (const { method, path, name } of routes) {
    app.on(method, path.replace(/\{(\w+)\}/g, ':$1'), async (c) => {
      const pathParameters = path.includes('{') ? c.req.param() : undefined;
      const event = await httpEvent(c.req.raw, { routeKey: `${method} ${path}`, pathParameters });
      const { error, payload } = await functions.get(name).invoke(JSON.stringify(event), API_TIMEOUT_MS);
      if (!error) return httpResponse(payload);
      const timedOut = JSON.parse(payload).errorType === 'Sandbox.Timedout';
      return timedOut ? c.json({ message: 'Service Unavailable' }, 503) : c.json({ message: 'Internal Server Error' }, 500);
    });
  }
  app.notFound((c) => c.json({ message: 'Not Found' }, 404));

  const server = await listen(app, port);
  const renew = () => functions.forEach((fn) => fn.renew());
  return {
    renew,
    stop() {
      renew();
      return server.stop();
    },
  };
}
