// How an object looks on the wire. The API's version decides: 2025-03-31 ("basil") moved a subscription's period to its items
// and an invoice's subscription, price and payment elsewhere (https://docs.stripe.com/changelog/basil). The store holds the
// newest shape.

import { invalid, missing } from './error.mjs';

export const NEWEST = '2026-07-29.dahlia';
export const isVersion = (version) => /^\d{4}-\d{2}-\d{2}(\.[a-z]+)?$/.test(version);
const isLegacy = (version) => version < '2025-03-31';

// What came before prices, still in every answer.
export const planOf = (price) =>
  price.recurring && {
    id: price.id,
    object: 'plan',
    active: price.active,
    amount: price.unit_amount,
    amount_decimal: price.unit_amount_decimal,
    billing_scheme: 'per_unit',
    created: price.created,
    currency: price.currency,
    interval: price.recurring.interval,
    interval_count: price.recurring.interval_count,
    livemode: false,
    metadata: price.metadata,
    nickname: price.nickname,
    product: price.product,
    trial_period_days: null,
    usage_type: 'licensed',
  };

const paymentOf = (store, invoice) => store.all('invoice_payment', (one) => one.invoice === invoice)[0];
const invoiceOf = (store, intent) => store.all('invoice_payment', (one) => one.payment.payment_intent === intent)[0]?.invoice ?? null;

// Of a subscription, and of the `previous_attributes` of one.
const periodOf = ({ data: [item] }) => ({ current_period_start: item.current_period_start, current_period_end: item.current_period_end });
const withoutPeriods = (items) => ({ ...items, data: items.data.map(({ current_period_start, current_period_end, ...item }) => item) });

const LEGACY = {
  subscription: (store, { billing_mode, discounts, ...subscription }) => ({
    ...subscription,
    ...periodOf(subscription.items),
    items: withoutPeriods(subscription.items),
    discount: null,
    plan: subscription.items.data.length === 1 ? subscription.items.data[0].plan : null,
    quantity: subscription.items.data.length === 1 ? subscription.items.data[0].quantity : null,
  }),
  invoice: (store, { parent, total_taxes, ...invoice }) => {
    const intent = paymentOf(store, invoice.id)?.payment.payment_intent ?? null;
    return {
      ...invoice,
      lines: { ...invoice.lines, data: invoice.lines.data.map((line) => LEGACY.line_item(store, line)) },
      charge: store.get('payment_intent', intent)?.latest_charge ?? null,
      discount: null,
      paid: invoice.status === 'paid',
      paid_out_of_band: false,
      payment_intent: intent,
      subscription: parent?.subscription_details.subscription ?? null,
      subscription_details: { metadata: parent?.subscription_details.metadata ?? null },
      tax: null,
      total_tax_amounts: [],
    };
  },
  line_item: (store, { parent, pricing, taxes, ...line }) => {
    const { subscription_item_details: regular, invoice_item_details: extra } = parent;
    const { subscription, subscription_item, proration, proration_details } = regular ?? extra;
    const price = store.get('price', pricing.price_details.price);
    return {
      ...line,
      ...(extra && { invoice_item: extra.invoice_item }),
      plan: planOf(price),
      price,
      proration,
      proration_details,
      subscription,
      ...(regular && { subscription_item }),
      tax_amounts: [],
      tax_rates: [],
      type: regular ? 'subscription' : 'invoiceitem',
      unit_amount_excluding_tax: pricing.unit_amount_decimal,
    };
  },
  charge: (store, charge) => ({ ...charge, invoice: invoiceOf(store, charge.payment_intent) }),
  payment_intent: (store, intent) => ({ ...intent, invoice: invoiceOf(store, intent.id) }),
};

export function render(store, object, version) {
  if (object.object === 'list') return { ...object, data: object.data.map((one) => render(store, one, version)) };
  // `sandbox` is what only we know of it.
  const { sandbox, ...known } = object;
  const shape = isLegacy(version) && !object.deleted && LEGACY[object.object];
  return structuredClone(shape ? shape(store, known) : known);
}

// An event as an endpoint of this version gets it.
export function renderEvent(store, event, version) {
  const { object, previous_attributes: before } = event.data;
  const data = { object: render(store, object, version) };
  if (before) {
    const { items, ...rest } = before;
    data.previous_attributes = isLegacy(version) && items ? { ...rest, ...periodOf(items) } : before;
  }
  return { ...event, api_version: version, data };
}

export const listOf = (data, url, has_more = false) => ({ object: 'list', data, has_more, url });

// What an answer holds only when asked for.
const INCLUDED = {
  'invoice.payments': (store, { id }) =>
    listOf(
      store.all('invoice_payment', (one) => one.invoice === id),
      `/v1/invoice_payments?invoice=${id}`,
    ),
  'charge.refunds': (store, { id }) => listOf(store.all('refund', (one) => one.charge === id).reverse(), `/v1/charges/${id}/refunds`),
  'checkout.session.line_items': (store, { id }) => lineItems(store, id),
};

// What a checkout session sells, as the API lists it.
export function lineItems(store, id) {
  const data = store.get('checkout.session', id).sandbox.lines.map(({ id, price, quantity }) => {
    const { unit_amount, currency, product, ...rest } = store.get('price', price);
    const amount = unit_amount * quantity;
    return {
      id,
      object: 'item',
      amount_discount: 0,
      amount_subtotal: amount,
      amount_tax: 0,
      amount_total: amount,
      currency,
      description: store.get('product', product).name,
      metadata: {},
      price: { ...rest, unit_amount, currency, product },
      quantity,
    };
  });
  return listOf(data, `/v1/checkout/sessions/${id}/line_items`);
}

// Replaces the ids at `path` (as `data.customer` or `latest_invoice.payment_intent`) by their objects.
export function expand(store, answer, path, version) {
  const walk = (at, [step, ...rest]) => {
    const include = INCLUDED[`${at.object}.${step}`];
    if (include && at[step] === undefined) at[step] = render(store, include(store, at), version);
    if (at[step] === undefined) {
      throw invalid(`This property cannot be expanded (${step}). You may want to try expanding 'data.${step}' instead.`, `expand[0]`);
    }
    if (typeof at[step] === 'string') {
      const found = store.find(at[step]);
      if (!found) throw missing(step, at[step], 'expand[0]');
      at[step] = render(store, found, version);
    }
    if (rest.length === 0 || at[step] === null) return;
    for (const one of [at[step]].flat()) walk(one, rest);
  };
  walk(answer, path.split('.'));
}
