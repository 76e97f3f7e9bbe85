// Stripe's objects as they are when they are new, in the newest API's shape, with every field that the real ones have.

import { brandOf } from './cards.mjs';
import { listOf, planOf } from './shape.mjs';
import { newId, now } from './store.mjs';
import { money } from './words.mjs';

export const DAY = 24 * 60 * 60;

const unset = (...names) => Object.fromEntries(names.map((name) => [name, null]));
const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);
// Of an address that nobody gave.
export const noAddress = () => unset('city', 'country', 'line1', 'line2', 'postal_code', 'state');

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

export const newAccount = (id) => ({
  id,
  object: 'account',
  business_profile: { name: 'Sweetheart', url: null },
  business_type: null,
  capabilities: { card_payments: 'active', transfers: 'active' },
  charges_enabled: true,
  country: 'US',
  created: now(),
  default_currency: 'usd',
  details_submitted: true,
  email: null,
  metadata: {},
  payouts_enabled: true,
  settings: { dashboard: { display_name: 'Sweetheart', timezone: 'Etc/UTC' } },
  type: 'standard',
});

export const newProduct = (id, { name, description, metadata }) => ({
  ...unset('default_price', 'package_dimensions', 'shippable', 'statement_descriptor', 'tax_code', 'unit_label', 'url'),
  id,
  object: 'product',
  active: true,
  created: now(),
  description,
  images: [],
  livemode: false,
  marketing_features: [],
  metadata,
  name,
  type: 'service',
  updated: now(),
});

export const newPrice = (id, { product, unit_amount, currency, recurring, metadata = {}, nickname = null, lookup_key = null }) => ({
  ...unset('custom_unit_amount', 'tiers_mode', 'transform_quantity'),
  id,
  object: 'price',
  active: true,
  billing_scheme: 'per_unit',
  created: now(),
  currency,
  livemode: false,
  lookup_key,
  metadata,
  nickname,
  product,
  recurring: recurring ? { interval_count: 1, meter: null, trial_period_days: null, usage_type: 'licensed', ...recurring } : null,
  tax_behavior: 'unspecified',
  type: recurring ? 'recurring' : 'one_time',
  unit_amount,
  unit_amount_decimal: `${unit_amount}`,
});

export const newCustomer = ({ email = null, name = null, description = null, phone = null, metadata }) => ({
  ...unset('address', 'currency', 'default_source', 'discount', 'shipping', 'test_clock'),
  id: newId('cus', 14),
  object: 'customer',
  balance: 0,
  created: now(),
  delinquent: false,
  description,
  email,
  invoice_prefix: newId('', 8).slice(1).toUpperCase(),
  invoice_settings: unset('custom_fields', 'default_payment_method', 'footer', 'rendering_options'),
  livemode: false,
  metadata,
  name,
  next_invoice_sequence: 1,
  phone,
  preferred_locales: [],
  tax_exempt: 'none',
});

// A card; of nobody when `customer` is missing.
export const newPaymentMethod = (customer, number) => ({
  id: newId('pm'),
  object: 'payment_method',
  allow_redisplay: 'limited',
  billing_details: { ...unset('phone', 'tax_id'), address: noAddress(), email: customer?.email ?? null, name: customer?.name ?? null },
  card: {
    ...unset('generated_from', 'wallet'),
    brand: brandOf(number),
    checks: { address_line1_check: null, address_postal_code_check: null, cvc_check: 'pass' },
    country: 'US',
    display_brand: brandOf(number),
    exp_month: 12,
    exp_year: 2034,
    fingerprint: newId('', 16).slice(1),
    funding: 'credit',
    last4: number.slice(-4),
    networks: { available: [brandOf(number)], preferred: null },
    three_d_secure_usage: { supported: true },
  },
  created: now(),
  customer: customer?.id ?? null,
  livemode: false,
  metadata: {},
  type: 'card',
  sandbox: { number },
});

