// What Lambda's event source mappings do between a queue and its function: ask for messages, invoke the function with a batch,
// delete what succeeded. The rest becomes visible again, and SQS itself moves it to the dead letters.

import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { DeleteMessageBatchCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { awsClient } from './storage.mjs';
import { QUEUES, queueArn, queueUrl } from './settings.mjs';

const BATCHES_AT_ONCE = 2; // of each queue
const LONG_POLL_SECONDS = 20;

// A message received from a queue, as the function sees it.
function record(queue, message) {
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
    eventSourceARN: queueArn(queue),
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
export async function startPoller({ storageUrl, functionsUrl, afterBatch, log }) {
  const sqs = awsClient(SQSClient, storageUrl);
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal); // every request listens

  async function invoke(queue, messages) {
    const response = await fetch(`${functionsUrl}/2015-03-31/functions/${QUEUES[queue].name}/invocations`, {
      method: 'POST',
      body: JSON.stringify({ Records: messages.map((message) => record(queue, message)) }),
    });
    const answer = await response.text();
    if (!response.ok || response.headers.has('x-amz-function-error')) throw new Error(answer);
    return answer;
  }

  async function serveBatch(queue) {
    const QueueUrl = queueUrl(storageUrl, queue);
    const receive = {
      QueueUrl,
      MaxNumberOfMessages: QUEUES[queue].batch,
      WaitTimeSeconds: LONG_POLL_SECONDS,
      MessageSystemAttributeNames: ['All'],
      MessageAttributeNames: ['All'],
    };
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand(receive), { abortSignal: stopping.signal });
    if (Messages.length === 0) return;

    const done = succeeded(Messages, await invoke(queue, Messages));
    log(`${queue}: ${done.length} of ${Messages.length} done`);
    if (done.length > 0) {
      const Entries = done.map(({ MessageId, ReceiptHandle }) => ({ Id: MessageId, ReceiptHandle }));
      await sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
    }
    await afterBatch();
  }

  async function loop(queue) {
    while (!stopping.signal.aborted) {
      await serveBatch(queue).catch(async (error) => {
        if (stopping.signal.aborted) return;
        log(`${queue}: a batch failed: ${error.message}`);
        await delay(500, undefined, { signal: stopping.signal }).catch(() => {});
      });
    }
  }
  const loops = Object.keys(QUEUES).flatMap((queue) => Array.from({ length: BATCHES_AT_ONCE }, () => loop(queue)));

  return {
    async stop() {
      stopping.abort();
      await Promise.race([Promise.all(loops), delay(2_000)]);
    },
  };
}
