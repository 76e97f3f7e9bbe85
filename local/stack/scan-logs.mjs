// No secret, token or personal data in any log line (I9): looks through what the functions logged in a whole run. It says where
// and what kind of thing it found, and never what.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

const PATTERNS = {
  'a JWT, or base64 of JSON': /eyJ[\w-]{16}/,
  'a bearer token': /bearer\s+[\w.~+/-]{20}/i,
  "a key or a secret of Stripe's or Replicate's": /\b([sr]k_(test|live)_|whsec_|r8_)\w{8}/,
  'a signed link': /X-Amz-(Signature|Credential|Security-Token)/i,
  "a link to somebody's checkout or billing account": /\/(p\/session|c\/pay|portal|checkout)\/\w/,
  'an e-mail address': /[\w.+-]+(@|%40)[\w-]+(\.[\w-]+)+/,
  'a card number': /\b4242[ -]?4242[ -]?4242[ -]?4242\b/,
};

// What the people of the tests say, are called or chose: names, bios, prompts, files, passwords. Some are in every run.
export const CANARIES = [
  'Clara', 'Mia Prima', 'architect', 'Lisbon', 'private life', 'Warm and witty', 'Photograph of', 'red dress', 'red coat', 'By the sea',
  'lighthouse at dusk', 'dress.png', 'gown.png', 'Jenny Rosen', 'Rua Augusta', '912 345 678', 'correct horse', 'a quiet evening',
];

// The settings that nobody else may know. Those of the local AWS are the word "local", and open nothing.
export function secretsOf(settings) {
  const secret = ([name]) => /SECRET|TOKEN|_KEY$/.test(name) && !/^AWS_|PUBLISHABLE/.test(name);
  return Object.fromEntries(Object.entries(settings).filter(secret));
}

// What is wrong with a line: kinds of things, in words.
export function findings(line, secrets) {
  const found = Object.entries(PATTERNS).filter(([, pattern]) => pattern.test(line)).map(([kind]) => kind);
  found.push(...Object.entries(secrets).filter(([, value]) => line.includes(value)).map(([name]) => `the value of ${name}`));
  found.push(...CANARIES.filter((word) => line.includes(word)).map((word) => `"${word}", which somebody wrote`));
  return found;
}

// Looks at the lines of a file that `ours` accepts. Answers how many there were, and a sentence for each find.
export async function scanFile(file, secrets, ours = () => true) {
  const found = [];
  let at = 0;
  let lines = 0;
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    at += 1;
    if (!ours(line)) continue;
    lines += 1;
    found.push(...findings(line, secrets).map((kind) => `${file}:${at}: ${kind}`));
  }
  return { lines, found };
}
