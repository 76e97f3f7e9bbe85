// Stripe's way to write parameters: `a[b][0][c]=d`, as a form or a query, and what an endpoint takes of them.

import { StripeError, invalid } from './error.mjs';

// Names and values as a tree; lists are objects with the keys 0, 1, ….
export function tree(pairs) {
  const branch = () => Object.create(null);
  const root = branch();
  for (const [name, value] of pairs) {
    const steps = name.replaceAll(']', '').split('[');
    let at = root;
    steps.forEach((step, i) => {
      const key = step === '' ? `${Object.keys(at).length}` : step;
      if (i === steps.length - 1) at[key] = value;
      else at = at[key] = typeof at[key] === 'object' ? at[key] : branch();
    });
  }
  return root;
}

// The leaves of a schema: each takes what was sent and answers the value.

export function text(value, param) {
  if (typeof value !== 'string') throw invalid('Invalid string', param);
  if (value !== '') return value;
  const unset = `We assume empty values are an attempt to unset a parameter; however '${param}' cannot be unset.`;
  throw invalid(
    `You passed an empty string for '${param}'. ${unset} You should remove '${param}' from your request or supply a non-empty value.`,
    param,
    'parameter_invalid_empty',
  );
}

// An empty one takes the value away.
export const clearable = (value, param) => (value === '' ? null : text(value, param));

export function integer(value, param) {
  if (!/^-?\d+$/.test(value)) throw invalid(`Invalid integer: ${value}`, param, 'parameter_invalid_integer');
  return Number(value);
}

export function bool(value, param) {
  if (value !== 'true' && value !== 'false') throw invalid(`Invalid boolean: ${value}`, param);
  return value === 'true';
}

export const oneOf =
  (...names) =>
  (value, param) => {
    if (!names.includes(value)) throw invalid(`Invalid ${param}: must be one of ${names.join(', ')}`, param);
    return value;
  };

export function url(value, param) {
  const parsed = URL.canParse(value) && new URL(value);
  if (!parsed || !/^https?:$/.test(parsed.protocol)) throw invalid('Not a valid URL', param, 'url_invalid');
  return value;
}

// Up to 50 texts; an empty one takes its key away.
export function metadata(value, param) {
  if (value === '') return null;
  if (typeof value !== 'object') throw invalid('Invalid object', param);
  const entries = Object.entries(value);
  if (entries.length > 50) throw invalid('You can have up to 50 metadata keys.', param);
  for (const [key, one] of entries) {
    if (typeof one !== 'string') throw invalid('Metadata values must be strings', `${param}[${key}]`);
    if (key.length > 40) throw invalid('Metadata keys can have up to 40 characters.', `${param}[${key}]`);
    if (one.length > 500) throw invalid('Metadata values can have up to 500 characters.', `${param}[${key}]`);
  }
  return value;
}

// A moment, or bounds of it.
export function range(value, param) {
  if (typeof value === 'string') return { gte: integer(value, param), lte: integer(value, param) };
  return read({ gt: integer, gte: integer, lt: integer, lte: integer }, value, param);
}

// What `schema` takes of a tree: a leaf, {name: schema} or [schema]. Another name is an error.
export function read(schema, value, param = '') {
  if (typeof schema === 'function') return schema(value, param);
  if (typeof value !== 'object') throw invalid(`Invalid ${Array.isArray(schema) ? 'array' : 'object'}`, param);
  if (Array.isArray(schema)) return Object.keys(value).map((key, i) => read(schema[0], value[key], `${param}[${i}]`));
  const name = (key) => (param ? `${param}[${key}]` : key);
  const unknown = Object.keys(value)
    .filter((key) => !Object.hasOwn(schema, key))
    .map(name);
  if (unknown.length > 0) {
    const words = unknown.length > 1 ? 'Received unknown parameters' : 'Received unknown parameter';
    throw new StripeError(400, `${words}: ${unknown.join(', ')}`, { code: 'parameter_unknown', param: unknown[0] });
  }
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, read(schema[key], one, name(key))]));
}
