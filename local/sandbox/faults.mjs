// What goes wrong next, chosen by a person on the home page or by a test: each once, unless it says how often.

export const FAULTS = {
  n8n_down: 'n8n is down: it answers 503',
  n8n_reset: 'n8n drops the connection',
  n8n_silent: 'n8n accepts, and never calls back',
  replicate_fails: 'The prediction fails: its filter finds the picture indecent',
  replicate_slow: 'The prediction is unfinished when asked for, and has to be polled',
  image_gone: 'The image is gone: 404',
  image_not_an_image: 'The image is an HTML page that calls itself image/webp',
  image_truncated: 'The image ends in the middle',
  image_server_error: 'The image server answers 500',
  stripe_webhook_twice: 'Stripe delivers every event of a change twice',
  stripe_webhook_held: 'Stripe holds the events of a change back, until told on its page',
  stripe_webhook_reversed: 'Stripe delivers the events of a change in reverse order',
  stripe_api_500: "Stripe's API answers 500",
  stripe_api_429: "Stripe's API answers 429: too many requests",
  stripe_api_hangs: "Stripe's API does nothing, and never answers",
  stripe_api_lost: "Stripe's API does what it was asked, and the connection breaks before the answer",
  stripe_card_declined: 'The card is declined at checkout',
  stripe_renewal_fails: 'The payment of a renewal fails',
};

export class Faults {
  #armed = [];

  // `only` keeps a fault for requests that mention this text, so that tests beside each other do not meet it.
  arm({ fault, times = 1, only = '' }) {
    if (!(fault in FAULTS)) throw new RangeError(`unknown fault ${JSON.stringify(fault)}; known: ${Object.keys(FAULTS).join(', ')}`);
    if (!Number.isInteger(times) || times < 1) throw new RangeError('times must be a whole number from 1');
    if (typeof only !== 'string') throw new RangeError('only must be a text');
    this.#armed.push({ fault, times, only });
  }

  // Whether `fault` strikes a request that says `text`; uses it up.
  strikes(fault, text) {
    const at = this.#armed.findIndex((armed) => armed.fault === fault && text.includes(armed.only));
    if (at < 0) return false;
    this.#armed[at].times -= 1;
    if (this.#armed[at].times === 0) this.#armed.splice(at, 1);
    return true;
  }

  armed() {
    return structuredClone(this.#armed);
  }

  clear() {
    this.#armed = [];
  }
}
