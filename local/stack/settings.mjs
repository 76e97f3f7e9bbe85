// The keys of one stack, and the settings that its functions read: the same names as in template.yaml.

import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

const random = (bytes) => randomBytes(bytes).toString('base64url');
// Stripe's keys have no - and no _ after their prefix.
const hex = (bytes) => randomBytes(bytes).toString('hex');

export function newKeys() {
  return {
    supabasePublishable: `sb_publishable_${random(18)}`,
    supabaseSecret: `sb_secret_${random(24)}`,
    supabaseJwt: random(48),
    n8nWebhook: random(32),
    callbackToken: random(48),
    callbackHmac: random(32),
    replicateToken: `r8_${random(24)}`,
    replicateWebhook: `whsec_${randomBytes(24).toString('base64')}`,
    fal: `${randomUUID()}:${hex(16)}`,
    stripeSecret: `sk_test_${hex(24)}`,
    stripeWebhook: `whsec_${hex(16)}`,
  };
}

// Made once, so that sessions survive a restart.
export async function keptKeys(file) {
  let kept = {};
  try {
    kept = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw new Error(`${file} cannot be read: ${error.message}. Remove it, and new keys are made.`);
  }
  const keys = { ...newKeys(), ...kept };
  if (Object.keys(keys).length === Object.keys(kept).length) return keys;
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 });
  return keys;
}

// Of `make dev`.
export const DEV_PORTS = { web: 3000, supabase: 54321, functions: 9000, storage: 4566, sandbox: 4010 };

export const BUCKET = 'sweetheart-media';
// Which function each queue is for, and how many messages it is handed at once: as in template.yaml.
export const QUEUES = {
  'influencer-images': { name: 'fetch-image', batch: 4 },
  uploads: { name: 'register-upload', batch: 1 },
  'generation-jobs': { name: 'process-generation-job', batch: 1 },
  'account-erasures': { name: 'erase-account', batch: 1 },
};
export const MAX_RECEIVE_COUNT = 4;
const ACCOUNT = '123456789012'; // moto's

export const queueUrl = (storageUrl, queue) => `${storageUrl}/${ACCOUNT}/${queue}`;
export const queueArn = (queue) => `arn:aws:sqs:us-east-1:${ACCOUNT}:${queue}`;

export const aws = (storageUrl) => ({
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'local',
  AWS_SECRET_ACCESS_KEY: 'local',
  AWS_ENDPOINT_URL: storageUrl,
});

export function functionSettings({ urls, keys }) {
  return {
    SUPABASE_URL: urls.supabase,
    SUPABASE_PUBLISHABLE_KEY: keys.supabasePublishable,
    SUPABASE_SECRET_KEY: keys.supabaseSecret,
    SUPABASE_JWT_SECRET: keys.supabaseJwt,
    CLERK_ISSUER: urls.sandbox,
    CLERK_ORIGINS: urls.web,
    N8N_WEBHOOK_URL: `${urls.sandbox}/webhook/influencer-set-up`,
    N8N_WEBHOOK_SECRET: keys.n8nWebhook,
    CALLBACK_URL: `${urls.functions}/lambda-url/n8n-callback/`,
    CALLBACK_TOKEN_SECRET: keys.callbackToken,
    CALLBACK_HMAC_SECRET: keys.callbackHmac,
    SETUP_DEADLINE_SECONDS: '600',
    IMAGE_QUEUE_URL: queueUrl(urls.storage, 'influencer-images'),
    IMAGE_MAX_RECEIVE_COUNT: `${MAX_RECEIVE_COUNT}`,
    UPLOAD_QUEUE_URL: queueUrl(urls.storage, 'uploads'),
    GENERATION_QUEUE_URL: queueUrl(urls.storage, 'generation-jobs'),
    GENERATION_MAX_RECEIVE_COUNT: `${MAX_RECEIVE_COUNT}`,
    ERASURE_QUEUE_URL: queueUrl(urls.storage, 'account-erasures'),
    MEDIA_BUCKET: BUCKET,
    MEDIA_BASE_URL: `${urls.storage}/${BUCKET}`,
    IMAGE_HOSTS: 'replicate.delivery',
    MAX_IMAGE_BYTES: '52428800',
    LOCAL_IMAGE_ORIGIN: urls.sandbox,
    REPLICATE_API_URL: urls.sandbox,
    REPLICATE_API_TOKEN: keys.replicateToken,
    REPLICATE_WEBHOOK_SECRET: keys.replicateWebhook,
    REPLICATE_WEBHOOK_URL: `${urls.functions}/lambda-url/replicate-webhook/`,
    FAL_API_URL: `${urls.sandbox}/fal`,
    FAL_PLATFORM_URL: `${urls.sandbox}/fal-platform`,
    FAL_KEY: keys.fal,
    STRIPE_API_URL: urls.sandbox,
    STRIPE_SECRET_KEY: keys.stripeSecret,
    STRIPE_WEBHOOK_SECRET: keys.stripeWebhook,
    STRIPE_LIVEMODE: 'false',
    SITE_ORIGINS: urls.web,
    ...aws(urls.storage),
  };
}
