// What goes wrong next, chosen by a person on the home page or by a test: each once, unless it says how often.

export const FAULTS = {
  n8n_down: 'n8n is down: it answers 503',
  n8n_reset: 'n8n drops the connection',
  n8n_silent: 'n8n accepts, and never calls back',
  replicate_fails: 'The prediction fails: its filter finds the picture indecent',
  replicate_breaks: 'The prediction fails: the model runs out of memory',
  replicate_slow: 'The prediction is unfinished when asked for, and has to be polled',
  replicate_stalls: 'The prediction never ends',
  replicate_aborted: 'The prediction does not start in time, and is aborted',
  replicate_webhook_twice: "Replicate's webhook comes twice",
  replicate_webhook_lost: "Replicate's webhook never comes",
  replicate_webhook_early: "Replicate's webhook comes before the prediction is answered",
  replicate_webhook_forged: "Somebody else sends Replicate's webhook, with a wrong signature",
  replicate_api_500: "Replicate's API does nothing, and answers 500",
  replicate_api_429: "Replicate's API answers 429: too many requests",
  replicate_api_lost: "Replicate's API makes the prediction, and the connection breaks before the answer",
  fal_refuses: "fal's filter finds the picture indecent, and delivers a black one",
  fal_breaks: "fal's model fails",
  fal_slow: 'The picture of fal takes a while',
  fal_stalls: 'The picture of fal is never done',
  fal_api_500: "fal's API does nothing, and answers 500",
  fal_api_429: "fal's API answers 429: too many requests",
  fal_api_lost: "fal's API takes the request, and the connection breaks before the answer",
  image_gone: 'The image is gone: 404',
  image_not_an_image: 'The image is an HTML page that calls itself image/webp',
  image_truncated: 'The image ends in the middle',
  image_large: 'The image has 50 megapixels',
  image_huge: 'The image has 64 MB',
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
