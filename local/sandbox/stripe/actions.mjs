// What happens to Stripe from outside: the endpoints of the table in stripe.mjs. A form of a page is sent back to it.

import { Hono } from 'hono';
import { GOOD_CARD } from './cards.mjs';
import { StripeError, invalid, missing } from './error.mjs';
import { NEWEST, render, renderEvent } from './shape.mjs';

const yes = (value) => value === true || value === 'true';

export function actions({ store, billing, webhooks, faults }) {
  const app = new Hono();

  // By `<kind>/<action>`: what it does with the object and what was sent.
  const does = {
    'checkout/pay': (session, { card = GOOD_CARD, ...more }) => billing.paySession(session, { card: `${card}`.replaceAll(' ', ''), ...more }),
    'checkout/expire': (session) => billing.expireSession(session),
    'checkout/settle': (session, { succeeded }) => billing.settle(session, yes(succeeded)),
    'customers/card': (customer, { card = GOOD_CARD }) => billing.keepCard(customer, `${card}`.replaceAll(' ', '')),
    'subscriptions/renew': (subscription, { fails }) => billing.renew(subscription, { fails: yes(fails) }),
    'subscriptions/cancel': (subscription, { now }) =>
      yes(now) ? billing.cancelNow(subscription) : billing.updateSubscription(subscription, { cancel_at_period_end: true }),
    'subscriptions/resume': (subscription) => billing.updateSubscription(subscription, { cancel_at_period_end: false }),
    'subscriptions/fail-next': (subscription) => {
      faults.arm({ fault: 'stripe_renewal_fails', only: subscription.id });
      return subscription;
    },
    'subscriptions/status': (subscription, { status }) => billing.setStatus(subscription, `${status}`),
    'invoices/pay': (invoice) => billing.payInvoice(invoice),
    'charges/refund': (charge, { amount, ...more }) => billing.refund(charge, { ...more, amount: wholeNumber(amount) }),
    'charges/dispute': (charge, { amount, inquiry }) => billing.dispute(charge, { amount: wholeNumber(amount), inquiry: yes(inquiry) }),
    'refunds/fail': (refund) => billing.failRefund(refund),
    'disputes/close': (dispute, { won }) => billing.closeDispute(dispute, yes(won)),
    'events/resend': (event) => {
      webhooks.resend(event);
      return event;
    },
  };
  const kinds = {
    checkout: 'checkout.session',
    customers: 'customer',
    subscriptions: 'subscription',
    invoices: 'invoice',
    charges: 'charge',
    refunds: 'refund',
    disputes: 'dispute',
    events: 'event',
  };

  function wholeNumber(value) {
    if (value === undefined || value === '') return undefined;
    if (!/^\d+$/.test(`${value}`)) throw invalid(`Invalid integer: ${value}`, 'amount', 'parameter_invalid_integer');
    return Number(value);
  }

  const bodyOf = async (c) => (c.req.header('content-type')?.includes('json') ? c.req.json() : c.req.parseBody());

  // Does it, and answers the form of a page (it says `back`) by leading there, and a program by JSON.
  async function act(c, run) {
    const { back, ...body } = await bodyOf(c).catch(() => ({}));
    const local = typeof back === 'string' && back.startsWith('/') && !back.startsWith('//');
    try {
      const answer = billing.act(() => run(body));
      return local ? c.redirect(back, 303) : c.json(answer.object === 'event' ? renderEvent(store, answer, NEWEST) : render(store, answer, NEWEST));
    } catch (error) {
      if (!(error instanceof StripeError)) throw error;
      if (!local) return c.json(error.envelope(), error.status);
      const [path, fragment] = back.split('#');
      return c.redirect(`${path}?problem=${encodeURIComponent(error.message)}${fragment ? `#${fragment}` : ''}`, 303);
    }
  }

  const facts = () => {
    const { url, api_version, sandbox } = webhooks.endpoint;
    return { object: 'sandbox', url, api_version, hold: sandbox.hold, held: webhooks.events(({ state }) => state === 'held').length };
  };
  const set = (c) =>
    act(c, (wanted) => {
      webhooks.set(wanted);
      return facts();
    });
  app.get('/sandbox/stripe', (c) => c.json(facts()));
  app.put('/sandbox/stripe', set);
  // The same for HTML forms.
  app.post('/sandbox/stripe', set);
  app.post('/sandbox/stripe/deliver', (c) => act(c, () => ({ object: 'sandbox', delivered: webhooks.release() })));

  const about = (c) => {
    const text = c.req.query('about') ?? '';
    return (event) => JSON.stringify(event).includes(text);
  };
  app.get('/sandbox/stripe/events.json', (c) => {
    const events = store.all('event', about(c)).reverse();
    return c.json({
      events: events.map((event) => ({ ...renderEvent(store, event, webhooks.endpoint.api_version), delivery: store.deliveries.get(event.id) })),
    });
  });
  app.get('/sandbox/stripe/settled', async (c) => {
    await webhooks.settled(c.req.query('about'));
    return c.json(facts());
  });

  app.post('/sandbox/stripe/:kind/:id/:action', (c) => {
    const { kind, id, action } = c.req.param();
    return act(c, (body) => {
      const run = does[`${kind}/${action}`];
      if (!run) throw new StripeError(404, `The sandbox's Stripe cannot ${action} ${kind}.`);
      billing.lookAtSessions();
      const object = store.get(kinds[kind], id);
      if (!object || object.deleted) throw missing(kinds[kind], id);
      return run(object, body);
    });
  });
  return app;
}
