// Stands in for Stripe (https://docs.stripe.com/api): the API under /v1, signed webhooks, the checkout page and the customer
// portal, and at /stripe the operator's view. Money and cards are made up, the rest is as on the wire.
//
// What time, banks and customers do to the real one is done here by a person on those pages, or by a test (a JSON or form body;
// the answer is the object in the newest API's shape, or Stripe's error envelope):
//
//   PUT  /sandbox/stripe                            {api_version?, url?, hold?}   of the webhooks: the payloads' shape, the receiver,
//                                                                                 whether to hold everything back until told
//   GET  /sandbox/stripe                            the same as they are now, {api_version, url, hold, held}
//   GET  /sandbox/stripe/events.json                ?about=<text>: {events: [{…event, delivery: {state, attempts}}]}, newest first
//   GET  /sandbox/stripe/settled                    ?about=<text>: answers when no delivery about it is on its way any more
//   POST /sandbox/stripe/deliver                    sends what was held back; {delivered: <how many>}
//   POST /sandbox/stripe/events/<id>/resend
//   POST /sandbox/stripe/checkout/<id>/pay          {card?, method?: card|bank_transfer, email?, name?}   402 when it is declined
//   POST /sandbox/stripe/checkout/<id>/expire
//   POST /sandbox/stripe/checkout/<id>/settle       {succeeded}                   the bank confirms the transfer, or does not
//   POST /sandbox/stripe/customers/<id>/card        {card}                        she pays with this one from now on
//   POST /sandbox/stripe/subscriptions/<id>/renew   {fails?}                      one period on; one that was cancelled ends
//   POST /sandbox/stripe/subscriptions/<id>/cancel  {now?}                        at the end of the period, or at once
//   POST /sandbox/stripe/subscriptions/<id>/resume                                not cancelled after all
//   POST /sandbox/stripe/subscriptions/<id>/fail-next                             the payment of its next renewal fails
//   POST /sandbox/stripe/subscriptions/<id>/status  {status}                      what an operator's rules would do: unpaid, paused, …
//   POST /sandbox/stripe/invoices/<id>/pay                                        402 when the card is declined
//   POST /sandbox/stripe/charges/<id>/refund        {amount?}                     minor units; everything that is left
//   POST /sandbox/stripe/charges/<id>/dispute       {amount?, inquiry?}
//   POST /sandbox/stripe/refunds/<id>/fail                                        the bank sends the money back
//   POST /sandbox/stripe/disputes/<id>/close        {won}
//
// Cards are Stripe's test cards (stripe/cards.mjs): 4242424242424242 pays, 4000000000000002 is declined, 4000000000000341 pays
// now and fails at renewals.

import { Hono } from 'hono';
import { actions } from './stripe/actions.mjs';
import { api } from './stripe/api.mjs';
import { Billing } from './stripe/billing.mjs';
import { checkout } from './stripe/checkout.mjs';
import { operator } from './stripe/operator.mjs';
import { portal } from './stripe/portal.mjs';
import { NEWEST } from './stripe/shape.mjs';
import { Store } from './stripe/store.mjs';
import { Webhooks } from './stripe/webhooks.mjs';

// Replicate's part of /v1.
const NOT_OURS = /^\/v1\/(predictions|models|webhooks)(\/|$)/;

// `url` is where this server answers, `webhookUrl` where events go, `keep` the file that holds everything over a restart, if any.
// Answers {app, save}.
export async function stripe({ faults, url, secretKey, webhookUrl, webhookSecret, keep, stopped, log }) {
  const store = await Store.open(keep, log);
  const webhooks = new Webhooks({ store, faults, secret: webhookSecret, endpoint: { url: webhookUrl, api_version: NEWEST }, stopped, log });
  const billing = new Billing({ store, webhooks, faults, url });
  billing.seed();

  const parts = { store, billing, webhooks, faults, secretKey, url, stopped, log };
  const v1 = api(parts);
  const app = new Hono();
  app.use('/v1/*', (c, next) => (NOT_OURS.test(c.req.path) ? next() : v1.fetch(c.req.raw, c.env)));
  for (const part of [actions, checkout, portal, operator]) app.route('/', part(parts));
  return { app, save: () => store.save() };
}
