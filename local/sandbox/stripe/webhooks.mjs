// Stripe's deliveries: every event to the one endpoint, signed (https://docs.stripe.com/webhooks#verify-manually), again until it
// answers 2xx. The events of one change go out one after the other; what fails is repeated beside the next ones.

import { createHmac } from 'node:crypto';
import { deliver } from '../deliver.mjs';
import { invalid } from './error.mjs';
import { isVersion, renderEvent } from './shape.mjs';
import { now } from './store.mjs';

const ENDPOINT = 'we_sandbox';
// About five minutes: the functions may be compiling. Stripe itself takes three days.
const TRIES = 16;

export class Webhooks {
  #store;
  #faults;
  #secret;
  #stopped;
  #log;
  #settled = new Set();

  // `endpoint` is {url, api_version}, for when none was kept.
  constructor({ store, faults, secret, endpoint, stopped, log }) {
    this.#store = store;
    this.#faults = faults;
    this.#secret = secret;
    this.#stopped = stopped;
    this.#log = log;
    const kept = store.get('webhook_endpoint', ENDPOINT);
    this.endpoint = store.add({
      id: ENDPOINT,
      object: 'webhook_endpoint',
      api_version: endpoint.api_version,
      application: null,
      created: now(),
      description: null,
      enabled_events: ['*'],
      livemode: false,
      metadata: {},
      status: 'enabled',
      ...kept,
      url: endpoint.url,
    });
    this.endpoint.sandbox ??= { hold: false };
    // What was on its way when the sandbox stopped.
    const interrupted = this.events(({ state }) => state === 'pending');
    if (interrupted.length > 0) this.#deliver(interrupted);
  }

  // Another shape of the payloads, another receiver; or holds everything back until told (`hold: false`).
  set({ api_version, url, hold }) {
    if (api_version !== undefined && !isVersion(`${api_version}`)) throw invalid(`Invalid Stripe API version: ${api_version}`, 'api_version');
    if (url !== undefined && !URL.canParse(url)) throw invalid('Not a valid URL', 'url', 'url_invalid');
    Object.assign(this.endpoint, { ...(api_version && { api_version }), ...(url && { url }) });
    if (hold !== undefined) this.endpoint.sandbox.hold = hold === true || hold === 'true';
    if (hold !== undefined && !this.endpoint.sandbox.hold) this.release();
    this.#store.touch();
  }

  // The events whose delivery is as wanted, the oldest first.
  events(wanted = () => true) {
    return this.#store.all('event', ({ id }) => wanted(this.#store.deliveries.get(id)));
  }

  // The events of one change.
  send(events) {
    const customer = events.map(({ data }) => this.#store.get('customer', data.object.customer)).find(Boolean);
    const text = JSON.stringify([events, customer]);
    const strikes = (fault) => this.#faults.strikes(fault, text);
    const held = this.endpoint.sandbox.hold || strikes('stripe_webhook_held');
    for (const event of events) {
      this.#store.add(event);
      this.#store.deliveries.set(event.id, { state: held ? 'held' : 'pending', attempts: [] });
    }
    if (held) return this.#log(`${events.length} events are held back`);
    const ordered = strikes('stripe_webhook_reversed') ? [...events].reverse() : events;
    const all = strikes('stripe_webhook_twice') ? ordered.flatMap((event) => [event, event]) : ordered;
    this.#deliver(all);
  }

  // Sends what was held back. Answers how many.
  release() {
    const held = this.events(({ state }) => state === 'held');
    for (const { id } of held) this.#store.deliveries.get(id).state = 'pending';
    this.#deliver(held);
    return held.length;
  }

  resend(event) {
    this.#store.deliveries.get(event.id).state = 'pending';
    this.#deliver([event]);
  }

  // Ends when nothing that concerns `text` is on its way any more.
  async settled(text = '') {
    const busy = () => this.events(({ state }) => state === 'pending').some((event) => JSON.stringify(event).includes(text));
    while (busy() && !this.#stopped.aborted) await new Promise((resolve) => this.#settled.add(resolve));
  }

  // How many endpoints have not yet taken an event.
  waiting({ id }) {
    return this.#store.deliveries.get(id).state === 'delivered' ? 0 : 1;
  }

  async #deliver(events) {
    for (const event of events) {
      if (this.#stopped.aborted) return;
      await new Promise((resolve) => this.#attempt(event, resolve));
    }
  }

  // `first` is called when the first try is over.
  async #attempt(event, first) {
    const delivery = this.#store.deliveries.get(event.id);
    const { url, api_version } = this.endpoint;
    const body = JSON.stringify({ ...renderEvent(this.#store, event, api_version), pending_webhooks: 1 }, null, 2);
    const headers = () => {
      const t = now();
      const v1 = createHmac('sha256', this.#secret).update(`${t}.${body}`).digest('hex');
      return {
        'content-type': 'application/json; charset=utf-8',
        'user-agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
        'stripe-signature': `t=${t},v1=${v1}`,
      };
    };
    const tried = (status) => {
      if (this.#stopped.aborted) return;
      delivery.attempts.push({ at: now(), status });
      this.#store.touch();
      first();
    };
    const failed = (status) => status < 200 || status > 299;
    const { status, tries } = await deliver(url, { headers, body, stopped: this.#stopped, most: TRIES, failed, tried });
    first();
    // One that the stopping sandbox broke off goes on when it is back.
    if (this.#stopped.aborted) return;
    delivery.state = failed(status) ? 'failed' : 'delivered';
    this.#log(`${event.type} ${event.id}: answered ${status} at try ${tries}`);
    this.#store.touch();
    for (const resolve of this.#settled) resolve();
    this.#settled.clear();
  }
}
