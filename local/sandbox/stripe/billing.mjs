// What happens in Stripe when somebody buys, renews, fails to pay, gets money back or disputes: the objects that change and the
// events about it, in the order in which Stripe makes them.

import { GENERIC_DECLINE, brandOf, laterRefusal, refusal } from './cards.mjs';
import { StripeError, invalid } from './error.mjs';
import { listOf, planOf } from './shape.mjs';
import { newId, now } from './store.mjs';
import { money } from './words.mjs';

const DAY = 24 * 60 * 60;
const NO_ADDRESS = { city: null, country: null, line1: null, line2: null, postal_code: null, state: null };
const LIVE = ['active', 'past_due', 'trialing', 'unpaid', 'paused', 'incomplete'];

// A month later is the same day of the month, or its last one.
export function later(time, { interval, interval_count: count }) {
  if (interval === 'day') return time + count * DAY;
  if (interval === 'week') return time + count * 7 * DAY;
  const date = new Date(time * 1000);
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + count * (interval === 'year' ? 12 : 1));
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(day, last));
  return date.getTime() / 1000;
}

const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);
const merged = (old, change) => {
  if (change === null) return {};
  return Object.fromEntries(Object.entries({ ...old, ...change }).filter(([, value]) => value !== ''));
};

export class Billing {
  #store;
  #webhooks;
  #faults;
  #url;
  #events = [];
  #request = { id: null, idempotency_key: null };

  constructor({ store, webhooks, faults, url }) {
    this.#store = store;
    this.#webhooks = webhooks;
    this.#faults = faults;
    this.#url = url;
  }

  // Runs `change`, and sends the events that it made even when it ends with an error: a declined card has its events, too.
  act(change, request = { id: null, idempotency_key: null }) {
    this.#request = request;
    try {
      return change(this);
    } finally {
      const events = this.#events;
      this.#events = [];
      this.#store.touch();
      if (events.length > 0) this.#webhooks.send(events);
    }
  }

  #emit(type, object, previous) {
    const data = { object: structuredClone(object), ...(previous && { previous_attributes: structuredClone(previous) }) };
    const event = { id: newId('evt', 24), object: 'event', api_version: null, created: now(), data, livemode: false, pending_webhooks: 1, request: this.#request, type };
    this.#events.push(event);
  }

