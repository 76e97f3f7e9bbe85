// All parts together: what each needs, in which order they start and stop, and what happens when one dies.

import { join } from 'node:path';
import { startSandbox } from '../sandbox/main.mjs';
import { startClock } from './clock.mjs';
import { startPostgres } from './database.mjs';
import { startFunctions } from './functions.mjs';
import { startPoller } from './poller.mjs';
import { Programs, ending } from './process.mjs';
import { functionSettings } from './settings.mjs';
import { startStorage } from './storage.mjs';
import { startSupabase } from './supabase.mjs';
import { startWeb } from './web.mjs';

export const PARTS = {
  sandbox: 'n8n, Replicate, fal, Stripe and the inbox',
  storage: 'S3 and SQS (moto)',
  database: 'PostgreSQL, for requests that race',
  supabase: 'PostgREST and auth (@supabase/lite)',
  functions: 'the Lambda functions, behind the HTTP API and function URLs',
  queue: 'hands the messages of the queues to their functions',
  clock: 'invokes the functions that run by the clock',
  web: 'the pages',
};

export class PartDied extends Error {
  constructor(part, end) {
    super(`${part} died: ${ending(end)}`);
    this.part = part;
  }
}

export class Stack {
  #options;
  #programs;
  #logs;
  #started = [];
  #stopping = new AbortController();

  // ports: {sandbox, storage, supabase, functions, web} and, for driver `postgres`, {database}. folder: where data lies;
  // temporary: whether it goes with this process. sweepSeconds: 0 for no clock. settings: what replaces a setting of the functions.
  constructor({ ports, keys, folder, temporary, driver, settings, rebuild, predictionMs, visibilitySeconds, sweepSeconds, logs }) {
    const { database, ...servers } = ports;
    this.urls = Object.fromEntries(Object.entries(servers).map(([part, port]) => [part, `http://127.0.0.1:${port}`]));
    this.settings = { ...functionSettings({ urls: this.urls, keys }), ...settings };
    this.databaseUrl = null;
    this.#options = { ports, keys, folder, temporary, driver, rebuild, predictionMs, visibilitySeconds, sweepSeconds };
    this.#logs = logs;
    this.#programs = new Programs({ temporary: temporary && folder });
    // Rejects when a part dies that should not.
    this.died = new Promise((_, reject) => (this.#die = reject));
    this.died.catch(() => {});
  }
  #die;

  // Ends when everything answers.
  async start() {
    const { ports, keys, folder, temporary, driver, rebuild, predictionMs, visibilitySeconds, sweepSeconds } = this.#options;
    const { urls, settings } = this;
    const stopped = this.#stopping.signal;
    const programs = this.#programs;
    const logOf = (part) => this.#logs.of(part);

    const start = async (part, starting) => {
      const running = await starting.catch((error) => Promise.reject(Object.assign(error, { part })));
      if (stopped.aborted) {
        await running.stop();
        throw stopped.reason;
      }
      this.#started.push({ part, stop: () => running.stop() });
      running.program?.exited.then((end) => stopped.aborted || this.#die(new PartDied(part, end)));
      const address = urls[part] ?? running.url;
      logOf(part)(address ? `ready: ${address}` : 'ready');
      return running;
    };

    const sandbox = {
      port: ports.sandbox,
      webUrl: urls.web,
      n8nWebhookSecret: settings.N8N_WEBHOOK_SECRET,
      replicateKeys: { token: settings.REPLICATE_API_TOKEN, webhookSecret: settings.REPLICATE_WEBHOOK_SECRET },
      falKey: settings.FAL_KEY,
      predictionMs,
      stripeKeys: { secretKey: settings.STRIPE_SECRET_KEY, webhookSecret: settings.STRIPE_WEBHOOK_SECRET },
      stripeWebhookUrl: `${urls.functions}/lambda-url/stripe-webhook/`,
      keep: temporary ? undefined : folder,
    };
    const startDatabase = async () => {
      if (driver === 'pglite') return { driver, url: join(folder, 'database') };
      const dir = join(folder, 'postgres');
      const { url } = await start('database', startPostgres({ dir, port: ports.database, programs, log: logOf('database'), stopped }));
      this.databaseUrl = url;
      return { driver, url };
    };
    const startLite = async () => {
      const database = await startDatabase();
      await start('supabase', startSupabase({ port: ports.supabase, database, urls, keys, clerkIssuer: settings.CLERK_ISSUER, programs, log: logOf('supabase'), stopped }));
    };
    const media = temporary ? undefined : join(folder, 'media');

    const [storage] = await Promise.all([
      start('storage', startStorage({ port: ports.storage, url: urls.storage, siteUrl: urls.web, visibilitySeconds, keep: media, programs, log: logOf('storage'), stopped })),
      start('sandbox', startSandbox({ ...sandbox, log: logOf('sandbox') })),
      start('web', startWeb({ port: ports.web, urls, keys })),
      start('functions', startFunctions({ port: ports.functions, environment: settings, siteUrl: urls.web, rebuild, programs, log: logOf('functions'), logOf })),
      startLite(),
    ]);
    const poller = { storageUrl: urls.storage, functionsUrl: urls.functions, afterBatch: storage.save };
    await start('queue', startPoller({ ...poller, log: logOf('queue') }));
    if (sweepSeconds > 0) {
      const clock = { functionsUrl: urls.functions, sweepSeconds, keeps: !temporary, afterCleanUp: storage.save };
      await start('clock', Promise.resolve(startClock({ ...clock, log: logOf('clock') })));
    }
  }

  // Stops what was started, the last first, and whatever is still on its way.
  async stop() {
    this.#stopping.abort(new Error('it was stopped'));
    for (const { part, stop } of this.#started.reverse()) {
      await stop();
      this.#logs.of(part)('stopped');
    }
    await this.#programs.stopAll();
  }
}
