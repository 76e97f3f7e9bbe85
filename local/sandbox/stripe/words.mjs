// How pages say amounts, days and states.

// Amounts are in minor units: cents, but whole yen.
export function money(amount, currency) {
  const format = new Intl.NumberFormat('en-US', { style: 'currency', currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' });
const TIME = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZone: 'UTC',
});
export const day = (seconds) => DAY.format(seconds * 1000);
export const time = (seconds) => `${TIME.format(seconds * 1000)} UTC`;

export const perPeriod = ({ unit_amount, currency, recurring: { interval, interval_count: count } }) =>
  `${money(unit_amount, currency)} per ${count === 1 ? interval : `${count} ${interval}s`}`;

const BRANDS = { visa: 'Visa', mastercard: 'Mastercard', amex: 'American Express' };
export const cardName = ({ brand, last4 }) => `${BRANDS[brand] ?? 'Card'} ending in ${last4}`;

const STATUSES = {
  past_due: 'past due',
  canceled: 'cancelled',
  needs_response: 'open',
  warning_needs_response: 'inquiry',
  warning_closed: 'inquiry closed',
  requires_payment_method: 'not paid',
};
export const inWords = (status) => STATUSES[status] ?? status.replaceAll('_', ' ');
