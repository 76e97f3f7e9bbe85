// Stripe's API (https://docs.stripe.com/api): keys, parameters, idempotency, versions, errors, lists.

import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Hono } from 'hono';
import { StripeError, invalid, missing } from './error.mjs';
import { bool, clearable, integer, metadata, oneOf, range, read, text, tree, url } from './form.mjs';
import { expand, isVersion, lineItems, listOf, render, renderEvent } from './shape.mjs';
import { newId, now } from './store.mjs';

const KEY_KEPT_S = 24 * 60 * 60;
const HANG_MS = 90_000; // Stripe's own clients give up after 80 s

const PAGE = { limit: integer, starting_after: text, ending_before: text, created: range };
const CUSTOMER = { email: clearable, name: clearable, description: clearable, phone: clearable, metadata };
const STATUSES = ['incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'canceled', 'unpaid', 'paused'];
const SESSION = {
  mode: oneOf('payment', 'subscription', 'setup'),
  customer: text,
  customer_email: text,
  customer_creation: oneOf('always', 'if_required'),
  client_reference_id: text,
  line_items: [{ price: text, quantity: integer }],
  metadata,
  success_url: url,
  cancel_url: url,
  expires_at: integer,
  locale: text,
  allow_promotion_codes: bool,
  subscription_data: { metadata, description: text },
  payment_intent_data: { metadata, description: text },
};

export function api({ store, billing, webhooks, faults, secretKey, stopped, log }) {
  const app = new Hono();

  const find = (kind, id, param = 'id') => {
    const found = store.get(kind, id);
    const gone = found?.deleted && param !== 'id';
    if (!found || gone) throw missing(kind, id, param);
    return found;
  };
  const need = (given, ...names) => {
    const absent = names.find((name) => given[name] === undefined);
    if (absent) throw invalid(`Missing required param: ${absent}.`, absent, 'parameter_missing');
  };
  // The objects that are asked for, a page of them, the newest first.
  const page = (path, kind, { limit = 10, starting_after: after, ending_before: before, created = {} }, wanted = () => true) => {
    if (limit < 1 || limit > 100)
      throw invalid(
        `This value must be ${limit < 1 ? 'greater than or equal to 1' : 'less than or equal to 100'}.`,
        'limit',
        'parameter_invalid_integer',
      );
    const { gt = -Infinity, gte = -Infinity, lt = Infinity, lte = Infinity } = created;
    const within = (one) => one.created > gt && one.created >= gte && one.created < lt && one.created <= lte;
    const all = store.all(kind, (one) => !one.deleted && within(one) && wanted(one)).reverse();
    const cursor = after ?? before;
    const at = cursor ? store.all(kind).findIndex(({ id }) => id === find(kind, cursor, after ? 'starting_after' : 'ending_before').id) : 0;
    const position = new Map(store.all(kind).map(({ id }, i) => [id, i]));
    const rest = all.filter(({ id }) => (after ? position.get(id) < at : before ? position.get(id) > at : true));
    return listOf(before ? rest.slice(-limit) : rest.slice(0, limit), path, rest.length > limit);
  };
  const equal = (wanted) => (one) => Object.entries(wanted).every(([name, value]) => value === undefined || one[name] === value);

  // Each: method, path, what it takes, and what it does with `given` (the parameters) and `id`.
  const endpoints = [];
  const on = (method, path, schema, run) => endpoints.push({ method, path, schema: { ...schema, expand: [text] }, run });
  const list = (path, kind, filters, wanted = equal) =>
    on('GET', path, { ...PAGE, ...filters }, ({ limit, starting_after, ending_before, created, ...rest }) => {
      if (rest.customer) find('customer', rest.customer, 'customer');
      return page(path, kind, { limit, starting_after, ending_before, created }, wanted(rest));
    });
  const retrieve = (path, kind) => on('GET', `${path}/:id`, {}, (given, id) => find(kind, id));

  retrieve('/v1/customers', 'customer');
  list('/v1/customers', 'customer', { email: text });
  on('POST', '/v1/customers', CUSTOMER, (given) => billing.createCustomer(given));
  on('POST', '/v1/customers/:id', CUSTOMER, (given, id) => billing.updateCustomer(find('customer', id), given));
  on('DELETE', '/v1/customers/:id', {}, (given, id) => billing.deleteCustomer(find('customer', id)));

  retrieve('/v1/products', 'product');
  list('/v1/products', 'product', { active: bool });
  on('POST', '/v1/products', { name: text, description: text, metadata }, (given) => {
    need(given, 'name');
    return billing.createProduct(given);
  });
  retrieve('/v1/prices', 'price');
  list('/v1/prices', 'price', { active: bool, currency: text, product: text, type: oneOf('one_time', 'recurring') });
  const recurring = { interval: oneOf('day', 'week', 'month', 'year'), interval_count: integer };
  on(
    'POST',
    '/v1/prices',
    { product: text, unit_amount: integer, currency: text, recurring, metadata, nickname: text, lookup_key: text },
    (given) => {
      need(given, 'currency', 'product', 'unit_amount');
      find('product', given.product, 'product');
      return billing.createPrice(given);
    },
  );

  retrieve('/v1/checkout/sessions', 'checkout.session');
  list('/v1/checkout/sessions', 'checkout.session', {
    customer: text,
    status: oneOf('open', 'complete', 'expired'),
    payment_intent: text,
    subscription: text,
  });
  on('POST', '/v1/checkout/sessions', SESSION, (given) => billing.createSession(checked(given)));
  on('POST', '/v1/checkout/sessions/:id/expire', {}, (given, id) => billing.expireSession(find('checkout.session', id)));
  on('GET', '/v1/checkout/sessions/:id/line_items', PAGE, (given, id) => lineItems(store, find('checkout.session', id).id));
  function checked({ line_items: items, ...given }) {
    need(given, 'mode');
    if (given.mode === 'setup') throw invalid('The sandbox sells in `payment` and `subscription` mode only.', 'mode');
    if (!items?.length) throw invalid('Missing required param: line_items.', 'line_items', 'parameter_missing');
    if (!given.success_url) throw invalid('Missing required param: success_url.', 'success_url', 'parameter_missing');
    if (given.customer) find('customer', given.customer, 'customer');
    if (given.customer && given.customer_email)
      throw invalid('You may only specify one of these parameters: customer, customer_email.', 'customer_email');
    if (given.client_reference_id?.length > 200) throw invalid('Invalid string: must be at most 200 characters', 'client_reference_id');
    const other = given.mode === 'payment' ? 'subscription_data' : 'payment_intent_data';
    if (given[other]) throw invalid(`You can not pass \`${other}\` in \`${given.mode}\` mode.`, other);
    const soon = given.expires_at && (given.expires_at < now() + 1770 || given.expires_at > now() + 86_430);
    if (soon) throw invalid('The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.', 'expires_at');
    const prices = items.map(({ price, quantity }, i) => {
      if (!price) throw invalid('Missing required param: line_items[0][price].', `line_items[${i}][price]`, 'parameter_missing');
      const found = find('price', price, `line_items[${i}][price]`);
      if (!found.active) throw invalid('The price specified is inactive. This field only accepts active prices.', `line_items[${i}][price]`);
      if (!(quantity > 0)) throw invalid(`Quantity is required. Add \`quantity\` to \`line_items[${i}]\``, `line_items[${i}][quantity]`);
      return found;
    });
    const anyRecurring = prices.some((price) => price.recurring);
    if (given.mode === 'payment' && anyRecurring)
      throw invalid(
        'You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.',
        'line_items',
      );
    if (given.mode === 'subscription' && !anyRecurring)
      throw invalid('You must provide at least one recurring price in `subscription` mode when using prices.', 'line_items');
    if (new Set(prices.map((price) => price.currency)).size > 1)
      throw invalid('All prices on a Checkout Session must have the same currency.', 'line_items');
    return { ...given, lines: items };
  }

  list('/v1/billing_portal/configurations', 'billing_portal.configuration', { active: bool, is_default: bool });
  on('POST', '/v1/billing_portal/sessions', { customer: text, return_url: url, locale: text }, (given) => {
    need(given, 'customer');
    const { id: customer } = find('customer', given.customer, 'customer');
    return billing.createPortalSession({ ...given, customer });
  });

  retrieve('/v1/subscriptions', 'subscription');
  const ended = ['canceled', 'incomplete_expired'];
  list(
    '/v1/subscriptions',
    'subscription',
    { customer: text, price: text, status: oneOf(...STATUSES, 'all', 'ended') },
    ({ customer, price, status }) =>
      (one) => {
        const inStatus =
          status === 'all' || (status === 'ended' ? ended.includes(one.status) : status ? one.status === status : one.status !== 'canceled');
        return inStatus && (!customer || one.customer === customer) && (!price || one.items.data.some((item) => item.price.id === price));
      },
  );
  const items = [{ id: text, price: text, quantity: integer, deleted: bool }];
  const update = {
    cancel_at_period_end: bool,
    items,
    metadata,
    description: clearable,
    default_payment_method: text,
    proration_behavior: oneOf('create_prorations', 'always_invoice', 'none'),
  };
  on('POST', '/v1/subscriptions/:id', update, (given, id) => {
    const subscription = find('subscription', id);
    given.items?.forEach(({ price }, i) => price && find('price', price, `items[${i}][price]`));
    if (given.default_payment_method) find('payment_method', given.default_payment_method, 'default_payment_method');
    return billing.updateSubscription(subscription, given);
  });
  on('DELETE', '/v1/subscriptions/:id', { invoice_now: bool, prorate: bool }, (given, id) => billing.cancelNow(find('subscription', id)));

  retrieve('/v1/invoices', 'invoice');
  list(
    '/v1/invoices',
    'invoice',
    { customer: text, status: oneOf('draft', 'open', 'paid', 'uncollectible', 'void'), subscription: text },
    ({ subscription, ...rest }) =>
      (one) => {
        return equal(rest)(one) && (!subscription || one.parent.subscription_details.subscription === subscription);
      },
  );
  on('POST', '/v1/invoices/:id/pay', {}, (given, id) => billing.payInvoice(find('invoice', id)));
  on('GET', '/v1/invoices/:id/lines', PAGE, ({ limit = 10, starting_after: after }, id) => {
    const { data } = find('invoice', id).lines;
    const rest = data.slice(after ? data.findIndex((line) => line.id === after) + 1 : 0);
    return listOf(rest.slice(0, limit), `/v1/invoices/${id}/lines`, rest.length > limit);
  });
  retrieve('/v1/invoice_payments', 'invoice_payment');
  const payment = { type: oneOf('payment_intent', 'payment_record'), payment_intent: text };
  list('/v1/invoice_payments', 'invoice_payment', { invoice: text, status: text, payment }, ({ payment: by, ...rest }) => {
    if (by) need(by, 'type', 'payment_intent');
    return (one) => equal(rest)(one) && (!by || one.payment.payment_intent === by.payment_intent);
  });

  retrieve('/v1/payment_intents', 'payment_intent');
  list('/v1/payment_intents', 'payment_intent', { customer: text });
  retrieve('/v1/payment_methods', 'payment_method');
  retrieve('/v1/charges', 'charge');
  list('/v1/charges', 'charge', { customer: text, payment_intent: text });
  retrieve('/v1/refunds', 'refund');
  list('/v1/refunds', 'refund', { charge: text, payment_intent: text });
  const reason = oneOf('duplicate', 'fraudulent', 'requested_by_customer');
  on('POST', '/v1/refunds', { charge: text, payment_intent: text, amount: integer, reason, metadata }, (given) => {
    if (!given.charge && !given.payment_intent)
      throw invalid('One of the following params should be provided for this request: payment_intent or charge.', undefined, 'parameter_missing');
    const id = given.charge ?? find('payment_intent', given.payment_intent, 'payment_intent').latest_charge;
    return billing.refund(find('charge', id, 'charge'), given);
  });
  retrieve('/v1/disputes', 'dispute');
  list('/v1/disputes', 'dispute', { charge: text, payment_intent: text });
  on('POST', '/v1/disputes/:id/close', {}, (given, id) => billing.closeDispute(find('dispute', id), false));

  retrieve('/v1/events', 'event');
  list('/v1/events', 'event', { type: text, types: [text], delivery_success: bool }, ({ type, types, delivery_success }) => (one) => {
    const delivered = store.deliveries.get(one.id)?.state === 'delivered';
    const named = (name) => (name.endsWith('*') ? one.type.startsWith(name.slice(0, -1)) : one.type === name);
    return (!type || named(type)) && (!types || types.some(named)) && (delivery_success === undefined || delivered === delivery_success);
  });
  on('GET', '/v1/account', {}, () => store.all('account')[0]);
  retrieve('/v1/accounts', 'account');
  retrieve('/v1/webhook_endpoints', 'webhook_endpoint');
  list('/v1/webhook_endpoints', 'webhook_endpoint', {});

  // Of every request

  function authenticate(header = '') {
    const [scheme, value = ''] = header.split(' ');
    const key = { Bearer: value, Basic: Buffer.from(value, 'base64').toString().split(':')[0] }[scheme] ?? '';
    if (key === secretKey) return;
    const none =
      "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').";
    throw new StripeError(401, key ? `Invalid API Key provided: ${key.slice(0, 8)}${'*'.repeat(8)}${key.slice(-4)}` : none);
  }

  function inShape(answer, version, paths = []) {
    const events = answer.object === 'event' || (answer.object === 'list' && answer.data[0]?.object === 'event');
    const one = (event) => ({ ...renderEvent(store, event, version), pending_webhooks: webhooks.waiting(event) });
    if (events) return answer.object === 'list' ? { ...answer, data: answer.data.map(one) } : one(answer);
    const shown = render(store, answer, version);
    for (const path of paths) expand(store, shown, path, version);
    return shown;
  }

  async function strike(c, said) {
    const struck = ['stripe_api_500', 'stripe_api_429', 'stripe_api_hangs', 'stripe_api_lost'].find((fault) => faults.strikes(fault, said));
    if (struck) log(`${c.req.method} ${c.req.path}: ${struck}`);
    if (struck === 'stripe_api_500') throw new StripeError(500, 'An unknown error occurred. Please contact support.', { type: 'api_error' });
    if (struck === 'stripe_api_429')
      throw new StripeError(429, 'Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.', {
        code: 'rate_limit',
      });
    if (struck === 'stripe_api_hangs') await delay(HANG_MS, undefined, { signal: AbortSignal.any([stopped, c.req.raw.signal]) }).catch(() => {});
    return struck;
  }

  // Runs it once for each key (https://docs.stripe.com/api/idempotent_requests). Answers {status, body, from}.
  function once(key, said, run) {
    for (const [old, { at }] of store.answers) {
      if (at > now() - KEY_KEPT_S) break;
      store.answers.delete(old);
    }
    const known = key && store.answers.get(key);
    const digest = createHash('sha256').update(said).digest('hex');
    if (known && known.digest !== digest) {
      const rule = 'Keys for idempotent requests can only be used with the same parameters they were first used with.';
      const words = `${rule} Try using a key other than '${key}' if you meant to execute a different request.`;
      throw new StripeError(400, words, { type: 'idempotency_error' });
    }
    if (known) return known;
    const answer = run();
    // What was refused may be asked again, rightly; what was tried keeps its answer.
    const tried = answer.status < 400 || answer.status === 402;
    if (key && tried) store.answers.set(key, { ...answer, digest, at: now() });
    return answer;
  }

  const serve =
    ({ schema, run }) =>
    async (c) => {
      const raw = c.req.method === 'POST' ? await c.req.text() : new URL(c.req.url).search.slice(1);
      const key = c.req.method === 'POST' ? c.req.header('idempotency-key') : undefined;
      const version = c.req.header('stripe-version') ?? webhooks.endpoint.api_version;
      const requestId = c.get('requestId');
      authenticate(c.req.header('authorization'));
      if (!isVersion(version)) throw invalid(`Invalid Stripe API version: ${version}`);
      if (key?.length > 255) throw invalid('Idempotency keys can have up to 255 characters.');
      if (raw && c.req.header('content-type')?.includes('json')) {
        throw invalid(
          'Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any questions, we can help.',
        );
      }
      const pairs = [...new URLSearchParams(raw)];
      const said = `${c.req.method} ${c.req.path} ${JSON.stringify(pairs.toSorted())}`;
      const struck = await strike(c, `${said} ${key ?? ''}`);
      if (struck === 'stripe_api_hangs') return cut(c);

      const { expand: paths, ...given } = read(schema, tree(pairs));
      const { status, body, from } = once(key, said, () => {
        try {
          const answer = billing.act(
            () => {
              billing.lookAtSessions();
              return run(given, c.req.param('id'));
            },
            { id: c.req.method === 'GET' ? null : requestId, idempotency_key: key ?? null },
          );
          return { status: 200, body: inShape(answer, version, paths), from: requestId };
        } catch (error) {
          if (!(error instanceof StripeError)) throw error;
          return { status: error.status, body: error.envelope(requestId), from: requestId };
        }
      });
      if (struck === 'stripe_api_lost') return cut(c);
      c.header('stripe-version', version);
      if (key) c.header('idempotency-key', key);
      if (from !== requestId) {
        c.header('idempotent-replayed', 'true');
        c.header('original-request', from);
      }
      return c.json(body, status);
    };

  // No answer at all.
  function cut(c) {
    c.env.incoming.socket.resetAndDestroy();
    return c.body(null);
  }

  app.use('*', async (c, next) => {
    c.set('requestId', newId('req', 14));
    await next();
    c.header('request-id', c.get('requestId'));
  });
  app.onError((error, c) => {
    const known =
      error instanceof StripeError ? error : new StripeError(500, 'An unknown error occurred. Please contact support.', { type: 'api_error' });
    if (known !== error) log(error.stack);
    if (known.status === 429) c.header('retry-after', '1');
    if (known.status === 401) c.header('www-authenticate', 'Bearer realm="Stripe"');
    return c.json(known.envelope(c.get('requestId')), known.status);
  });
  for (const endpoint of endpoints) app.on(endpoint.method, endpoint.path, serve(endpoint));
  app.all('*', (c) => {
    authenticate(c.req.header('authorization'));
    throw new StripeError(
      404,
      `Unrecognized request URL (${c.req.method}: ${c.req.path}). If you are trying to list objects, remove the trailing slash.`,
    );
  });
  return app;
}
