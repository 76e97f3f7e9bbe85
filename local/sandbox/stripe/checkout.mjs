// Stripe's page for paying: what is bought, how it is paid, and where it leads back to.

import { Hono } from 'hono';
import { html } from 'hono/html';
import { GOOD_CARD, FAILING_CARD } from './cards.mjs';
import { StripeError } from './error.mjs';
import { alike, frame, testMode } from './frame.mjs';
import { lineItems } from './shape.mjs';
import { money, perPeriod } from './words.mjs';

const FILLED = { method: 'card', card: '4242 4242 4242 4242', expiry: '12 / 34', cvc: '123', name: 'Jenny Rosen' };
const CARDS = [
  [GOOD_CARD, 'is paid'],
  ['4000000000000002', 'is declined'],
  ['4000000000009995', 'has too little money'],
  [FAILING_CARD, 'is paid now, and fails when a subscription renews'],
];
const spaced = (number) => number.replace(/(\d{4})(?=\d)/g, '$1 ');
const inSession = (url, { id }) => url.replaceAll('{CHECKOUT_SESSION_ID}', id);

// What is wrong with the fields, by their names.
function problems({ method, email, card, expiry, cvc, name }, needsEmail) {
  const found = {};
  if (needsEmail && !/^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(email)) found.email = 'Your email is incomplete.';
  if (method !== 'card') return found;
  if (!/^\d{13,19}$/.test(card.replaceAll(' ', ''))) found.card = 'Your card number is incomplete.';
  const [, month, year] = expiry.match(/^(0?[1-9]|1[0-2])\s*\/?\s*(\d{2})$/) ?? [];
  if (!month) found.expiry = "Your card's expiration date is incomplete.";
  else if (Date.UTC(2000 + Number(year), Number(month)) <= Date.now()) found.expiry = "Your card's expiration date is in the past.";
  if (!/^\d{3,4}$/.test(cvc)) found.cvc = "Your card's security code is incomplete.";
  if (name === '') found.name = 'Your name is incomplete.';
  return found;
}