  #change(object, changes, type) {
    const previous = Object.fromEntries(
      Object.keys(changes)
        .filter((key) => JSON.stringify(object[key]) !== JSON.stringify(changes[key]))
        .map((key) => [key, object[key]]),
    );
    Object.assign(object, changes);
    // Nothing is told when nothing changed.
    if (type && Object.keys(previous).length > 0) this.#emit(type, object, previous);
  }

  #get(kind, id) {
    return this.#store.get(kind, id);
  }

  // Catalogue

  createProduct({ name, metadata = {}, description = null }, id = newId('prod', 14)) {
    const product = { id, object: 'product', active: true, created: now(), default_price: null, description, images: [], livemode: false, marketing_features: [], metadata, name, package_dimensions: null, shippable: null, statement_descriptor: null, tax_code: null, type: 'service', unit_label: null, updated: now(), url: null };
    this.#store.add(product);
    this.#emit('product.created', product);
    return product;
  }

  createPrice({ product, unit_amount, currency, recurring, metadata = {}, nickname = null, lookup_key = null }, id = newId('price')) {
    const price = {
      id,
      object: 'price',
      active: true,
      billing_scheme: 'per_unit',
      created: now(),
      currency,
      custom_unit_amount: null,
      livemode: false,
      lookup_key,
      metadata,
      nickname,
      product,
      recurring: recurring ? { interval: recurring.interval, interval_count: recurring.interval_count ?? 1, meter: null, trial_period_days: null, usage_type: 'licensed' } : null,
      tax_behavior: 'unspecified',
      tiers_mode: null,
      transform_quantity: null,
      type: recurring ? 'recurring' : 'one_time',
      unit_amount,
      unit_amount_decimal: `${unit_amount}`,
    };
    this.#store.add(price);
    this.#emit('price.created', price);
    return price;
  }

  // What there is before anything was bought: the account, and what infra/supabase/seed.sql sells.
  seed() {
    if (this.#get('account', 'acct_sandbox')) return;
    this.#store.add({ id: 'acct_sandbox', object: 'account', business_profile: { name: 'Sweetheart', url: null }, business_type: null, capabilities: { card_payments: 'active', transfers: 'active' }, charges_enabled: true, country: 'US', created: now(), default_currency: 'usd', details_submitted: true, email: null, livemode: false, metadata: {}, payouts_enabled: true, settings: { dashboard: { display_name: 'Sweetheart', timezone: 'Etc/UTC' } }, type: 'standard' });
    this.createProduct({ name: 'Sweetheart Pro', description: '20 credits every month' }, 'prod_pro');
    this.createProduct({ name: '10 credits' }, 'prod_pack_small');
    this.createProduct({ name: '50 credits' }, 'prod_pack_large');
    this.createPrice({ product: 'prod_pro', unit_amount: 1900, currency: 'usd', recurring: { interval: 'month' } }, 'price_pro_monthly');
    this.createPrice({ product: 'prod_pack_small', unit_amount: 900, currency: 'usd' }, 'price_pack_small');
    this.createPrice({ product: 'prod_pack_large', unit_amount: 3900, currency: 'usd' }, 'price_pack_large');
    // Nobody listened yet.
    this.#events = [];
  }

  // Customers

  createCustomer({ email = null, name = null, description = null, phone = null, metadata = {} }) {
    const customer = {
      id: newId('cus', 14),
      object: 'customer',
      address: null,
      balance: 0,
      created: now(),
      currency: null,
      default_source: null,
      delinquent: false,
      description,
      discount: null,
      email,
      invoice_prefix: newId('', 8).slice(1).toUpperCase(),
      invoice_settings: { custom_fields: null, default_payment_method: null, footer: null, rendering_options: null },
      livemode: false,
      metadata: merged({}, metadata),
      name,
      next_invoice_sequence: 1,
      phone,
      preferred_locales: [],
      shipping: null,
      tax_exempt: 'none',
      test_clock: null,
    };
    this.#store.add(customer);
    this.#emit('customer.created', customer);
    return customer;
  }

  updateCustomer(customer, { metadata, ...changes }) {
    this.#change(customer, { ...changes, ...(metadata !== undefined && { metadata: merged(customer.metadata, metadata) }) }, 'customer.updated');
    return customer;
  }

  deleteCustomer(customer) {
    for (const one of this.#store.all('subscription', ({ customer: id, status }) => id === customer.id && LIVE.includes(status))) this.cancelNow(one);
    this.#emit('customer.deleted', customer);
    return this.#store.add({ id: customer.id, object: 'customer', deleted: true });
  }

  // The card that she pays with from now on.
  keepCard(customer, number) {
    const refused = refusal(number);
    if (refused) throw this.#cardError(refused);
    const method = this.#attach(customer, number);
    this.updateCustomer(customer, { invoice_settings: { ...customer.invoice_settings, default_payment_method: method.id } });
    for (const one of this.#store.all('subscription', ({ customer: id, status }) => id === customer.id && LIVE.includes(status))) {
      this.#change(one, { default_payment_method: method.id }, 'customer.subscription.updated');
    }
    return method;
  }

  #attach(customer, number) {
    const method = {
      id: newId('pm'),
      object: 'payment_method',
      allow_redisplay: 'limited',
      billing_details: { address: { ...NO_ADDRESS }, email: customer?.email ?? null, name: customer?.name ?? null, phone: null, tax_id: null },
      card: {
        brand: brandOf(number),
        checks: { address_line1_check: null, address_postal_code_check: null, cvc_check: 'pass' },
        country: 'US',
        display_brand: brandOf(number),
        exp_month: 12,
        exp_year: 2034,
        fingerprint: newId('', 16).slice(1),
        funding: 'credit',
        generated_from: null,
        last4: number.slice(-4),
        networks: { available: [brandOf(number)], preferred: null },
        three_d_secure_usage: { supported: true },
        wallet: null,
      },
      created: now(),
      customer: customer?.id ?? null,
      livemode: false,
      metadata: {},
      type: 'card',
      sandbox: { number },
    };
    this.#store.add(method);
    if (customer) this.#emit('payment_method.attached', method);
    return method;
  }

  #cardError({ message, ...fields }, more) {
    return new StripeError(402, message, { type: 'card_error', ...fields, ...more });
  }

  // Checkout

  createSession({ mode, customer = null, customer_email = null, customer_creation = null, client_reference_id = null, lines, metadata = {}, success_url, cancel_url = null, expires_at, subscription_data, payment_intent_data, locale = null, allow_promotion_codes = null }) {
    const prices = lines.map(({ price }) => this.#get('price', price));
    const total = sum(lines.map(({ quantity }, i) => prices[i].unit_amount * quantity));
    const id = `cs_test_${newId('', 59).slice(1)}`;
    const session = {
      id,
      object: 'checkout.session',
      adaptive_pricing: { enabled: false },
      after_expiration: null,
      allow_promotion_codes,
      amount_subtotal: total,
      amount_total: total,
      automatic_tax: { enabled: false, liability: null, provider: null, status: null },
      billing_address_collection: null,
      cancel_url,
      client_reference_id,
      client_secret: null,
      collected_information: null,
      consent: null,
      consent_collection: null,
      created: now(),
      currency: prices[0].currency,
      currency_conversion: null,
      custom_fields: [],
      custom_text: { after_submit: null, shipping_address: null, submit: null, terms_of_service_acceptance: null },
      customer,
      customer_creation: customer ? null : (customer_creation ?? (mode === 'subscription' ? 'always' : 'if_required')),
      customer_details: null,
      customer_email,
      discounts: [],
      expires_at: expires_at ?? now() + DAY,
      invoice: null,
      invoice_creation: mode === 'payment' ? { enabled: false, invoice_data: { account_tax_ids: null, custom_fields: null, description: null, footer: null, issuer: null, metadata: {}, rendering_options: null } } : null,
      livemode: false,
      locale,
      metadata: merged({}, metadata),
      mode,
      origin_context: null,
      payment_intent: null,
      payment_link: null,
      payment_method_collection: mode === 'subscription' ? 'always' : 'if_required',
      payment_method_configuration_details: null,
      payment_method_options: { card: { request_three_d_secure: 'automatic' } },
      payment_method_types: ['card', 'customer_balance'],
      payment_status: total === 0 && mode === 'payment' ? 'no_payment_required' : 'unpaid',
      permissions: null,
      phone_number_collection: { enabled: false },
      recovered_from: null,
      saved_payment_method_options: null,
      setup_intent: null,
      shipping_address_collection: null,
      shipping_cost: null,
      shipping_options: [],
      status: 'open',
      submit_type: null,
      subscription: null,
      success_url,
      total_details: { amount_discount: 0, amount_shipping: 0, amount_tax: 0 },
      ui_mode: 'hosted',
      url: `${this.#url}/checkout/${id}`,
      wallet_options: null,
      sandbox: { lines: lines.map((line) => ({ id: newId('li'), ...line })), subscription_data: subscription_data ?? {}, payment_intent_data: payment_intent_data ?? {} },
    };
    return this.#store.add(session);
  }

  // A session whose time has come is found so by whoever looks at it next.
  lookAtSessions() {
    for (const one of this.#store.all('checkout.session', ({ status, expires_at }) => status === 'open' && expires_at <= now())) this.expireSession(one);
  }

  expireSession(session) {
    if (session.status !== 'open') throw invalid(`Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of \`${session.status}\`.`);
    this.#change(session, { status: 'expired', url: null });
    this.#emit('checkout.session.expired', session);
    return session;
  }

  // Somebody pays on the checkout page: by card, or with `method: 'bank_transfer'`, which the bank confirms later (`settle`).
  paySession(session, { card, method = 'card', email, name }) {
    if (session.status !== 'open') throw invalid(`This Checkout Session is ${session.status}.`);
    const byBank = method === 'bank_transfer';
    let customer = session.customer && this.#get('customer', session.customer);
    const text = JSON.stringify([session, customer]);
    const refused = byBank ? undefined : this.#faults.strikes('stripe_card_declined', text) ? GENERIC_DECLINE : refusal(card);

    if (!customer && !refused && session.customer_creation === 'always') customer = this.createCustomer({ email, name });
    const details = { address: { ...NO_ADDRESS }, business_name: null, email: email ?? customer?.email ?? null, individual_name: null, name: name ?? null, phone: null, tax_exempt: 'none', tax_ids: [] };
    const completed = { status: 'complete', url: null, customer: customer?.id ?? null, customer_details: details, payment_status: session.payment_status === 'unpaid' && !byBank ? 'paid' : session.payment_status };
    if (session.mode === 'subscription') {
      if (refused) throw this.#cardError(refused);
      return this.#completeSubscription(session, completed, customer, { card, byBank });
    }
    return this.#completePayment(session, completed, customer, { card, byBank, refused });
  }

  #completePayment(session, completed, customer, { card, byBank, refused }) {
    if (session.amount_total === 0) {
      this.#change(session, completed);
      this.#emit('checkout.session.completed', session);
      return session;
    }
    const { metadata = {}, description = null } = session.sandbox.payment_intent_data;
    const intent = this.#get('payment_intent', session.payment_intent) ?? this.#createIntent({ amount: session.amount_total, currency: session.currency, customer: customer?.id ?? null, metadata, description });
    this.#change(session, { payment_intent: intent.id });
    const attached = byBank ? null : this.#attach(refused ? null : customer, card);
    const charge = this.#charge(intent, { method: attached, byBank, refused, details: completed.customer_details });
    if (refused) {
      this.#emit('charge.failed', charge);
      this.#emit('payment_intent.payment_failed', intent);
      throw this.#cardError(refused, { charge: charge.id });
    }
    this.#change(session, completed);
    this.#emit(byBank ? 'charge.pending' : 'charge.succeeded', charge);
    this.#emit(byBank ? 'payment_intent.processing' : 'payment_intent.succeeded', intent);
    this.#emit('checkout.session.completed', session);
    return session;
  }

  #completeSubscription(session, completed, customer, { card, byBank }) {
    const method = byBank ? null : this.#attach(customer, card);
    const subscription = this.#createSubscription(session, customer, method);
    const invoice = this.#createInvoice(subscription, 'subscription_create', subscription.items.data.map((item) => this.#lineOf(subscription, item)));
    this.#change(session, { ...completed, subscription: subscription.id, invoice: invoice.id });
    subscription.latest_invoice = invoice.id;
    this.#emit('checkout.session.completed', session);
    this.#emit('customer.subscription.created', subscription);
    this.#emit('invoice.created', invoice);
    const intent = this.#finalize(invoice);
    if (!intent) {
      this.#paid(invoice);
    } else if (byBank) {
      const charge = this.#charge(intent, { byBank, details: completed.customer_details });
      this.#emit('charge.pending', charge);
      this.#emit('payment_intent.processing', intent);
      this.#change(subscription, { status: 'active' }, 'customer.subscription.updated');
    } else {
      this.#charge(intent, { method, details: completed.customer_details });
      this.#paid(invoice);
    }
    return session;
  }

  // The bank has confirmed a transfer, or has not.
  settle(session, succeeded) {
    const invoice = this.#get('invoice', session.invoice);
    const intent = this.#get('payment_intent', session.payment_intent ?? this.#paymentOf(invoice)?.payment.payment_intent);
    if (intent?.status !== 'processing') throw invalid('No payment of this Checkout Session waits for a bank.');
    const charge = this.#get('charge', intent.latest_charge);
    const why = { code: 'payment_intent_payment_attempt_failed', message: 'The bank did not confirm the transfer.' };
    this.#change(charge, succeeded ? { status: 'succeeded', paid: true, captured: true, amount_captured: charge.amount } : { status: 'failed', failure_code: why.code, failure_message: why.message });
    this.#change(intent, succeeded ? { status: 'succeeded', amount_received: intent.amount } : { status: 'requires_payment_method', last_payment_error: { type: 'invalid_request_error', ...why } });
    if (invoice) {
      if (succeeded) this.#paid(invoice);
      else this.#notPaid(invoice);
    } else {
      this.#emit(succeeded ? 'charge.succeeded' : 'charge.failed', charge);
      this.#emit(succeeded ? 'payment_intent.succeeded' : 'payment_intent.payment_failed', intent);
    }
    if (succeeded) this.#change(session, { payment_status: 'paid' });
    this.#emit(succeeded ? 'checkout.session.async_payment_succeeded' : 'checkout.session.async_payment_failed', session);
    return session;
  }

  // Portal

  createPortalSession({ customer, return_url = null, locale = null }) {
    const id = newId('bps');
    return this.#store.add({
      id,
      object: 'billing_portal.session',
      configuration: 'bpc_sandbox',
      created: now(),
      customer,
      customer_account: null,
      flow: null,
      livemode: false,
      locale,
      on_behalf_of: null,
      return_url,
      url: `${this.#url}/portal/${id}`,
    });
  }

  // Payments

  #createIntent({ amount, currency, customer, metadata = {}, description = null }) {
    const id = newId('pi');
    const intent = {
      id,
      object: 'payment_intent',
      amount,
      amount_capturable: 0,
      amount_details: { tip: {} },
      amount_received: 0,
      application: null,
      application_fee_amount: null,
      automatic_payment_methods: null,
      canceled_at: null,
      cancellation_reason: null,
      capture_method: 'automatic',
      client_secret: `${id}_${newId('secret')}`,
      confirmation_method: 'automatic',
      created: now(),
      currency,
      customer,
      description,
      last_payment_error: null,
      latest_charge: null,
      livemode: false,
      metadata: merged({}, metadata),
      next_action: null,
      on_behalf_of: null,
      payment_method: null,
      payment_method_options: {},
      payment_method_types: ['card', 'customer_balance'],
      processing: null,
      receipt_email: null,
      review: null,
      setup_future_usage: null,
      shipping: null,
      source: null,
      statement_descriptor: null,
      statement_descriptor_suffix: null,
      status: 'requires_payment_method',
      transfer_data: null,
      transfer_group: null,
    };
    this.#store.add(intent);
    this.#emit('payment_intent.created', intent);
    return intent;
  }

  // Tries a payment; the caller tells the world.
  #charge(intent, { method = null, byBank = false, refused, details }) {
    const status = byBank ? 'pending' : refused ? 'failed' : 'succeeded';
    const succeeded = status === 'succeeded';
    const id = newId(byBank ? 'py' : 'ch');
    const charge = {
      id,
      object: 'charge',
      amount: intent.amount,
      amount_captured: succeeded ? intent.amount : 0,
      amount_refunded: 0,
      application: null,
      application_fee: null,
      application_fee_amount: null,
      balance_transaction: succeeded ? newId('txn') : null,
      billing_details: { address: { ...NO_ADDRESS }, email: details?.email ?? null, name: details?.name ?? null, phone: null, tax_id: null },
      calculated_statement_descriptor: 'SWEETHEART',
      captured: succeeded,
      created: now(),
      currency: intent.currency,
      customer: intent.customer,
      description: intent.description,
      destination: null,
      disputed: false,
      failure_balance_transaction: null,
      failure_code: refused?.code ?? null,
      failure_message: refused?.message ?? null,
      fraud_details: {},
      livemode: false,
      metadata: { ...intent.metadata },
      on_behalf_of: null,
      order: null,
      outcome: { network_status: refused ? 'declined_by_network' : 'approved_by_network', reason: refused?.decline_code ?? null, risk_level: 'normal', seller_message: refused ? 'The bank did not return any further details with this decline.' : 'Payment complete.', type: refused ? 'issuer_declined' : 'authorized' },
      paid: succeeded,
      payment_intent: intent.id,
      payment_method: method?.id ?? null,
      payment_method_details: method ? { card: { ...method.card, network: method.card.brand, installments: null, mandate: null, three_d_secure: null }, type: 'card' } : { customer_balance: {}, type: 'customer_balance' },
      receipt_email: null,
      receipt_number: null,
      receipt_url: `${this.#url}/stripe#${id}`,
      refunded: false,
      review: null,
      shipping: null,
      source: null,
      source_transfer: null,
      statement_descriptor: null,
      statement_descriptor_suffix: null,
      status,
      transfer_data: null,
      transfer_group: null,
    };
    this.#store.add(charge);
    this.#change(intent, {
      latest_charge: charge.id,
      payment_method: refused ? null : (method?.id ?? null),
      status: byBank ? 'processing' : refused ? 'requires_payment_method' : 'succeeded',
      amount_received: succeeded ? intent.amount : 0,
      last_payment_error: refused ? { type: 'card_error', charge: charge.id, ...refused } : null,
    });
    return charge;
  }

  // Subscriptions

  #item(subscriptionId, price, quantity, start) {
    return {
      id: newId('si', 14),
      object: 'subscription_item',
      billing_thresholds: null,
      created: now(),
      current_period_end: later(start, price.recurring),
      current_period_start: start,
      discounts: [],
      metadata: {},
      plan: planOf(price),
      price,
      quantity,
      subscription: subscriptionId,
      tax_rates: [],
    };
  }

  #createSubscription(session, customer, method) {
    const id = newId('sub');
    const start = now();
    const lines = session.sandbox.lines.map((line) => ({ ...line, price: this.#get('price', line.price) })).filter(({ price }) => price.recurring);
    const items = lines.map(({ price, quantity }) => this.#item(id, price, quantity, start));
    return this.#store.add({
      id,
      object: 'subscription',
      application: null,
      application_fee_percent: null,
      automatic_tax: { disabled_reason: null, enabled: false, liability: null },
      billing_cycle_anchor: start,
      billing_cycle_anchor_config: null,
      billing_mode: { type: 'flexible', updated_at: start },
      billing_thresholds: null,
      cancel_at: null,
      cancel_at_period_end: false,
      canceled_at: null,
      cancellation_details: { comment: null, feedback: null, reason: null },
      collection_method: 'charge_automatically',
      created: start,
      currency: session.currency,
      customer: customer.id,
      days_until_due: null,
      default_payment_method: method?.id ?? null,
      default_source: null,
      default_tax_rates: [],
      description: session.sandbox.subscription_data.description ?? null,
      discounts: [],
      ended_at: null,
      invoice_settings: { account_tax_ids: null, issuer: { type: 'self' } },
      items: listOf(items, `/v1/subscription_items?subscription=${id}`),
      latest_invoice: null,
      livemode: false,
      metadata: merged({}, session.sandbox.subscription_data.metadata ?? {}),
      next_pending_invoice_item_invoice: null,
      on_behalf_of: null,
      pause_collection: null,
      payment_settings: { payment_method_options: null, payment_method_types: null, save_default_payment_method: 'off' },
      pending_invoice_item_interval: null,
      pending_setup_intent: null,
      pending_update: null,
      schedule: null,
      start_date: start,
      status: 'incomplete',
      test_clock: null,
      transfer_data: null,
      trial_end: null,
      trial_settings: { end_behavior: { missing_payment_method: 'create_invoice' } },
      trial_start: null,
      sandbox: { pending: [] },
    });
  }

  #periodEnd(subscription) {
    return Math.min(...subscription.items.data.map((item) => item.current_period_end));
  }

  // {items, proration_behavior, cancel_at_period_end, metadata, default_payment_method}
  updateSubscription(subscription, { items, proration_behavior = 'create_prorations', cancel_at_period_end, metadata, default_payment_method, description }) {
    if (!LIVE.includes(subscription.status)) throw invalid('A canceled subscription can only update its cancellation_details and metadata.');
    const changes = {};
    if (cancel_at_period_end !== undefined) {
      const cancelled = { cancel_at: this.#periodEnd(subscription), canceled_at: now(), cancellation_details: { comment: null, feedback: null, reason: 'cancellation_requested' } };
      const resumed = { cancel_at: null, canceled_at: null, cancellation_details: { comment: null, feedback: null, reason: null } };
      Object.assign(changes, { cancel_at_period_end }, cancel_at_period_end ? cancelled : resumed);
    }
    if (metadata !== undefined) changes.metadata = merged(subscription.metadata, metadata);
    if (default_payment_method) changes.default_payment_method = default_payment_method;
    if (description !== undefined) changes.description = description;
    const lines = items ? this.#changeItems(subscription, items, changes) : [];
    this.#change(subscription, changes, 'customer.subscription.updated');
    if (proration_behavior !== 'none') subscription.sandbox.pending.push(...lines);
    if (proration_behavior === 'always_invoice' && subscription.sandbox.pending.length > 0) this.#bill(subscription, 'subscription_update', []);
    return subscription;
  }

  // Puts the items as they will be into `changes`; answers the lines that make up for the rest of the period.
  #changeItems(subscription, items, changes) {
    const data = structuredClone(subscription.items.data);
    const lines = [];
    items.forEach(({ id, price, quantity, deleted }, i) => {
      const at = data.findIndex((item) => item.id === id);
      if (id && at < 0) throw invalid(`No such subscription item: '${id}'`, `items[${i}][id]`, 'resource_missing');
      const old = data[at];
      const to = price ? this.#get('price', price) : old?.price;
      if (!to?.recurring) throw invalid('The price specified is of type `one_time`, but this field only accepts prices with type=`recurring`.', `items[${i}][price]`);
      const item = this.#item(subscription.id, to, quantity ?? old?.quantity ?? 1, old?.current_period_start ?? data[0].current_period_start);
      if (old) Object.assign(item, { id: old.id, created: old.created });
      if (old) lines.push(this.#prorated(subscription, old, -1));
      if (!deleted) lines.push(this.#prorated(subscription, item, 1));
      data.splice(at < 0 ? data.length : at, 1, ...(deleted ? [] : [item]));
    });
    if (data.length === 0) throw invalid('A subscription must have at least one active plan.', 'items');
    changes.items = { ...subscription.items, data };
    return lines;
  }

  #prorated(subscription, item, sign) {
    const { current_period_start: start, current_period_end: end, price, quantity } = item;
    const share = Math.max(0, Math.min(1, (end - now()) / (end - start)));
    const name = this.#get('product', price.product).name;
    return this.#lineOf(subscription, item, {
      amount: sign * Math.round(price.unit_amount * quantity * share),
      description: `${sign < 0 ? 'Unused' : 'Remaining'} time on ${quantity > 1 ? `${quantity} × ` : ''}${name}`,
      period: { start: now(), end },
      proration: true,
    });
  }

  // One period on: the invoice of the next, and an attempt to collect it. One that was cancelled ends.
  renew(subscription, { fails = false } = {}) {
    if (!['active', 'past_due', 'trialing', 'unpaid'].includes(subscription.status)) throw invalid(`A subscription that is ${subscription.status} does not renew.`);
    if (subscription.cancel_at_period_end) return this.cancelNow(subscription);
    const data = subscription.items.data.map((item) => ({ ...item, current_period_start: item.current_period_end, current_period_end: later(item.current_period_end, item.price.recurring) }));
    const lines = data.map((item) => this.#lineOf(subscription, item));
    this.#bill(subscription, 'subscription_cycle', lines, { items: { ...subscription.items, data } }, fails);
    return subscription;
  }

  // Makes an invoice of lines and of what is pending, and collects it.
  #bill(subscription, reason, lines, changes = {}, fails = false) {
    const invoice = this.#createInvoice(subscription, reason, [...subscription.sandbox.pending.splice(0), ...lines]);
    this.#change(subscription, { ...changes, latest_invoice: invoice.id }, 'customer.subscription.updated');
    this.#emit('invoice.created', invoice);
    this.#finalize(invoice);
    // A subscription that was given up gets its invoices, and nobody collects them.
    if (subscription.status !== 'unpaid' || invoice.amount_due === 0) this.#collect(invoice, fails);
    return invoice;
  }

  cancelNow(subscription) {
    if (!LIVE.includes(subscription.status)) throw invalid(`No such subscription: '${subscription.id}'`, 'id', 'resource_missing');
    const reason = subscription.cancellation_details.reason ?? 'cancellation_requested';
    this.#change(subscription, { status: 'canceled', canceled_at: subscription.canceled_at ?? now(), ended_at: now(), cancellation_details: { comment: null, feedback: null, reason } });
    this.#emit('customer.subscription.deleted', subscription);
    return subscription;
  }

  // What time or an operator's rules would do to it.
  setStatus(subscription, status) {
    const type = status === 'paused' ? 'customer.subscription.paused' : subscription.status === 'paused' ? 'customer.subscription.resumed' : 'customer.subscription.updated';
    this.#change(subscription, { status }, type);
    return subscription;
  }

  // Invoices

  #lineOf(subscription, item, { amount, description, period, proration = false } = {}) {
    const { price, quantity } = item;
    const name = this.#get('product', price.product).name;
    const total = amount ?? price.unit_amount * quantity;
    const details = { invoice_item: proration ? newId('ii') : null, proration, proration_details: { credited_items: null }, subscription: subscription.id };
    return {
      id: newId('il'),
      object: 'line_item',
      amount: total,
      currency: price.currency,
      description: description ?? `${quantity} × ${name} (at ${money(price.unit_amount, price.currency)} / ${price.recurring.interval})`,
      discount_amounts: [],
      discountable: !proration,
      discounts: [],
      invoice: null,
      livemode: false,
      metadata: { ...subscription.metadata },
      parent: proration
        ? { invoice_item_details: { ...details, subscription_item: item.id }, subscription_item_details: null, type: 'invoice_item_details' }
        : { invoice_item_details: null, subscription_item_details: { ...details, subscription_item: item.id }, type: 'subscription_item_details' },
      period: period ?? { start: item.current_period_start, end: item.current_period_end },
      pretax_credit_amounts: [],
      pricing: { price_details: { price: price.id, product: price.product }, type: 'price_details', unit_amount_decimal: `${price.unit_amount}` },
      quantity,
      subtotal: total,
      taxes: [],
    };
  }

  #createInvoice(subscription, reason, lines) {
    const customer = this.#get('customer', subscription.customer);
    const id = newId('in');
    lines.forEach((line) => (line.invoice = id));
    const total = sum(lines.map((line) => line.amount));
    const due = Math.max(0, total + customer.balance);
    const periods = reason === 'subscription_cycle' ? subscription.items.data[0] : { current_period_start: now(), current_period_end: now() };
    return this.#store.add({
      id,
      object: 'invoice',
      account_country: 'US',
      account_name: 'Sweetheart',
      account_tax_ids: null,
      amount_due: due,
      amount_overpaid: 0,
      amount_paid: 0,
      amount_remaining: due,
      amount_shipping: 0,
      application: null,
      attempt_count: 0,
      attempted: false,
      auto_advance: true,
      automatic_tax: { disabled_reason: null, enabled: false, liability: null, provider: null, status: null },
      automatically_finalizes_at: null,
      billing_reason: reason,
      collection_method: 'charge_automatically',
      created: now(),
      currency: subscription.currency,
      custom_fields: null,
      customer: customer.id,
      customer_address: null,
      customer_email: customer.email,
      customer_name: customer.name,
      customer_phone: null,
      customer_shipping: null,
      customer_tax_exempt: 'none',
      customer_tax_ids: [],
      default_payment_method: null,
      default_source: null,
      default_tax_rates: [],
      description: null,
      discounts: [],
      due_date: null,
      effective_at: null,
      ending_balance: null,
      footer: null,
      from_invoice: null,
      hosted_invoice_url: null,
      invoice_pdf: null,
      issuer: { type: 'self' },
      last_finalization_error: null,
      latest_revision: null,
      lines: listOf(lines, `/v1/invoices/${id}/lines`),
      livemode: false,
      metadata: {},
      next_payment_attempt: null,
      number: null,
      on_behalf_of: null,
      parent: { quote_details: null, subscription_details: { metadata: { ...subscription.metadata }, subscription: subscription.id }, type: 'subscription_details' },
      payment_settings: { default_mandate: null, payment_method_options: null, payment_method_types: null },
      period_end: periods.current_period_end,
      period_start: periods.current_period_start,
      post_payment_credit_notes_amount: 0,
      pre_payment_credit_notes_amount: 0,
      receipt_number: null,
      rendering: null,
      shipping_cost: null,
      shipping_details: null,
      starting_balance: customer.balance,
      statement_descriptor: null,
      status: 'draft',
      status_transitions: { finalized_at: null, marked_uncollectible_at: null, paid_at: null, voided_at: null },
      subtotal: total,
      subtotal_excluding_tax: total,
      test_clock: null,
      total,
      total_discount_amounts: [],
      total_excluding_tax: total,
      total_pretax_credit_amounts: [],
      total_taxes: [],
      webhooks_delivered_at: now(),
    });
  }

  #paymentOf(invoice) {
    return invoice && this.#store.all('invoice_payment', (one) => one.invoice === invoice.id)[0];
  }

  // Answers the payment intent; undefined when nothing is due.
  #finalize(invoice) {
    const customer = this.#get('customer', invoice.customer);
    const balance = invoice.starting_balance + invoice.total - invoice.amount_due;
    if (balance !== customer.balance) this.updateCustomer(customer, { balance });
    const number = `${customer.invoice_prefix}-${`${customer.next_invoice_sequence}`.padStart(4, '0')}`;
    customer.next_invoice_sequence += 1;
    const link = `${this.#url}/stripe/invoices/${invoice.id}`;
    this.#change(invoice, {
      status: 'open',
      number,
      effective_at: now(),
      ending_balance: balance,
      hosted_invoice_url: link,
      invoice_pdf: link,
      status_transitions: { ...invoice.status_transitions, finalized_at: now() },
    });
    this.#emit('invoice.finalized', invoice);
    if (invoice.amount_due === 0) return undefined;

    const { amount_due: amount, currency } = invoice;
    const intent = this.#createIntent({ amount, currency, customer: customer.id, description: invoice.billing_reason === 'subscription_create' ? 'Subscription creation' : 'Subscription update' });
    this.#store.add({
      id: newId('inpay'),
      object: 'invoice_payment',
      amount_paid: null,
      amount_requested: amount,
      created: now(),
      currency,
      invoice: invoice.id,
      is_default: true,
      livemode: false,
      payment: { payment_intent: intent.id, type: 'payment_intent' },
      status: 'open',
      status_transitions: { canceled_at: null, paid_at: null },
    });
    return intent;
  }

  // Collects an open invoice with the card that is kept.
  payInvoice(invoice) {
    if (invoice.status !== 'open') throw invalid(`Invoice is ${invoice.status}.`, undefined, invoice.status === 'paid' ? 'invoice_already_paid' : 'invoice_not_editable');
    const refused = this.#collect(invoice, false);
    if (refused) throw this.#cardError(refused);
    return invoice;
  }

  // Answers why it could not.
  #collect(invoice, fails) {
    if (invoice.amount_due === 0) return void this.#paid(invoice);
    const subscription = this.#get('subscription', invoice.parent.subscription_details.subscription);
    const customer = this.#get('customer', invoice.customer);
    const method = this.#get('payment_method', subscription.default_payment_method ?? customer.invoice_settings.default_payment_method);
    const struck = invoice.billing_reason === 'subscription_cycle' && invoice.attempt_count === 0 && this.#faults.strikes('stripe_renewal_fails', JSON.stringify([subscription, customer]));
    const none = { code: 'invoice_payment_method_missing', message: 'There is no payment method to charge.' };
    const refused = fails || struck ? GENERIC_DECLINE : method ? laterRefusal(method.sandbox.number) : none;
    this.#charge(this.#get('payment_intent', this.#paymentOf(invoice).payment.payment_intent), { method, refused, details: customer });
    if (refused) this.#notPaid(invoice);
    else this.#paid(invoice);
    return refused;
  }

  #paid(invoice) {
    const payment = this.#paymentOf(invoice);
    const subscription = this.#get('subscription', invoice.parent.subscription_details.subscription);
    this.#change(invoice, {
      status: 'paid',
      amount_paid: invoice.amount_due,
      amount_remaining: 0,
      attempted: true,
      attempt_count: invoice.attempt_count + (payment ? 1 : 0),
      next_payment_attempt: null,
      status_transitions: { ...invoice.status_transitions, paid_at: now() },
    });
    this.#emit('invoice.paid', invoice);
    this.#emit('invoice.payment_succeeded', invoice);
    if (payment) {
      const intent = this.#get('payment_intent', payment.payment.payment_intent);
      this.#change(payment, { status: 'paid', amount_paid: invoice.amount_due, status_transitions: { ...payment.status_transitions, paid_at: now() } });
      this.#emit('charge.succeeded', this.#get('charge', intent.latest_charge));
      this.#emit('payment_intent.succeeded', intent);
      this.#emit('invoice_payment.paid', payment);
    }
    const open = this.#store.all('invoice', (one) => one.status === 'open' && one.parent.subscription_details.subscription === subscription.id);
    const behind = ['incomplete', 'past_due', 'unpaid'].includes(subscription.status);
    if (behind && open.length === 0) this.#change(subscription, { status: 'active' }, 'customer.subscription.updated');
    this.#delinquent(invoice.customer, open.length > 0);
  }

  #notPaid(invoice) {
    const intent = this.#get('payment_intent', this.#paymentOf(invoice).payment.payment_intent);
    const subscription = this.#get('subscription', invoice.parent.subscription_details.subscription);
    this.#change(invoice, { attempted: true, attempt_count: invoice.attempt_count + 1, next_payment_attempt: now() + 3 * DAY });
    this.#emit('charge.failed', this.#get('charge', intent.latest_charge));
    this.#emit('payment_intent.payment_failed', intent);
    this.#emit('invoice.payment_failed', invoice);
    if (['active', 'trialing'].includes(subscription.status)) this.#change(subscription, { status: 'past_due' }, 'customer.subscription.updated');
    this.#delinquent(invoice.customer, true);
  }

  #delinquent(customerId, delinquent) {
    const customer = this.#get('customer', customerId);
    if (customer.delinquent !== delinquent) this.updateCustomer(customer, { delinquent });
  }

  // Money back

  refund(charge, { amount, reason = null, metadata = {} }) {
    if (charge.status !== 'succeeded') throw invalid(`Charge ${charge.id} has not succeeded and cannot be refunded.`, undefined, 'charge_not_refundable');
    const left = charge.amount - charge.amount_refunded;
    if (left === 0) throw invalid(`Charge ${charge.id} has already been refunded.`, undefined, 'charge_already_refunded');
    const disputes = this.#store.all('dispute', (one) => one.charge === charge.id);
    if (disputes.some(({ status }) => !['won', 'warning_needs_response', 'warning_closed'].includes(status))) throw invalid(`Charge ${charge.id} has been charged back; cannot issue a refund.`, undefined, 'charge_disputed');
    const value = amount ?? left;
    if (value < 1) throw invalid('Invalid positive integer', 'amount', 'parameter_invalid_integer');
    if (value > left) throw invalid(`Refund amount (${money(value, charge.currency)}) is greater than unrefunded amount on charge (${money(left, charge.currency)})`, 'amount');
    const refund = this.#store.add({
      id: newId('re'),
      object: 'refund',
      amount: value,
      balance_transaction: newId('txn'),
      charge: charge.id,
      created: now(),
      currency: charge.currency,
      destination_details: { card: { reference_status: 'pending', reference_type: 'acquirer_reference_number', type: 'refund' }, type: 'card' },
      metadata: merged({}, metadata),
      payment_intent: charge.payment_intent,
      reason,
      receipt_number: null,
      source_transfer_reversal: null,
      status: 'succeeded',
      transfer_reversal: null,
    });
    this.#change(charge, { amount_refunded: charge.amount_refunded + value, refunded: value === left }, 'charge.refunded');
    this.#emit('refund.created', refund);
    this.#emit('refund.updated', refund);
    this.#emit('charge.refund.updated', refund);
    return refund;
  }

  // The bank sends the money back: it was no refund.
  failRefund(refund) {
    if (refund.status !== 'succeeded') throw invalid(`This refund is ${refund.status}.`);
    const charge = this.#get('charge', refund.charge);
    this.#change(charge, { amount_refunded: charge.amount_refunded - refund.amount, refunded: false }, 'charge.updated');
    this.#change(refund, { status: 'failed', failure_reason: 'lost_or_stolen_card' }, 'refund.updated');
    this.#emit('charge.refund.updated', refund);
    this.#emit('refund.failed', refund);
    return refund;
  }

  // An inquiry takes no money.
  dispute(charge, { amount = charge.amount, inquiry = false }) {
    if (charge.status !== 'succeeded' || charge.disputed) throw invalid('Only a charge that succeeded can be disputed, and only once.');
    if (!Number.isInteger(amount) || amount < 1 || amount > charge.amount) throw invalid('A dispute is about at least 1 and at most the whole charge.', 'amount');
    const dispute = this.#store.add({
      id: newId('du'),
      object: 'dispute',
      amount,
      balance_transactions: [],
      charge: charge.id,
      created: now(),
      currency: charge.currency,
      enhanced_eligibility_types: [],
      evidence: {},
      evidence_details: { due_by: now() + 9 * DAY, enhanced_eligibility: {}, has_evidence: false, past_due: false, submission_count: 0 },
      is_charge_refundable: inquiry,
      livemode: false,
      metadata: {},
      payment_intent: charge.payment_intent,
      payment_method_details: { card: { brand: 'visa', case_type: inquiry ? 'inquiry' : 'chargeback', network_reason_code: '10.4' }, type: 'card' },
      reason: 'fraudulent',
      status: inquiry ? 'warning_needs_response' : 'needs_response',
    });
    this.#change(charge, { disputed: true }, 'charge.updated');
    this.#emit('charge.dispute.created', dispute);
    if (!inquiry) this.#emit('charge.dispute.funds_withdrawn', dispute);
    return dispute;
  }

  closeDispute(dispute, won) {
    if (!/needs_response|under_review/.test(dispute.status)) throw invalid('This dispute is already closed.', undefined, 'dispute_already_closed');
    const status = dispute.status.startsWith('warning') ? 'warning_closed' : won ? 'won' : 'lost';
    this.#change(dispute, { status, is_charge_refundable: status === 'warning_closed' }, 'charge.dispute.closed');
    if (status === 'won') this.#emit('charge.dispute.funds_reinstated', dispute);
    return dispute;
  }
}
