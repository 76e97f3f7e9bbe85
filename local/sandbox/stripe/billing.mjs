// What happens in Stripe when somebody buys, renews, fails to pay, gets money back or disputes: the objects that change and the
// events about it, in the order in which Stripe makes them.

import { GENERIC_DECLINE, laterRefusal, refusal } from './cards.mjs';
import { StripeError, invalid, missing } from './error.mjs';
import {
  DAY,
  later,
  newAccount,
  newCharge,
  newCustomer,
  newDispute,
  newInvoice,
  newInvoicePayment,
  newItem,
  newLine,
  newPaymentIntent,
  newPaymentMethod,
  newPortalConfiguration,
  newPortalSession,
  newPrice,
  newProduct,
  newRefund,
  newSession,
  newSubscription,
  noAddress,
} from './objects.mjs';
import { newId, now } from './store.mjs';
import { money } from './words.mjs';

const LIVE = ['active', 'past_due', 'trialing', 'unpaid', 'paused', 'incomplete'];

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
    const event = {
      id: newId('evt', 24),
      object: 'event',
      api_version: null,
      created: now(),
      data,
      livemode: false,
      pending_webhooks: 1,
      request: this.#request,
      type,
    };
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
    const product = newProduct(id, { name, metadata, description });
    this.#store.add(product);
    this.#emit('product.created', product);
    return product;
  }

  createPrice(given, id = newId('price')) {
    const price = newPrice(id, given);
    this.#store.add(price);
    this.#emit('price.created', price);
    return price;
  }

  // What there is before anything was bought: the account, its portal, and what infra/supabase/seed.sql sells.
  seed() {
    const portal = 'bpc_sandbox';
    if (!this.#get('billing_portal.configuration', portal)) this.#store.add(newPortalConfiguration(portal));
    if (this.#get('account', 'acct_sandbox')) return;
    this.#store.add(newAccount('acct_sandbox'));
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

  createCustomer(given) {
    const customer = newCustomer({ ...given, metadata: merged({}, given.metadata ?? {}) });
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
    const method = newPaymentMethod(customer, number);
    this.#store.add(method);
    if (customer) this.#emit('payment_method.attached', method);
    return method;
  }

  #cardError({ message, ...fields }, more) {
    return new StripeError(402, message, { type: 'card_error', ...fields, ...more });
  }

  // Checkout

  createSession({ lines, ...given }) {
    const session = newSession(
      { ...given, metadata: merged({}, given.metadata ?? {}) },
      lines.map((line) => ({ ...line, price: this.#get('price', line.price) })),
      this.#url,
    );
    return this.#store.add(session);
  }

  // A session whose time has come is found so by whoever looks at it next.
  lookAtSessions() {
    for (const one of this.#store.all('checkout.session', ({ status, expires_at }) => status === 'open' && expires_at <= now()))
      this.expireSession(one);
  }

  expireSession(session) {
    if (session.status !== 'open')
      throw invalid(`Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of \`${session.status}\`.`);
    this.#change(session, { status: 'expired', url: null });
    this.#emit('checkout.session.expired', session);
    return session;
  }

  // Somebody pays on the checkout page: by card, or with `method: 'bank_transfer'`, which the bank confirms later (`settle`).
  paySession(session, { card, method = 'card', email, name }) {
    if (session.status !== 'open') throw invalid(`This Checkout Session is ${session.status}.`);
    const byBank = method === 'bank_transfer';
    let customer = session.customer && this.#get('customer', session.customer);
    if (customer?.deleted) throw missing('customer', customer.id, 'customer');
    const text = JSON.stringify([session, customer]);
    const refused = byBank ? undefined : this.#faults.strikes('stripe_card_declined', text) ? GENERIC_DECLINE : refusal(card);

    if (!customer && !refused && session.customer_creation === 'always') customer = this.createCustomer({ email, name });
    const details = {
      address: noAddress(),
      business_name: null,
      email: email ?? customer?.email ?? null,
      individual_name: null,
      name: name ?? null,
      phone: null,
      tax_exempt: 'none',
      tax_ids: [],
    };
    const completed = {
      status: 'complete',
      url: null,
      customer: customer?.id ?? null,
      customer_details: details,
      payment_status: session.payment_status === 'unpaid' && !byBank ? 'paid' : session.payment_status,
    };
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
    const intent =
      this.#get('payment_intent', session.payment_intent) ??
      this.#createIntent({ amount: session.amount_total, currency: session.currency, customer: customer?.id ?? null, metadata, description });
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
    const invoice = this.#createInvoice(subscription, 'subscription_create', subscription.items.data);
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
    this.#change(
      charge,
      succeeded
        ? { status: 'succeeded', paid: true, captured: true, amount_captured: charge.amount }
        : { status: 'failed', failure_code: why.code, failure_message: why.message },
    );
    this.#change(
      intent,
      succeeded
        ? { status: 'succeeded', amount_received: intent.amount }
        : { status: 'requires_payment_method', last_payment_error: { type: 'invalid_request_error', ...why } },
    );
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

  createPortalSession(given) {
    return this.#store.add(newPortalSession(given, this.#url));
  }

  // Payments

  #createIntent({ metadata = {}, ...given }) {
    const intent = this.#store.add(newPaymentIntent({ ...given, metadata: merged({}, metadata) }));
    this.#emit('payment_intent.created', intent);
    return intent;
  }

  // Tries a payment; the caller tells the world.
  #charge(intent, { method = null, byBank = false, refused, details }) {
    const charge = this.#store.add(
      newCharge(intent, { method, status: byBank ? 'pending' : refused ? 'failed' : 'succeeded', refused, details }, this.#url),
    );
    this.#change(intent, {
      latest_charge: charge.id,
      payment_method: refused ? null : (method?.id ?? null),
      status: byBank ? 'processing' : refused ? 'requires_payment_method' : 'succeeded',
      amount_received: charge.amount_captured,
      last_payment_error: refused ? { type: 'card_error', charge: charge.id, ...refused } : null,
    });
    return charge;
  }

  // Subscriptions

  #createSubscription(session, customer, method) {
    const { metadata = {}, description = null } = session.sandbox.subscription_data;
    const subscription = newSubscription({
      customer: customer.id,
      currency: session.currency,
      default_payment_method: method?.id ?? null,
      description,
      metadata: merged({}, metadata),
    });
    const lines = session.sandbox.lines.map(({ price, quantity }) => ({ price: this.#get('price', price), quantity }));
    const regular = lines.filter(({ price }) => price.recurring);
    subscription.items.data = regular.map(({ price, quantity }) => newItem(subscription, price, quantity, subscription.created));
    subscription.sandbox.pending = lines.filter(({ price }) => !price.recurring).map((item) => this.#lineOf(subscription, item));
    return this.#store.add(subscription);
  }

  #periodEnd(subscription) {
    return Math.min(...subscription.items.data.map((item) => item.current_period_end));
  }

  // {items, proration_behavior, cancel_at_period_end, metadata, default_payment_method}
  updateSubscription(
    subscription,
    { items, proration_behavior = 'create_prorations', cancel_at_period_end, metadata, default_payment_method, description },
  ) {
    if (!LIVE.includes(subscription.status)) throw invalid('A canceled subscription can only update its cancellation_details and metadata.');
    const changes = {};
    if (cancel_at_period_end !== undefined) {
      const cancelled = {
        cancel_at: this.#periodEnd(subscription),
        canceled_at: now(),
        cancellation_details: { comment: null, feedback: null, reason: 'cancellation_requested' },
      };
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
      if (!to?.recurring)
        throw invalid('The price specified is of type `one_time`, but this field only accepts prices with type=`recurring`.', `items[${i}][price]`);
      const item = newItem(subscription, to, quantity ?? old?.quantity ?? 1, old?.current_period_start ?? data[0].current_period_start);
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
    if (!['active', 'past_due', 'trialing', 'unpaid'].includes(subscription.status))
      throw invalid(`A subscription that is ${subscription.status} does not renew.`);
    if (subscription.cancel_at_period_end) return this.cancelNow(subscription);
    const data = subscription.items.data.map((item) => ({
      ...item,
      current_period_start: item.current_period_end,
      current_period_end: later(item.current_period_end, item.price.recurring),
    }));
    this.#bill(subscription, 'subscription_cycle', data, { items: { ...subscription.items, data } }, fails);
    return subscription;
  }

  // Makes an invoice of items, and collects it.
  #bill(subscription, reason, items, changes = {}, fails = false) {
    const invoice = this.#createInvoice(subscription, reason, items);
    this.#change(subscription, { ...changes, latest_invoice: invoice.id }, 'customer.subscription.updated');
    this.#emit('invoice.created', invoice);
    this.#finalize(invoice);
    // A subscription that was given up gets its invoices, and nobody collects them.
    if (subscription.status !== 'unpaid' || invoice.amount_due === 0) this.#collect(invoice, fails);
  }

  cancelNow(subscription) {
    if (!LIVE.includes(subscription.status)) throw missing('subscription', subscription.id);
    const reason = subscription.cancellation_details.reason ?? 'cancellation_requested';
    this.#change(subscription, {
      status: 'canceled',
      canceled_at: subscription.canceled_at ?? now(),
      ended_at: now(),
      cancellation_details: { comment: null, feedback: null, reason },
    });
    this.#emit('customer.subscription.deleted', subscription);
    return subscription;
  }

  // What time or an operator's rules would do to it.
  setStatus(subscription, status) {
    const type =
      status === 'paused'
        ? 'customer.subscription.paused'
        : subscription.status === 'paused'
          ? 'customer.subscription.resumed'
          : 'customer.subscription.updated';
    this.#change(subscription, { status }, type);
    return subscription;
  }

  // Invoices

  #lineOf(subscription, item, more) {
    return newLine(subscription, item, this.#get('product', item.price.product).name, more);
  }

  // Of these items, and of what waited for the next invoice.
  #createInvoice(subscription, reason, items) {
    const customer = this.#get('customer', subscription.customer);
    const lines = [...subscription.sandbox.pending.splice(0), ...items.map((item) => this.#lineOf(subscription, item))];
    return this.#store.add(newInvoice(subscription, customer, reason, lines));
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
    const intent = this.#createIntent({
      amount,
      currency,
      customer: customer.id,
      description: invoice.billing_reason === 'subscription_create' ? 'Subscription creation' : 'Subscription update',
    });
    this.#store.add(newInvoicePayment(invoice, intent));
    return intent;
  }

  // Collects an open invoice with the card that is kept.
  payInvoice(invoice) {
    if (invoice.status !== 'open')
      throw invalid(`Invoice is ${invoice.status}.`, undefined, invoice.status === 'paid' ? 'invoice_already_paid' : 'invoice_not_editable');
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
    const struck =
      invoice.billing_reason === 'subscription_cycle' &&
      invoice.attempt_count === 0 &&
      this.#faults.strikes('stripe_renewal_fails', JSON.stringify([subscription, customer]));
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
      this.#change(payment, {
        status: 'paid',
        amount_paid: invoice.amount_due,
        status_transitions: { ...payment.status_transitions, paid_at: now() },
      });
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
    if (charge.status !== 'succeeded')
      throw invalid(`Charge ${charge.id} has not succeeded and cannot be refunded.`, undefined, 'charge_not_refundable');
    const left = charge.amount - charge.amount_refunded;
    if (left === 0) throw invalid(`Charge ${charge.id} has already been refunded.`, undefined, 'charge_already_refunded');
    const disputes = this.#store.all('dispute', (one) => one.charge === charge.id);
    if (disputes.some(({ status }) => !['won', 'warning_needs_response', 'warning_closed'].includes(status)))
      throw invalid(`Charge ${charge.id} has been charged back; cannot issue a refund.`, undefined, 'charge_disputed');
    const value = amount ?? left;
    if (value < 1) throw invalid('Invalid positive integer', 'amount', 'parameter_invalid_integer');
    if (value > left)
      throw invalid(
        `Refund amount (${money(value, charge.currency)}) is greater than unrefunded amount on charge (${money(left, charge.currency)})`,
        'amount',
      );
    const refund = this.#store.add(newRefund(charge, { amount: value, reason, metadata: merged({}, metadata) }));
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
    if (!Number.isInteger(amount) || amount < 1 || amount > charge.amount)
      throw invalid('A dispute is about at least 1 and at most the whole charge.', 'amount');
    const dispute = this.#store.add(newDispute(charge, { amount, inquiry }));
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
