// What Lambda's event source mapping does between the image queue and fetch-image: asks for messages, invokes the function
// with a batch, deletes what succeeded. The rest becomes visible again, and SQS itself moves it to the dead letters.

import { setTimeout as delay } from 'node:timers/promises';
import { DeleteMessageBatchCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { awsClient } from './storage.mjs';
import { QUEUE } from './settings.mjs';

const FUNCTION = 'fetch-image';
const BATCH = 4; // as in template.yaml
const BATCHES_AT_ONCE = 2;
const LONG_POLL_SECONDS = 20;

// A received message as the function sees it.
function record(message) {
  const attributes = Object.entries(message.MessageAttributes ?? {}).map(([name, { StringValue, BinaryValue, DataType }]) => {
    const binary = BinaryValue && { binaryValue: Buffer.from(BinaryValue).toString('base64') };
    return [name, { stringValue: StringValue, ...binary, stringListValues: [], binaryListValues: [], dataType: DataType }];
  });
  return {
    messageId: message.MessageId,
    receiptHandle: message.ReceiptHandle,
    body: message.Body,
    attributes: message.Attributes,
    messageAttributes: Object.fromEntries(attributes),
    md5OfBody: message.MD5OfBody,
    eventSource: 'aws:sqs',
    eventSourceARN: `arn:aws:sqs:us-east-1:123456789012:${QUEUE}`,
    awsRegion: 'us-east-1',
  };
}

// The messages that succeeded, by what the function answered about the batch.
function succeeded(messages, response) {
  const failures = JSON.parse(response)?.batchItemFailures ?? [];
  const failed = new Set(failures.map(({ itemIdentifier }) => itemIdentifier));
  const ids = new Set(messages.map(({ MessageId }) => MessageId));
  // An answer about a message that was never sent is none that can be trusted.
  if (![...failed].every((id) => ids.has(id))) return [];
  return messages.filter(({ MessageId }) => !failed.has(MessageId));
}

// `afterBatch` is called when a batch may have changed the bucket. Answers {stop}.
export async function startPoller({ storageUrl, functionsUrl, queueUrl, afterBatch, log }) {
  const sqs = awsClient(SQSClient, storageUrl);
  const stopping = new AbortController();

  async function invoke(messages) {
    const response = await fetch(`${functionsUrl}/2015-03-31/functions/${FUNCTION}/invocations`, {
      method: 'POST',
      body: JSON.stringify({ Records: messages.map(record) }),
    });
    const answer = await response.text();
    if (!response.ok || response.headers.has('x-amz-function-error')) throw new Error(answer);
    return answer;
  }

  async function serveBatch() {
    const receive = {
      QueueUrl: queueUrl,
      MaxNumberOfMessages: BATCH,
      WaitTimeSeconds: LONG_POLL_SECONDS,
      MessageSystemAttributeNames: ['All'],
      MessageAttributeNames: ['All'],
    };
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand(receive), { abortSignal: stopping.signal });
    if (Messages.length === 0) return;

    const done = succeeded(Messages, await invoke(Messages));
    log(`${done.length} of ${Messages.length} done`);
    if (done.length > 0) {
      const Entries = done.map(({ MessageId, ReceiptHandle }) => ({ Id: MessageId, ReceiptHandle }));
      await sqs.send(new DeleteMessageBatchCommand({ QueueUrl: queueUrl, Entries }));
    }
    await afterBatch();
  }

  async function loop() {
    while (!stopping.signal.aborted) {
      await serveBatch().catch(async (error) => {
        if (stopping.signal.aborted) return;
        log(`a batch failed: ${error.message}`);
        await delay(500, undefined, { signal: stopping.signal }).catch(() => {});
      });
    }
  }
  const loops = Array.from({ length: BATCHES_AT_ONCE }, loop);

  return {
    async stop() {
      stopping.abort();
      await Promise.race([Promise.all(loops), delay(2_000)]);
    },
  };
}
