// S3 and SQS by moto: the bucket of images, the queue that fetch-image reads, and its dead letters. moto keeps everything in
// memory; `keep` is a folder that holds the images over a restart.

import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { waitUntil } from './process.mjs';
import { BUCKET, MAX_RECEIVE_COUNT, QUEUE, aws } from './settings.mjs';

const MOTO = fileURLToPath(new URL('../.venv/bin/moto_server', import.meta.url));
const TYPES = { '.webp': 'image/webp', '.png': 'image/png', '.jpg': 'image/jpeg' };

export function awsClient(Client, storageUrl) {
  const { AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = aws(storageUrl);
  const credentials = { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY };
  return new Client({ region: AWS_REGION, endpoint: storageUrl, credentials, forcePathStyle: true });
}

async function createQueues(sqs, visibilitySeconds) {
  const letters = await sqs.send(new CreateQueueCommand({ QueueName: `${QUEUE}-dlq` }));
  const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: letters.QueueUrl, AttributeNames: ['QueueArn'] }));
  const redrive = JSON.stringify({ deadLetterTargetArn: Attributes.QueueArn, maxReceiveCount: MAX_RECEIVE_COUNT });
  await sqs.send(new CreateQueueCommand({ QueueName: QUEUE, Attributes: { VisibilityTimeout: `${visibilitySeconds}`, RedrivePolicy: redrive } }));
}

async function restore(s3, folder) {
  await mkdir(folder, { recursive: true });
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((one) => one.isFile())) {
    const file = join(entry.parentPath, entry.name);
    const object = { Bucket: BUCKET, Key: relative(folder, file), Body: await readFile(file), ContentType: TYPES[extname(file)] };
    await s3.send(new PutObjectCommand(object));
  }
}

async function save(s3, folder) {
  const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET }));
  for (const { Key } of Contents) {
    const object = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
    const file = join(folder, Key);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, await object.Body.transformToByteArray());
  }
}

// Answers {save}: call it when the bucket has changed.
export async function startStorage({ port, url, visibilitySeconds, keep, programs, log, stopped }) {
  // A line for each request is too much: the queue is asked all the time.
  const unless = /^\s*$|" \d{3} -$|Press CTRL\+C|development server|Running on/;
  const program = programs.start(MOTO, ['-H', '127.0.0.1', '-p', `${port}`], { log, unless });
  const answers = () => fetch(`${url}/moto-api/data.json`).then((response) => response.ok);
  await waitUntil(`moto did not answer at ${url}`, answers, { seconds: 60, stopped, program });

  const s3 = awsClient(S3Client, url);
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }));
  await createQueues(awsClient(SQSClient, url), visibilitySeconds);
  if (keep) await restore(s3, keep);
  return { program, save: async () => keep && save(s3, keep), stop: () => program.stop() };
}
