// The operator's view of Stripe: who bought what, which events went out, and what time, banks and customers do next.

import { Hono } from 'hono';
import { html } from 'hono/html';
import { page } from '../page.mjs';
import { NEWEST, renderEvent } from './shape.mjs';
import { day, inWords, money, time } from './words.mjs';

const SHOWN = 50;
const SHAPES = { [NEWEST]: `${NEWEST} (the newest)`, '2024-06-20': '2024-06-20 (before 2025-03-31)' };

export function operator({ store, billing, webhooks }) {
  const app = new Hono();

  // A button that does `path` (see stripe.mjs) and leads back to the place on the page.
  const button = (words, path, at, { about, ...fields } = {}) => html`<form method="post" action="/sandbox/stripe/${path}">
    <input type="hidden" name="back" value="/stripe#${at}" />
    ${Object.entries(fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)}
    <button ${about ? html`aria-label="${words}: ${about}"` : ''}>${words}</button>
  </form>`;

  function subscriptionItem(one) {
    const { price, quantity, current_period_end } = one.items.data[0];
    const name = `${quantity > 1 ? `${quantity} × ` : ''}${store.get('product', price.product).name}`;
    const end = day(current_period_end);
    const ended = one.status === 'canceled';
    const at = `subscriptions/${one.id}`;
    const does = (words, action, fields) => button(words, `${at}/${action}`, one.id, { about: name, ...fields });
    return html`<li id="${one.id}">
      <div class="row"><span>${name} <span class="quiet">${one.id}</span></span><span class="state">${inWords(one.status)}</span></div>
      <div class="quiet">${ended ? `ended on ${day(one.ended_at)}` : one.cancel_at_period_end ? `cancelled, ends on ${end}` : `renews on ${end}`}</div>
      ${
        ended
          ? ''
          : html`<div class="tools">
            ${
              one.cancel_at_period_end
                ? html`${does('End the period', 'renew')}${does('Resume', 'resume')}`
                : html`${does('Renew now', 'renew')}${does('Let the next renewal fail', 'fail-next')}${does('Cancel at the end', 'cancel')}`
            }
            ${one.status === 'past_due' ? does('Give up collecting', 'status', { status: 'unpaid' }) : ''}
            ${one.status === 'active' ? does('Pause', 'status', { status: 'paused' }) : ''}
            ${one.status === 'paused' ? does('Unpause', 'status', { status: 'active' }) : ''}
            ${does('Cancel now', 'cancel', { now: 'true' })}
          </div>`
      }
    </li>`;
  }

  const invoiceItem = (one) => html`<li id="${one.id}">
    <div class="row">
      <span>Invoice <a href="${one.hosted_invoice_url}">${one.number}</a>, ${money(one.amount_remaining, one.currency)} open</span>
      <span class="state">${inWords(one.status)}</span>
    </div>
    <div class="tools">${button('Pay the open invoice', `invoices/${one.id}/pay`, one.id, { about: one.number })}</div>
  </li>`;

  function chargeItem(charge) {
    const { id, amount, amount_refunded: back, currency } = charge;
    const amounts = `${money(amount, currency)}${back > 0 ? `, ${money(back, currency)} refunded` : ''}`;
    const refunds = store.all('refund', (one) => one.charge === id && one.status === 'succeeded');
    const disputes = store.all('dispute', (one) => one.charge === id);
    const open = disputes.find(({ status }) => status.endsWith('needs_response'));
    const paid = charge.status === 'succeeded';
    const can = paid && back < amount && !disputes.some(({ status }) => ['needs_response', 'lost'].includes(status));
    const does = (words, path, fields) => button(words, path, id, { about: amounts, ...fields });
    return html`<li id="${id}">
      <div class="row">
        <span>${amounts} <span class="quiet">${id}, ${time(charge.created)}</span></span>
        <span>${disputes.map(({ status }) => html`<span class="state">dispute ${inWords(status)}</span> `)}<span class="state">${inWords(charge.status)}</span></span>
      </div>
      ${charge.failure_message ? html`<div class="quiet">${charge.failure_message}</div>` : ''}
      <div class="tools">
        ${
          can
            ? html`${does('Refund all', `charges/${id}/refund`)}
              <form method="post" action="/sandbox/stripe/charges/${id}/refund">
                <input type="hidden" name="back" value="/stripe#${id}" />
                <label for="part-${id}">Minor units</label>
                <input class="amount" id="part-${id}" name="amount" inputmode="numeric" pattern="\\d+" required value="${Math.ceil((amount - back) / 2)}" />
                <button aria-label="Refund a part: ${amounts}">Refund a part</button>
              </form>`
            : ''
        }
        ${
          paid && disputes.length === 0
            ? [does('Open a dispute', `charges/${id}/dispute`), does('Open an inquiry', `charges/${id}/dispute`, { inquiry: 'true' })]
            : ''
        }
        ${
          open?.status === 'needs_response'
            ? [
                does('Win the dispute', `disputes/${open.id}/close`, { won: 'true' }),
                does('Lose the dispute', `disputes/${open.id}/close`, { won: 'false' }),
              ]
            : ''
        }
        ${open?.status === 'warning_needs_response' ? does('Close the inquiry', `disputes/${open.id}/close`) : ''}
        ${refunds.map((one) => does(`Let the refund of ${money(one.amount, currency)} fail`, `refunds/${one.id}/fail`))}
      </div>
    </li>`;
  }

  function sessionItem(session) {
    const goods = session.sandbox.lines.map(({ price }) => store.get('product', store.get('price', price).product).name).join(', ');
    const waits = session.status === 'complete' && session.payment_status === 'unpaid' && waitsForBank(session);
    if (session.status !== 'open' && !waits) return '';
    const does = (words, action, fields) => button(words, `checkout/${session.id}/${action}`, session.id, { about: goods, ...fields });
    return html`<li id="${session.id}">
      <div class="row">
        <span>Checkout of ${goods}, ${money(session.amount_total, session.currency)}</span><span class="state">${waits ? 'waits for the bank' : 'open'}</span>
      </div>
      <div class="tools">
        ${
          waits
            ? html`${does('The bank confirms', 'settle', { succeeded: 'true' })}${does('The bank refuses', 'settle', { succeeded: 'false' })}`
            : html`<a href="${session.url}">To the page<span class="quiet"> (${goods})</span></a>${does('Expire', 'expire')}`
        }
      </div>
    </li>`;
  }
  function waitsForBank({ payment_intent: own, invoice }) {
    const id = own ?? store.all('invoice_payment', (one) => one.invoice === invoice)[0]?.payment.payment_intent;
    return store.get('payment_intent', id)?.status === 'processing';
  }

  function customerArticle(customer) {
    const of = (kind, wanted = () => true) => store.all(kind, (one) => one.customer === (customer?.id ?? null) && wanted(one)).reverse();
    const parts = [
      ['Subscriptions', of('subscription').map(subscriptionItem)],
      ['Open invoices', of('invoice', ({ status }) => status === 'open').map(invoiceItem)],
      ['Checkouts', of('checkout.session').map(sessionItem).filter(Boolean)],
      ['Payments', of('charge').map(chargeItem)],
    ].filter(([, items]) => items.length > 0);
    if (!customer && parts.length === 0) return '';
    return html`<article id="${customer?.id ?? 'guests'}">
      <h2>${customer ? (customer.email ?? 'Without an e-mail') : 'Guests'}</h2>
      <div class="quiet">${customer ? [customer.id, customer.metadata.user_id && `user ${customer.metadata.user_id}`].filter(Boolean).join(', ') : 'who paid without a customer'}</div>
      ${parts.length > 0 ? parts.map(([title, items]) => html`<h3>${title}</h3><ul class="plain">${items}</ul>`) : html`<div>Nothing bought yet.</div>`}
    </article>`;
  }

  function eventItem(event) {
    const { state, attempts } = store.deliveries.get(event.id);
    const answers = attempts.map(({ status }) => (status === 0 ? 'no answer' : status)).join(', ');
    return html`<li id="${event.id}">
      <div class="row"><strong>${event.type}</strong><span class="state">${state === 'held' ? 'held back' : state}</span></div>
      <div class="quiet">${event.id}, ${time(event.created)}${answers ? html`, answered ${answers}` : ''}</div>
      <div class="tools">${state === 'held' ? '' : button('Send again', `events/${event.id}/resend`, event.id, { about: `${event.type} ${event.id}` })}</div>
      <details><summary>What it says</summary><pre>${JSON.stringify(renderEvent(store, event, webhooks.endpoint.api_version), null, 2)}</pre></details>
    </li>`;
  }

  app.get('/stripe', (c) => {
    billing.act(() => billing.lookAtSessions());
    const { url, api_version, sandbox } = webhooks.endpoint;
    const held = webhooks.events(({ state }) => state === 'held').length;
    const customers = store.all('customer', ({ deleted }) => !deleted).reverse();
    const events = store.all('event').reverse();
    const problem = c.req.query('problem');
    const shapes = { ...SHAPES, [api_version]: SHAPES[api_version] ?? api_version };
    return c.html(
      page(
        'Stripe',
        html`<h1>Stripe, on this machine</h1>
          ${problem ? html`<p class="problem" role="alert">${problem}</p>` : ''}
          <p>Who bought what, and buttons for what time, banks and customers do next. What may go wrong at checkout or on the way is on the <a href="/">home page</a>.</p>
          <h2 id="webhooks">Webhooks</h2>
          <p class="quiet" style="overflow-wrap: anywhere">to ${url}</p>
          <div class="tools">
            <form method="post" action="/sandbox/stripe">
              <input type="hidden" name="back" value="/stripe#webhooks" />
              <label for="api_version">Their shape</label>
              <select id="api_version" name="api_version">
                ${Object.entries(shapes).map(([value, words]) => html`<option value="${value}" ${value === api_version ? 'selected' : ''}>${words}</option>`)}
              </select>
              <button>Use it</button>
            </form>
            <form method="post" action="/sandbox/stripe">
              <input type="hidden" name="back" value="/stripe#webhooks" />
              <button name="hold" value="${sandbox.hold ? 'false' : 'true'}">${sandbox.hold ? 'Hold nothing back any more' : 'Hold everything back'}</button>
            </form>
            ${held > 0 ? button(`Deliver the ${held} that are held back`, 'deliver', 'webhooks') : ''}
          </div>
          <h2>Customers</h2>
          ${customers.length > 0 ? customers.map(customerArticle) : html`<p class="quiet">Nobody yet. A customer is made at her first checkout.</p>`}
          ${customerArticle(null)}
          <h2 id="events">Events</h2>
          ${events.length > SHOWN ? html`<p class="quiet">The last ${SHOWN} of ${events.length}.</p>` : ''}
          ${events.length > 0 ? html`<ul class="plain">${events.slice(0, SHOWN).map(eventItem)}</ul>` : html`<p class="quiet">None yet.</p>`}`,
      ),
    );
  });
  return app;
}