export function checkout({ store, billing }) {
  const app = new Hono();

  function summary(session) {
    const { data } = lineItems(store, session.id);
    const amount = money(session.amount_total, session.currency);
    const lines = data.map(
      ({ description, quantity, price, amount_total, currency }) => html`<li>
        <span>${description}<small>${quantity > 1 ? `${quantity} × ` : ''}${price.recurring ? perPeriod(price) : money(price.unit_amount, currency)}</small></span>
        <span>${money(amount_total, currency)}</span>
      </li>`,
    );
    const back = session.cancel_url && html`<a href="${inSession(session.cancel_url, session)}"><span aria-hidden="true">← </span>Back</a>`;
    const subscribes = session.mode === 'subscription';
    return html`<section aria-label="Your order">
      <div class="top">${back}<strong>Sweetheart</strong>${testMode}</div>
      <h1 class="quiet">${subscribes ? `Subscribe to ${data[0].description}` : data.length === 1 ? data[0].description : 'Pay Sweetheart'}</h1>
      <p class="big">${amount}${subscribes ? html` <small class="quiet">per ${data[0].price.recurring?.interval ?? 'period'}</small>` : ''}</p>
      <ul class="lines">${lines}<li><span>Total due today</span><span>${amount}</span></li></ul>
    </section>`;
  }

  function form(session, given, wrong, refused) {
    const customer = session.customer && store.get('customer', session.customer);
    const field = (name, label, attributes) => html`<div class="field">
      <label for="${name}">${label}</label>
      <input id="${name}" name="${name}" value="${given[name] ?? ''}" ${attributes} ${wrong[name] ? html`aria-invalid="true" aria-describedby="${name}-error"` : ''} />
      ${wrong[name] ? html`<p class="error" id="${name}-error">${wrong[name]}</p>` : ''}
    </div>`;
    const known = customer?.email ?? session.customer_email;
    const subscribes = session.mode === 'subscription';
    const pays = subscribes ? 'Subscribe' : `Pay ${money(session.amount_total, session.currency)}`;
    const choice = (value, label) => html`<div class="choice">
      <input type="radio" name="method" id="by-${value}" value="${value}" ${given.method === value ? 'checked' : ''} /><label for="by-${value}">${label}</label>
    </div>`;
    return html`<form method="post" class="card" novalidate>
      ${refused ? html`<p class="problem" role="alert" id="refused" tabindex="-1">${refused}</p>` : ''}
      <h2>Contact information</h2>
      ${known ? html`<p class="field"><span class="quiet">Email</span><br />${known}</p>` : field('email', 'Email', html`type="email" autocomplete="email"`)}
      <fieldset>
        <legend>Payment method</legend>
        ${choice('card', 'Card')}${choice('bank_transfer', 'Bank transfer, confirmed later')}
      </fieldset>
      <div id="card-fields">
        ${field('card', 'Card number', html`inputmode="numeric" autocomplete="cc-number"`)}
        <div class="pair">
          ${field('expiry', 'Expiry (MM / YY)', html`inputmode="numeric" autocomplete="cc-exp"`)}
          ${field('cvc', 'CVC', html`inputmode="numeric" autocomplete="cc-csc"`)}
        </div>
        ${field('name', 'Cardholder name', html`autocomplete="cc-name"`)}
      </div>
      <p class="quiet" id="bank-note">The order is taken now, and paid when the bank confirms. On <a href="/stripe">the sandbox's page</a> you are the bank.</p>
      <button class="pay" id="pay">${pays}</button>
      <p class="quiet" style="font-size: .85rem">${subscribes ? 'You are charged again every period until you cancel.' : ''}</p>
      <details>
        <summary>Cards to try</summary>
        ${CARDS.map(([number, what]) => html`<p><button type="button" class="link" data-card="${spaced(number)}">${spaced(number)} ${what}</button></p>`)}
      </details>
    </form>
    <script>
      const pay = document.getElementById('pay');
      const words = pay.textContent;
      const chosen = () => {
        const byCard = document.getElementById('by-card').checked;
        document.getElementById('card-fields').hidden = !byCard;
        document.getElementById('bank-note').hidden = byCard;
      };
      chosen();
      for (const radio of document.querySelectorAll('[name=method]')) radio.addEventListener('change', chosen);
      for (const one of document.querySelectorAll('[data-card]')) one.addEventListener('click', () => {
        const number = document.getElementById('card');
        document.getElementById('by-card').click();
        number.value = one.dataset.card;
        number.focus();
      });
      pay.form.addEventListener('submit', () => { pay.disabled = true; pay.textContent = 'Processing…'; });
      // Back from the next page, the button works again.
      addEventListener('pageshow', () => { pay.disabled = false; pay.textContent = words; });
      (document.getElementById('refused') ?? document.querySelector('[aria-invalid]'))?.focus();
    </script>`;
  }

  function ended(session) {
    const paid = session.status === 'complete';
    const [words, more, url, back] = paid
      ? ['You are all done here', 'This order is complete.', session.success_url, 'Continue to Sweetheart']
      : ['This page has expired', 'Nothing was paid. Go back and start again.', session.cancel_url, 'Back to Sweetheart'];
    return html`<div class="card">
        <div class="top"><strong>Sweetheart</strong>${testMode}</div>
        <h1>${words}</h1>
        <p>${more}</p>
        ${url ? html`<p><a href="${inSession(url, session)}">${back}</a></p>` : ''}
      </div>
      ${alike}`;
  }

  const show = (c, session, { given = FILLED, wrong = {}, refused, status = 200 } = {}) => {
    c.header('cache-control', 'no-store');
    if (session.status !== 'open') return c.html(frame('Checkout · Sweetheart', ended(session)));
    return c.html(
      frame('Checkout · Sweetheart', html`<div class="columns">${summary(session)}<div>${form(session, given, wrong, refused)}${alike}</div></div>`, {
        wide: true,
      }),
      status,
    );
  };

  const find = (c) => {
    billing.act(() => billing.lookAtSessions());
    return store.get('checkout.session', c.req.param('id'));
  };
  const unknown = (c) =>
    c.html(
      frame('Checkout', html`<div class="card"><h1>There is no such checkout</h1><p>The link is wrong, or the sandbox was started anew.</p></div>`),
      404,
    );

  app.get('/checkout/:id', (c) => {
    const session = find(c);
    return session ? show(c, session) : unknown(c);
  });

  app.post('/checkout/:id', async (c) => {
    const session = find(c);
    if (!session) return unknown(c);
    // The second of two clicks arrives where the first did.
    if (session.status === 'complete') return c.redirect(inSession(session.success_url, session), 303);
    if (session.status !== 'open') return show(c, session);
    const sent = await c.req.parseBody();
    const given = Object.fromEntries(['method', 'email', 'card', 'expiry', 'cvc', 'name'].map((name) => [name, `${sent[name] ?? ''}`.trim()]));
    const needsEmail = !session.customer_email && !(session.customer && store.get('customer', session.customer)?.email);
    const wrong = problems(given, needsEmail);
    if (Object.keys(wrong).length > 0) return show(c, session, { given, wrong, status: 422 });
    try {
      const { method, card, name } = given;
      billing.act(() =>
        billing.paySession(session, { method, card: card.replaceAll(' ', ''), name, email: given.email || session.customer_email || undefined }),
      );
    } catch (error) {
      if (!(error instanceof StripeError)) throw error;
      return show(c, session, { given, refused: error.message, status: error.status });
    }
    return c.redirect(inSession(session.success_url, session), 303);
  });
  return app;
}
