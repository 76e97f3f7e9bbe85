// Prices, credits and dates, in words.

// The pages are in English; which English, the browser says: 21 December 2026, or December 21, 2026.
const english = navigator.languages.find((language) => /^en\b/.test(language)) ?? 'en';

// An amount is in the unit that Stripe counts in (docs.stripe.com/currencies), which Intl does not know: isk and ugx come in
// hundredths that do not exist, mga comes whole.
const whole = ['bif', 'clp', 'djf', 'gnf', 'jpy', 'kmf', 'krw', 'mga', 'pyg', 'rwf', 'vnd', 'vuv', 'xaf', 'xof', 'xpf'];
const inThousandths = ['bhd', 'jod', 'kwd', 'omr', 'tnd'];

function unitsOf(currency) {
  if (whole.includes(currency)) return 1;
  return inThousandths.includes(currency) ? 1000 : 100;
}

export function price({ amount, currency }) {
  const format = new Intl.NumberFormat(english, { style: 'currency', currency, trailingZeroDisplay: 'stripIfInteger' });
  return format.format(amount / unitsOf(currency));
}

// With a minus sign, which is not a hyphen.
export const number = (count) => count.toLocaleString(english).replace('-', '−');

export const credits = (count) => `${number(count)} ${Math.abs(count) === 1 ? 'credit' : 'credits'}`;

export const day = (time) => new Date(time).toLocaleDateString(english, { dateStyle: 'long' });

// The year is said when it is another than this.
export function dayAndTime(time) {
  const date = new Date(time);
  const year = date.getFullYear() === new Date().getFullYear() ? undefined : 'numeric';
  return date.toLocaleString(english, { day: 'numeric', month: 'short', year, hour: '2-digit', minute: '2-digit' });
}