// `lines` are [{price, quantity}] with whole prices, `given` the parameters, `url` the sandbox's.
export function newSession(given, lines, url) {
  const { mode, customer = null, customer_creation, subscription_data = {}, payment_intent_data = {}, ...more } = given;
  const id = `cs_test_${newId('', 59).slice(1)}`;
  const total = sum(lines.map(({ price, quantity }) => price.unit_amount * quantity));
  const subscribes = mode === 'subscription';
  const invoiceData = { ...unset('account_tax_ids', 'custom_fields', 'description', 'footer', 'issuer', 'rendering_options'), metadata: {} };
  return {
    ...unset('after_expiration', 'allow_promotion_codes', 'billing_address_collection', 'cancel_url', 'client_reference_id', 'client_secret'),
    ...unset('collected_information', 'consent', 'consent_collection', 'currency_conversion', 'customer_details', 'customer_email'),
    ...unset('invoice', 'locale', 'origin_context', 'payment_intent', 'payment_link', 'payment_method_configuration_details', 'permissions'),
    ...unset('recovered_from', 'saved_payment_method_options', 'setup_intent', 'shipping_address_collection', 'shipping_cost'),
    ...unset('submit_type', 'subscription', 'wallet_options'),
    id,
    object: 'checkout.session',
    adaptive_pricing: { enabled: false },
    amount_subtotal: total,
    amount_total: total,
    automatic_tax: { ...unset('liability', 'provider', 'status'), enabled: false },
    created: now(),
    currency: lines[0].price.currency,
    custom_fields: [],
    custom_text: unset('after_submit', 'shipping_address', 'submit', 'terms_of_service_acceptance'),
    customer,
    customer_creation: customer ? null : (customer_creation ?? (subscribes ? 'always' : 'if_required')),
    discounts: [],
    expires_at: now() + DAY,
    invoice_creation: subscribes ? null : { enabled: false, invoice_data: invoiceData },
    livemode: false,
    mode,
    payment_method_collection: subscribes ? 'always' : 'if_required',
    payment_method_options: { card: { request_three_d_secure: 'automatic' } },
    payment_method_types: ['card', 'customer_balance'],
    payment_status: total === 0 && !subscribes ? 'no_payment_required' : 'unpaid',
    phone_number_collection: { enabled: false },
    shipping_options: [],
    status: 'open',
    total_details: { amount_discount: 0, amount_shipping: 0, amount_tax: 0 },
    ui_mode: 'hosted',
    url: `${url}/checkout/${id}`,
    ...more,
    sandbox: { lines: lines.map(({ price, quantity }) => ({ id: newId('li'), price: price.id, quantity })), subscription_data, payment_intent_data },
  };
}

// How the portal is set up: once for the account.
export const newPortalConfiguration = (id) => ({
  ...unset('application', 'default_return_url', 'name'),
  id,
  object: 'billing_portal.configuration',
  active: true,
  business_profile: unset('headline', 'privacy_policy_url', 'terms_of_service_url'),
  created: now(),
  features: {
    customer_update: { allowed_updates: [], enabled: false },
    invoice_history: { enabled: true },
    payment_method_update: { enabled: true, payment_method_configuration: null },
    subscription_cancel: { cancellation_reason: { enabled: false, options: [] }, enabled: true, mode: 'at_period_end', proration_behavior: 'none' },
    subscription_update: { default_allowed_updates: [], enabled: false, proration_behavior: 'none' },
  },
  is_default: true,
  livemode: false,
  login_page: { enabled: false, url: null },
  metadata: {},
  updated: now(),
});

export function newPortalSession({ customer, return_url = null, locale = null }, url) {
  const id = newId('bps');
  return {
    ...unset('customer_account', 'flow', 'on_behalf_of'),
    id,
    object: 'billing_portal.session',
    configuration: 'bpc_sandbox',
    created: now(),
    customer,
    livemode: false,
    locale,
    return_url,
    url: `${url}/portal/${id}`,
  };
}

export function newPaymentIntent({ amount, currency, customer, metadata, description = null }) {
  const id = newId('pi');
  return {
    ...unset('application', 'application_fee_amount', 'automatic_payment_methods', 'canceled_at', 'cancellation_reason'),
    ...unset('last_payment_error', 'latest_charge', 'next_action', 'on_behalf_of', 'payment_method', 'processing', 'receipt_email', 'review'),
    ...unset('setup_future_usage', 'shipping', 'source', 'statement_descriptor', 'statement_descriptor_suffix', 'transfer_data', 'transfer_group'),
    id,
    object: 'payment_intent',
    amount,
    amount_capturable: 0,
    amount_details: { tip: {} },
    amount_received: 0,
    capture_method: 'automatic',
    client_secret: `${id}_${newId('secret')}`,
    confirmation_method: 'automatic',
    created: now(),
    currency,
    customer,
    description,
    livemode: false,
    metadata,
    payment_method_options: {},
    payment_method_types: ['card', 'customer_balance'],
    status: 'requires_payment_method',
  };
}

