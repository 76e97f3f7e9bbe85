// S3 and SQS by moto: the bucket of images, the queues with their dead letters, and what the bucket tells a queue. moto keeps
// everything in memory; `keep` is a folder that holds the images over a restart.

import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  CreateBucketCommand,
  GetObjectCommand,
  PutBucketCorsCommand,
  PutBucketNotificationConfigurationCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} from '@aws-sdk/client-s3';
import { CreateQueueCommand, SQSClient } from '@aws-sdk/client-sqs';
import { waitUntil } from './process.mjs';
import { BUCKET, MAX_RECEIVE_COUNT, QUEUES, aws, queueArn } from './settings.mjs';

const MOTO = fileURLToPath(new URL('../.venv/bin/moto_server', import.meta.url));
const TYPES = { '.webp': 'image/webp', '.png': 'image/png', '.jpg': 'image/jpeg', '.gif': 'image/gif' };

export function awsClient(Client, storageUrl) {
  const { AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = aws(storageUrl);
  const credentials = { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY };
  return new Client({ region: AWS_REGION, endpoint: storageUrl, credentials, forcePathStyle: true });
}

async function createQueue(sqs, queue, visibilitySeconds) {
  const letters = `${queue}-dlq`;
  await sqs.send(new CreateQueueCommand({ QueueName: letters }));
  const redrive = JSON.stringify({ deadLetterTargetArn: queueArn(letters), maxReceiveCount: MAX_RECEIVE_COUNT });
  await sqs.send(new CreateQueueCommand({ QueueName: queue, Attributes: { VisibilityTimeout: `${visibilitySeconds}`, RedrivePolicy: redrive } }));
}

// As in template.yaml: browsers post to the bucket from our pages, and a queue hears of it. (moto lets every origin, and does not
// check a form's policy.)
async function openForUploads(s3, siteUrl) {
  const CORSRules = [{ AllowedOrigins: [siteUrl], AllowedMethods: ['POST'], AllowedHeaders: ['*'], MaxAgeSeconds: 3600 }];
  await s3.send(new PutBucketCorsCommand({ Bucket: BUCKET, CORSConfiguration: { CORSRules } }));
  const Filter = { Key: { FilterRules: [{ Name: 'prefix', Value: 'uploads/' }] } };
  const QueueConfigurations = [{ QueueArn: queueArn('uploads'), Events: ['s3:ObjectCreated:*'], Filter }];
  await s3.send(new PutBucketNotificationConfigurationCommand({ Bucket: BUCKET, NotificationConfiguration: { QueueConfigurations } }));
}

async function filesIn(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
}

async function restore(s3, folder) {
  await mkdir(folder, { recursive: true });
  for (const file of await filesIn(folder)) {
    const object = { Bucket: BUCKET, Key: relative(folder, file), Body: await readFile(file), ContentType: TYPES[extname(file)] };
    await s3.send(new PutObjectCommand(object));
  }
}

async function save(s3, folder) {
  const gone = new Set(await filesIn(folder));
  for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket: BUCKET })) {
    for (const { Key } of Contents) {
      const file = join(folder, Key);
      const object = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, await object.Body.transformToByteArray());
      gone.delete(file);
    }
  }
  for (const file of gone) await rm(file, { force: true });
}

// Answers {save}: call it when the bucket has changed.
export async function startStorage({ port, url, siteUrl, visibilitySeconds, keep, programs, log, stopped }) {
  // A line for each request is too much: the queue is asked all the time.
  const unless = /^\s*$|" \d{3} -$|Press CTRL\+C|development server|Running on/;
  const program = programs.start(MOTO, ['-H', '127.0.0.1', '-p', `${port}`], { log, unless });
  const answers = () => fetch(`${url}/moto-api/data.json`).then((response) => response.ok);
  await waitUntil(`moto did not answer at ${url}`, answers, { seconds: 60, stopped, program });

  const s3 = awsClient(S3Client, url);
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }));
  const sqs = awsClient(SQSClient, url);
  for (const queue of Object.keys(QUEUES)) await createQueue(sqs, queue, visibilitySeconds);
  if (keep) await restore(s3, keep);
  await openForUploads(s3, siteUrl);
  return { program, save: async () => keep && save(s3, keep), stop: () => program.stop() };
}
