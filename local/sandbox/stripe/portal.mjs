// Stripe's customer portal: her plan, her card, her invoices, and the way back.

import { Hono } from 'hono';
import { html } from 'hono/html';
import { FAILING_CARD, GOOD_CARD } from './cards.mjs';
import { StripeError } from './error.mjs';
import { alike, frame, testMode } from './frame.mjs';
import { cardName, day, inWords, money, perPeriod } from './words.mjs';

const DONE = {
  cancel: 'Your subscription is cancelled. It stays until the end of the period.',
  resume: 'Your subscription goes on.',
  card: 'Your card was changed.',
  pay: 'The invoice is paid. Thank you.',
};
const LIVE = ['active', 'past_due', 'trialing', 'unpaid', 'paused', 'incomplete'];

export function portal({ store, billing }) {
  const app = new Hono();
  const nameOf = (price) => store.get('product', price.product).name;

  const endOf = (subscription) => Math.min(...subscription.items.data.map((item) => item.current_period_end));
  function when(subscription) {
    if (subscription.status === 'past_due' || subscription.status === 'unpaid') return 'The last payment failed.';
    const end = day(endOf(subscription));
    return subscription.cancel_at_period_end ? `Ends on ${end}.` : `Renews on ${end}.`;
  }

  function subscriptionCard(session, subscription) {
    const { price, quantity } = subscription.items.data[0];
    const at = `/portal/${session.id}`;
    const change = subscription.cancel_at_period_end
      ? html`<form method="post" action="${at}/resume"><button name="id" value="${subscription.id}">Don't cancel subscription</button></form>`
      : html`<form method="get" action="${at}/cancel"><button name="id" value="${subscription.id}">Cancel subscription</button></form>`;
    return html`<div class="card">
      <div class="row"><strong>${quantity > 1 ? `${quantity} × ` : ''}${nameOf(price)}</strong><span class="state">${inWords(subscription.status)}</span></div>
      <p>${perPeriod(price)}</p>
      <p class="quiet">${when(subscription)}</p>
      <div class="actions">${change}</div>
    </div>`;
  }

  function cardForm(session, customer, method) {
    const choice = (number, label, checked) =>
      html`<div class="choice">
        <input type="radio" name="card" id="card-${number}" value="${number}" ${checked ? 'checked' : ''} /><label for="card-${number}">${label}</label>
      </div>`;
    const failing = method?.sandbox.number === FAILING_CARD;
    return html`<div class="card">
      <p>${method ? html`${cardName(method.card)}<br /><span class="quiet">Expires ${method.card.exp_month}/${method.card.exp_year}</span>` : 'No card is kept.'}</p>
      <form method="post" action="/portal/${session.id}/card">
        <fieldset>
          <legend>Change the card</legend>
          ${choice(GOOD_CARD, 'Visa ending in 4242, which pays', !failing)}${choice(FAILING_CARD, 'Visa ending in 0341, which fails when it is charged', failing)}
        </fieldset>
        <button>Save card</button>
      </form>
    </div>`;
  }

  function dueCard(session, invoice) {
    const amount = money(invoice.amount_remaining, invoice.currency);
    return html`<div class="card row">
      <span><strong>${amount}</strong> of ${day(invoice.created)} ${invoice.attempted ? 'could not be collected' : 'is being collected'}.</span>
      <form method="post" action="/portal/${session.id}/pay"><button name="id" value="${invoice.id}">Pay ${amount} now</button></form>
    </div>`;
  }

  function invoiceTable(session, invoices) {
    if (invoices.length === 0) return html`<p class="quiet">No invoices yet.</p>`;
    const rows = invoices.map(
      (invoice) => html`<tr>
        <td><a href="${invoice.hosted_invoice_url}">${day(invoice.created)}</a></td>
        <td>${inWords(invoice.status)}</td>
        <td class="amount">${money(invoice.total, invoice.currency)}</td>
      </tr>`,
    );
    return html`<div class="card">
      <table>
        <thead><tr><th scope="col">Date</th><th scope="col">State</th><th scope="col" class="amount">Amount</th></tr></thead>
        <tbody>${rows}</tbody>
      </table>
    </div>`;
  }

  const back = (session) =>
    session.return_url ? html`<a href="${session.return_url}"><span aria-hidden="true">← </span>Return to Sweetheart</a>` : '';
  const of = (kind, session) => store.all(kind, (one) => one.customer === session.customer).reverse();

  function overview(session, { done, problem }) {
    const customer = store.get('customer', session.customer);
    const subscriptions = of('subscription', session);
    const live = subscriptions.filter(({ status }) => LIVE.includes(status));
    const invoices = of('invoice', session);
    const method = store.get('payment_method', live[0]?.default_payment_method ?? customer.invoice_settings?.default_payment_method);
    const due = invoices.filter(({ status }) => status === 'open');
    return html`<div class="top">${back(session)}${testMode}</div>
      <h1>Manage your Sweetheart billing</h1>
      <p class="quiet">${customer.email ?? ''}</p>
      <br />
      ${problem ? html`<p class="problem" role="alert">${problem}</p>` : ''}${DONE[done] ? html`<p class="done" role="status">${DONE[done]}</p>` : ''}
      ${due.map((invoice) => dueCard(session, invoice))}
      <section>
        <h2>Current subscription</h2>
        ${live.length > 0 ? live.map((one) => subscriptionCard(session, one)) : html`<p class="quiet">You have no subscription.</p><br />`}
      </section>
      <section><h2>Payment method</h2>${cardForm(session, customer, method)}</section>
      <section><h2>Invoice history</h2>${invoiceTable(session, invoices)}</section>
      ${alike}`;
  }

  const find = (c) => {
    const session = store.get('billing_portal.session', c.req.param('id'));
    return session && !store.get('customer', session.customer)?.deleted ? session : undefined;
  };
  const unknown = (c) =>
    c.html(
      frame(
        'Billing',
        html`<div class="card"><h1>This link does not work any more</h1><p>Go back to Sweetheart, and open your billing there.</p></div>`,
      ),
      404,
    );

  app.get('/portal/:id', (c) => {
    const session = find(c);
    c.header('cache-control', 'no-store');
    return session ? c.html(frame('Billing · Sweetheart', overview(session, c.req.query()))) : unknown(c);
  });

  app.get('/portal/:id/cancel', (c) => {
    const session = find(c);
    const subscription = session && of('subscription', session).find(({ id }) => id === c.req.query('id'));
    if (!subscription) return unknown(c);
    const { price } = subscription.items.data[0];
    return c.html(
      frame(
        'Cancel · Sweetheart',
        html`<div class="top"><a href="/portal/${session.id}"><span aria-hidden="true">← </span>Go back</a>${testMode}</div>
          <div class="card">
            <h1>Cancel your subscription</h1>
            <p>${nameOf(price)}, ${perPeriod(price)}</p>
            <p>It stays yours until ${day(endOf(subscription))}, and is not charged again.</p>
            <form method="post"><br /><button class="pay" name="id" value="${subscription.id}">Cancel subscription</button></form>
          </div>`,
      ),
    );
  });

  // What she may change, of what is hers.
  const does = {
    cancel: (session, { id }) => billing.updateSubscription(hers('subscription', session, id), { cancel_at_period_end: true }),
    resume: (session, { id }) => billing.updateSubscription(hers('subscription', session, id), { cancel_at_period_end: false }),
    card: (session, { card }) => billing.keepCard(store.get('customer', session.customer), card === FAILING_CARD ? FAILING_CARD : GOOD_CARD),
    pay: (session, { id }) => billing.payInvoice(hers('invoice', session, id)),
  };
  function hers(kind, session, id) {
    const found = of(kind, session).find((one) => one.id === id);
    if (!found) throw new StripeError(404, 'This is not yours.');
    return found;
  }
  app.post('/portal/:id/:action{cancel|resume|card|pay}', async (c) => {
    const session = find(c);
    if (!session) return unknown(c);
    const action = c.req.param('action');
    const body = await c.req.parseBody();
    try {
      billing.act(() => does[action](session, body));
    } catch (error) {
      if (!(error instanceof StripeError)) throw error;
      return c.redirect(`/portal/${session.id}?problem=${encodeURIComponent(error.message)}`, 303);
    }
    return c.redirect(`/portal/${session.id}?done=${action}`, 303);
  });

  app.get('/stripe/invoices/:id', (c) => {
    const invoice = store.get('invoice', c.req.param('id'));
    if (!invoice) return unknown(c);
    const item = (words, amount, more) =>
      html`<li><span>${words}${more ? html`<small>${more}</small>` : ''}</span><span>${money(amount, invoice.currency)}</span></li>`;
    const lines = invoice.lines.data.map((line) => item(line.description, line.amount, `${day(line.period.start)} to ${day(line.period.end)}`));
    const credit = invoice.total - invoice.amount_due;
    return c.html(
      frame(
        `Invoice ${invoice.number}`,
        html`<div class="card">
          <div class="top"><strong>Sweetheart</strong>${testMode}</div>
          <div class="row"><h1>Invoice ${invoice.number}</h1><span class="state">${inWords(invoice.status)}</span></div>
          <p class="quiet">${day(invoice.created)}${invoice.customer_email ? html`, ${invoice.customer_email}` : ''}</p>
          <ul class="lines">
            ${lines}${credit !== 0 ? item('Balance', -credit) : ''}${item('Total', invoice.amount_due)}
          </ul>
        </div>${alike}`,
      ),
    );
  });
  return app;
}