// `method` is the card, or null for a bank transfer; `refused` why it failed; `details` has {email, name} of who pays.
export function newCharge(intent, { method, status, refused, details }, url) {
  const { amount, currency, customer, description } = intent;
  const succeeded = status === 'succeeded';
  const id = newId(method ? 'ch' : 'py');
  const { email = null, name = null } = details ?? {};
  const approved = { network_status: 'approved_by_network', reason: null, seller_message: 'Payment complete.', type: 'authorized' };
  const declined = {
    network_status: 'declined_by_network',
    reason: refused?.decline_code ?? null,
    seller_message: 'The bank did not return any further details with this decline.',
    type: 'issuer_declined',
  };
  const card = method && { ...method.card, ...unset('installments', 'mandate', 'three_d_secure'), network: method.card.brand };
  return {
    ...unset('application', 'application_fee', 'application_fee_amount', 'destination', 'failure_balance_transaction', 'on_behalf_of', 'order'),
    ...unset('receipt_email', 'receipt_number', 'review', 'shipping', 'source', 'source_transfer', 'statement_descriptor'),
    ...unset('statement_descriptor_suffix', 'transfer_data', 'transfer_group'),
    id,
    object: 'charge',
    amount,
    amount_captured: succeeded ? amount : 0,
    amount_refunded: 0,
    balance_transaction: succeeded ? newId('txn') : null,
    billing_details: { ...unset('phone', 'tax_id'), address: noAddress(), email, name },
    calculated_statement_descriptor: 'SWEETHEART',
    captured: succeeded,
    created: now(),
    currency,
    customer,
    description,
    disputed: false,
    failure_code: refused?.code ?? null,
    failure_message: refused?.message ?? null,
    fraud_details: {},
    livemode: false,
    metadata: { ...intent.metadata },
    outcome: { risk_level: 'normal', ...(refused ? declined : approved) },
    paid: succeeded,
    payment_intent: intent.id,
    payment_method: method?.id ?? null,
    payment_method_details: card ? { card, type: 'card' } : { customer_balance: {}, type: 'customer_balance' },
    receipt_url: `${url}/stripe#${id}`,
    refunded: false,
    status,
  };
}

export function newSubscription({ customer, currency, default_payment_method, description, metadata }) {
  const id = newId('sub');
  const created = now();
  return {
    ...unset('application', 'application_fee_percent', 'billing_cycle_anchor_config', 'billing_thresholds', 'cancel_at', 'canceled_at'),
    ...unset('days_until_due', 'default_source', 'ended_at', 'latest_invoice', 'next_pending_invoice_item_invoice', 'on_behalf_of'),
    ...unset('pause_collection', 'pending_invoice_item_interval', 'pending_setup_intent', 'pending_update', 'schedule', 'test_clock'),
    ...unset('transfer_data', 'trial_end', 'trial_start'),
    id,
    object: 'subscription',
    automatic_tax: { disabled_reason: null, enabled: false, liability: null },
    billing_cycle_anchor: created,
    billing_mode: { type: 'flexible', updated_at: created },
    cancel_at_period_end: false,
    cancellation_details: unset('comment', 'feedback', 'reason'),
    collection_method: 'charge_automatically',
    created,
    currency,
    customer,
    default_payment_method,
    default_tax_rates: [],
    description,
    discounts: [],
    invoice_settings: { account_tax_ids: null, issuer: { type: 'self' } },
    items: listOf([], `/v1/subscription_items?subscription=${id}`),
    livemode: false,
    metadata,
    payment_settings: { payment_method_options: null, payment_method_types: null, save_default_payment_method: 'off' },
    start_date: created,
    status: 'incomplete',
    trial_settings: { end_behavior: { missing_payment_method: 'create_invoice' } },
    // Lines for the next invoice.
    sandbox: { pending: [] },
  };
}

export const newItem = (subscription, price, quantity, start) => ({
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
  subscription: subscription.id,
  tax_rates: [],
});

// A line for an item of the subscription; for a change within its period (`proration`), or for something sold once beside it.
export function newLine(subscription, item, name, { amount, description, period, proration = false } = {}) {
  const { price, quantity } = item;
  const extra = proration || !price.recurring;
  const total = amount ?? price.unit_amount * quantity;
  const details = { invoice_item: extra ? newId('ii') : null, proration, proration_details: { credited_items: null }, subscription: subscription.id };
  const each = `${money(price.unit_amount, price.currency)}${price.recurring ? ` / ${price.recurring.interval}` : ''}`;
  return {
    id: newId('il'),
    object: 'line_item',
    amount: total,
    currency: price.currency,
    description: description ?? `${quantity} × ${name} (at ${each})`,
    discount_amounts: [],
    discountable: !proration,
    discounts: [],
    invoice: null,
    livemode: false,
    metadata: { ...subscription.metadata },
    parent: {
      invoice_item_details: extra ? details : null,
      subscription_item_details: extra ? null : { ...details, subscription_item: item.id },
      type: extra ? 'invoice_item_details' : 'subscription_item_details',
    },
    period: period ?? { start: item.current_period_start ?? now(), end: item.current_period_end ?? now() },
    pretax_credit_amounts: [],
    pricing: { price_details: { price: price.id, product: price.product }, type: 'price_details', unit_amount_decimal: `${price.unit_amount}` },
    quantity,
    subtotal: total,
    taxes: [],
  };
}

