import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CANARIES, findings, scanFile, secretsOf } from './scan-logs.mjs';
import { functionSettings, newKeys } from './settings.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const urls = { supabase: 'http://s', sandbox: 'http://x', functions: 'http://f', storage: 'http://a', web: 'http://w' };
const keys = newKeys();
const secrets = secretsOf(functionSettings({ urls, keys }));

const line = (text) => JSON.stringify({ level: 'INFO', fields: { message: 'request failed', causes: text } });

test('every key of a stack is looked for', () => {
  const { supabasePublishable, ...secret } = keys;
  assert.deepEqual(Object.values(secrets).sort(), Object.values(secret).sort());
  for (const [name, value] of Object.entries(secrets)) {
    assert.ok(findings(line(`connecting with ${value}`), secrets).includes(`the value of ${name}`), name);
  }
  assert.deepEqual(findings(line(supabasePublishable), secrets), [], 'it is in every page');
});

test('each kind of thing that must not be logged is found', () => {
  for (const [kind, text] of [
    ['a JWT, or base64 of JSON', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl'],
    ['a bearer token', 'authorization: Bearer 0123456789abcdefghij'],
    ["a key or a secret of Stripe's or Replicate's", 'sk_test_0123456789'],
    ["a key or a secret of Stripe's or Replicate's", 'whsec_0123456789'],
    ['a signed link', 'https://bucket.example/users/1/initial.webp?X-Amz-Signature=01'],
    ["a link to somebody's checkout or billing account", 'https://billing.stripe.com/p/session/test_1'],
    ['an e-mail address', 'no such user: mia@example.com'],
    ['an e-mail address', '/inbox.json?to=mia%40example.com'],
    ['a card number', '4242 4242 4242 4242'],
    ['"Clara", which somebody wrote', 'duplicate key (name)=(Clara)'],
  ]) {
    assert.ok(findings(line(text), secrets).includes(kind), `${kind}: ${text}`);
  }
});

test('what functions should log is let through', () => {
  const fields = { message: 'request served', method: 'GET', path: '/checkout-sessions', status: 401, code: 'unauthenticated', causes: 'ExpiredSignature' };
  const id = '3f9d6b1e-3b1c-4f0a-8a53-2f6a5c0d7e21';
  assert.deepEqual(findings(JSON.stringify({ level: 'INFO', fields, 'user.id': id, key: `uploads/${id}/${id}.png` }), secrets), []);
});

test('a find is told by its place and kind, and not told itself', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'scan-logs-'));
  const file = join(folder, 'a.log');
  await writeFile(file, `sandbox │ To: mia@example.com\nget-dashboard │ fine\nget-dashboard │ mia@example.com\n`);
  const { lines, found } = await scanFile(file, secrets, (text) => text.startsWith('get-dashboard'));
  assert.deepEqual([lines, found], [2, [`${file}:3: an e-mail address`]]);
  await rm(folder, { recursive: true });
});

test('every word that is looked for is one that a test or the sandbox writes', async () => {
  const folders = ['tests/it', 'tests/browser', 'tests/api', 'local/sandbox', 'local/sandbox/stripe'];
  const texts = await Promise.all(folders.map(async (folder) => {
    const names = (await readdir(join(ROOT, folder))).filter((name) => /\.(rs|mjs|py)$/.test(name));
    return Promise.all(names.map((name) => readFile(join(ROOT, folder, name), 'utf8')));
  }));
  const written = texts.flat().join('\n');
  assert.deepEqual(CANARIES.filter((word) => !written.includes(word)), []);
});
