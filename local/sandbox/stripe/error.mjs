// Stripe's error envelope (https://docs.stripe.com/api/errors).

export class StripeError extends Error {
  // `fields` are those of the envelope: type, code, param, decline_code, …
  constructor(status, message, fields = {}) {
    super(message);
    this.status = status;
    this.fields = { type: 'invalid_request_error', ...fields };
  }

  envelope(requestId) {
    const { code } = this.fields;
    const help = code && { doc_url: `https://stripe.com/docs/error-codes/${code.replaceAll('_', '-')}` };
    const log = requestId && { request_log_url: `https://dashboard.stripe.com/test/logs/${requestId}` };
    return { error: { ...this.fields, ...help, message: this.message, ...log } };
  }
}

export const invalid = (message, param, code) => new StripeError(400, message, { ...(code && { code }), ...(param && { param }) });

// The object that a path names is missing (404), or one that a parameter names (400).
export const missing = (what, id, param = 'id') =>
  new StripeError(param === 'id' ? 404 : 400, `No such ${what}: '${id}'`, { code: 'resource_missing', param });