export function newInvoice(subscription, customer, reason, lines) {
  const id = newId('in');
  lines.forEach((line) => (line.invoice = id));
  const total = sum(lines.map((line) => line.amount));
  const due = Math.max(0, total + customer.balance);
  // Looks back over the period that ends.
  const [{ current_period_start: start, current_period_end: end }] = subscription.items.data;
  const ends = reason === 'subscription_cycle';
  const details = { metadata: { ...subscription.metadata }, subscription: subscription.id };
  return {
    ...unset('account_tax_ids', 'application', 'automatically_finalizes_at', 'custom_fields', 'customer_address', 'customer_phone'),
    ...unset('customer_shipping', 'default_payment_method', 'default_source', 'description', 'due_date', 'effective_at', 'ending_balance'),
    ...unset('footer', 'from_invoice', 'hosted_invoice_url', 'invoice_pdf', 'last_finalization_error', 'latest_revision'),
    ...unset('next_payment_attempt', 'number', 'on_behalf_of', 'receipt_number', 'rendering', 'shipping_cost', 'shipping_details'),
    ...unset('statement_descriptor', 'test_clock'),
    id,
    object: 'invoice',
    account_country: 'US',
    account_name: 'Sweetheart',
    amount_due: due,
    amount_overpaid: 0,
    amount_paid: 0,
    amount_remaining: due,
    amount_shipping: 0,
    attempt_count: 0,
    attempted: false,
    auto_advance: true,
    automatic_tax: { ...unset('disabled_reason', 'liability', 'provider', 'status'), enabled: false },
    billing_reason: reason,
    collection_method: 'charge_automatically',
    created: now(),
    currency: subscription.currency,
    customer: customer.id,
    customer_email: customer.email,
    customer_name: customer.name,
    customer_tax_exempt: 'none',
    customer_tax_ids: [],
    default_tax_rates: [],
    discounts: [],
    issuer: { type: 'self' },
    lines: listOf(lines, `/v1/invoices/${id}/lines`),
    livemode: false,
    metadata: {},
    parent: { quote_details: null, subscription_details: details, type: 'subscription_details' },
    payment_settings: unset('default_mandate', 'payment_method_options', 'payment_method_types'),
    period_end: ends ? end : now(),
    period_start: ends ? start : now(),
    post_payment_credit_notes_amount: 0,
    pre_payment_credit_notes_amount: 0,
    starting_balance: customer.balance,
    status: 'draft',
    status_transitions: unset('finalized_at', 'marked_uncollectible_at', 'paid_at', 'voided_at'),
    subtotal: total,
    subtotal_excluding_tax: total,
    total,
    total_discount_amounts: [],
    total_excluding_tax: total,
    total_pretax_credit_amounts: [],
    total_taxes: [],
    webhooks_delivered_at: now(),
  };
}

export const newInvoicePayment = (invoice, intent) => ({
  id: newId('inpay'),
  object: 'invoice_payment',
  amount_paid: null,
  amount_requested: intent.amount,
  created: now(),
  currency: intent.currency,
  invoice: invoice.id,
  is_default: true,
  livemode: false,
  payment: { payment_intent: intent.id, type: 'payment_intent' },
  status: 'open',
  status_transitions: unset('canceled_at', 'paid_at'),
});

export const newRefund = (charge, { amount, reason, metadata }) => ({
  ...unset('receipt_number', 'source_transfer_reversal', 'transfer_reversal'),
  id: newId('re'),
  object: 'refund',
  amount,
  balance_transaction: newId('txn'),
  charge: charge.id,
  created: now(),
  currency: charge.currency,
  destination_details: { card: { reference_status: 'pending', reference_type: 'acquirer_reference_number', type: 'refund' }, type: 'card' },
  metadata,
  payment_intent: charge.payment_intent,
  reason,
  status: 'succeeded',
});

// An inquiry is not yet a dispute.
export const newDispute = (charge, { amount, inquiry }) => ({
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
