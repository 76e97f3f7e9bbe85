// Stripe's test cards (https://docs.stripe.com/testing): what becomes of a payment by each.

const DECLINES = {
  4000000000000002: ['card_declined', 'generic_decline', 'Your card was declined.'],
  4000000000009995: ['card_declined', 'insufficient_funds', 'Your card has insufficient funds.'],
  4000000000009987: ['card_declined', 'lost_card', 'Your card was declined.'],
  4000000000000069: ['expired_card', undefined, 'Your card has expired.'],
  4000000000000127: ['incorrect_cvc', undefined, "Your card's security code is incorrect."],
  4000000000000119: ['processing_error', undefined, 'An error occurred while processing your card. Try again in a little bit.'],
};
const BRANDS = { 4: 'visa', 5: 'mastercard', 3: 'amex' };

export const GOOD_CARD = '4242424242424242';
// Can be kept, and fails whenever it is charged later.
export const FAILING_CARD = '4000000000000341';
const TAKEN = [GOOD_CARD, FAILING_CARD, '5555555555554444', '378282246310005'];

export const GENERIC_DECLINE = declineOf('4000000000000002');

function declineOf(number) {
  const [code, decline_code, message] = DECLINES[number];
  return { code, ...(decline_code && { decline_code }), message };
}

// Undefined when the card may be charged now, else {code, decline_code, message}.
export function refusal(number) {
  if (number in DECLINES) return declineOf(number);
  if (TAKEN.includes(number)) return undefined;
  if (!/^\d{13,19}$/.test(number) || !luhn(number)) return { code: 'incorrect_number', message: 'Your card number is incorrect.' };
  return {
    code: 'card_declined',
    decline_code: 'test_mode_live_card',
    message: 'Your card was declined. Your request was in test mode, but used a non test (live) card.',
  };
}

// The same for a card that was kept.
export const laterRefusal = (number) => (number === FAILING_CARD ? GENERIC_DECLINE : refusal(number));

export const brandOf = (number) => BRANDS[number[0]] ?? 'unknown';

function luhn(number) {
  const sum = [...number].reverse().reduce((sum, digit, i) => {
    const doubled = Number(digit) * (i % 2 === 1 ? 2 : 1);
    return sum + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}
