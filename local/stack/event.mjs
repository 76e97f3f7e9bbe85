// `make event EVENT=events/<function>/<file>.json`: fills the file's {{placeholders}} from the running `make dev`, and hands it
// to its function by `cargo lambda invoke`.

import { execFileSync } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUCKET, DEV_PORTS, keptKeys } from './settings.mjs';

const file = process.argv[2];
if (!file) {
  console.error('Which event? For example: make event EVENT=events/create-influencer/accepted.json');
  process.exit(2);
}
const keys = await keptKeys(fileURLToPath(new URL('../.data/keys.json', import.meta.url)));
const at = (part, path) => `http://127.0.0.1:${DEV_PORTS[part]}${path}`;

async function call(url, { headers, body }) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    redirect: 'manual',
  }).catch(() => {
    throw new Error(`nothing answers at ${url}: start \`make dev\` first`);
  });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

const rpc = (name, body) => call(at('supabase', `/rest/v1/rpc/${name}`), { headers: { apikey: keys.supabaseSecret }, body });

// Somebody new, signed up and confirmed by the link in her mail.
async function signUp() {
  const headers = { apikey: keys.supabasePublishable };
  const credentials = { email: `${randomUUID()}@example.com`, password: randomUUID() };
  await call(at('supabase', '/auth/v1/signup'), { headers, body: credentials });
  const { mails } = await (await fetch(at('sandbox', `/inbox.json?to=${credentials.email}`))).json();
  await fetch(mails[0].links[0], { redirect: 'manual' });
  return call(at('supabase', '/auth/v1/token?grant_type=password'), { headers, body: credentials });
}

// As shared/auth/src/callback_token.rs issues them.
function callbackToken(influencer) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 600;
  const claims = { iss: 'sweetheart', aud: 'n8n-callback', sub: influencer.id, attempt: influencer.attempt, exp };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', keys.callbackToken).update(signed).digest('base64url')}`;
}

function stripeSignature(body) {
  const t = Math.floor(Date.now() / 1000);
  return `t=${t},v1=${createHmac('sha256', keys.stripeWebhook).update(`${t}.${body}`).digest('hex')}`;
}

// As Replicate signs: Standard Webhooks.
function replicateSignature({ headers, body }) {
  const key = Buffer.from(keys.replicateWebhook.replace('whsec_', ''), 'base64');
  return `v1,${createHmac('sha256', key).update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`).digest('base64')}`;
}

// Her set-up has begun, and with `pending` the workflow has answered.
async function influencerOf(user, { pending }) {
  const wish = { p_user_id: user.id, p_request_id: randomUUID(), p_name: 'Clara', p_bio: 'A 29 year old architect.', p_vibe: 'calm', p_deadline_seconds: 600 };
  const { influencer } = await rpc('request_influencer', wish);
  const made = { p_influencer_id: influencer.id, p_attempt: 1, p_base_prompt: 'Clara', p_seed: 1, p_image_url: 'https://example.com' };
  if (pending) await rpc('record_callback', made);
  return influencer;
}

async function drawnImage() {
  const headers = { authorization: `Bearer ${keys.replicateToken}`, prefer: 'wait' };
  const prediction = await call(at('sandbox', '/v1/models/any/model/predictions'), { headers, body: { input: { prompt: 'Clara' } } });
  return prediction.output[0];
}

// She has announced a picture and put it where it belongs. (The running stack hears of it, too.)
async function uploadOf(user) {
  const file = { p_user_id: user.id, p_filename: 'clara.webp', p_content_type: 'image/webp', p_most: 20, p_seconds: 600 };
  const { object_key } = await rpc('announce_upload', file);
  const picture = await (await fetch(await drawnImage())).arrayBuffer();
  const put = await fetch(at('storage', `/${BUCKET}/${object_key}`), { method: 'PUT', body: picture });
  if (!put.ok) throw new Error(`the bucket answered ${put.status}`);
  return object_key;
}

// She has asked for a picture, which with `failed` came to nothing.
async function jobOf(user, { failed }) {
  const wish = { prompt: 'A red dress', model_preset: 'fashion_model_v1', pose_preset: 'standing', scene_preset: 'studio', generation_type: 'standard' };
  const { job } = await rpc('create_generation_job', { p_user_id: user.id, p_request_key: randomUUID(), p_wish: JSON.stringify(wish) });
  const failure = { p_job_id: job.id, p_token: randomUUID(), p_code: 'model_failed', p_message: 'It could not be made.' };
  if (failed) await rpc('fail_generation_job', failure);
  return job;
}

// One of her pictures is done, and in the grid.
async function imageOf(user) {
  const { id } = await jobOf(user, { failed: false });
  const picture = { content_type: 'image/png', bytes: 1, width: 2, height: 3, blurhash: null, object_key: `outputs/${user.id}/${id}/original.png`, image_url: 'https://example.com' };
  await rpc('claim_generation_job', { p_job_id: id, p_token: randomUUID(), p_lease_seconds: 60 });
  await rpc('complete_generation_job', { p_job_id: id, p_output: JSON.stringify(picture) });
  const query = `/rest/v1/images?select=id&object_key=eq.${picture.object_key}`;
  const [image] = await (await fetch(at('supabase', query), { headers: { apikey: keys.supabaseSecret } })).json();
  await rpc('publish_image', { p_user_id: user.id, p_image_id: image.id, p_published: true });
  return image;
}

const name = basename(dirname(file));
const { user, access_token } = await signUp();
const values = { access_token, user_id: user.id };
if (name === 'n8n-callback' || name === 'fetch-image') {
  const influencer = await influencerOf(user, { pending: name === 'fetch-image' });
  values.influencer_id = influencer.id;
  values.callback_token = callbackToken(influencer);
}
if (name === 'fetch-image') values.image_url = await drawnImage();
if (name === 'erase-account') await rpc('begin_account_deletion', { p_user_id: user.id });
if (name === 'register-upload') values.object_key = await uploadOf(user);

const aboutJob = ['get-generation-job', 'cancel-generation-job', 'retry-generation-job', 'process-generation-job', 'replicate-webhook'];
if (aboutJob.includes(name)) {
  values.job_id = (await jobOf(user, { failed: name === 'retry-generation-job' })).id;
}

if (['publish-image', 'like-image', 'report-image', 'hide-image'].includes(name)) values.image_id = (await imageOf(user)).id;

const fill = (text) => text.replace(/\{\{(\w+)\}\}/g, (whole, key) => values[key] ?? whole);
let filled = fill(await readFile(file, 'utf8'));
if (name === 'stripe-webhook') {
  values.stripe_signature = stripeSignature(JSON.parse(filled).body);
  filled = fill(filled);
}
if (name === 'replicate-webhook') {
  values.webhook_timestamp = `${Math.floor(Date.now() / 1000)}`;
  filled = fill(filled);
  values.webhook_signature = replicateSignature(JSON.parse(filled));
  filled = fill(filled);
}
const folder = await mkdtemp(join(tmpdir(), 'event-'));
const data = join(folder, basename(file));
await writeFile(data, filled);
const options = ['--data-file', data, '--invoke-address', '127.0.0.1', '--invoke-port', `${DEV_PORTS.functions}`];
const cargoLambda = fileURLToPath(new URL('../.venv/bin/cargo-lambda', import.meta.url));
try {
  execFileSync(cargoLambda, ['lambda', 'invoke', name, ...options], { stdio: 'inherit' });
} finally {
  await rm(folder, { recursive: true });
}
