// What EventBridge Scheduler does in the cloud: invokes the functions of the clock, at intervals that suit one machine.

import { setTimeout as delay } from 'node:timers/promises';

const HOUR_SECONDS = 60 * 60;
const DAY_SECONDS = 24 * HOUR_SECONDS;
const CLEAN_UPS = [{ task: 'uploads' }, { task: 'job_events' }];

// `sweepSeconds` from one sweep to the next; `keeps` whether data stay over a restart, so that there is something to clean up and to
// check.
// `afterCleanUp` is called when the bucket may have changed. Answers {stop}.
export function startClock({ functionsUrl, sweepSeconds, keeps, afterCleanUp, log }) {
  const stopping = new AbortController();
  const { signal } = stopping;

  async function invoke(name, payload) {
    const url = `${functionsUrl}/2015-03-31/functions/${name}/invocations`;
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(payload), signal });
    const answer = await response.text();
    if (!response.ok || response.headers.has('x-amz-function-error')) throw new Error(answer);
  }

  async function every(seconds, what, tick) {
    while (!signal.aborted) {
      await tick().catch((error) => signal.aborted || log(`${what} failed: ${error.message}`));
      await delay(seconds * 1000, undefined, { signal }).catch(() => {});
    }
  }

  const loops = [every(sweepSeconds, 'sweep-generation-jobs', () => invoke('sweep-generation-jobs', {}))];
  if (keeps) {
    // Weekly and monthly in the cloud. A machine like this one is seldom on for as long: at each start, and daily.
    const cleanUp = async () => {
      for (const task of CLEAN_UPS) await invoke('clean-up', task);
      await afterCleanUp();
    };
    loops.push(every(DAY_SECONDS, 'clean-up', cleanUp));
    loops.push(every(HOUR_SECONDS, 'check-invariants', () => invoke('check-invariants', {})));
  }

  return {
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
  };
}
