// Outlives the stack for a moment: when the stack is gone without having stopped its programs (SIGKILL), stops them and
// removes its temporary folder. Its input is a pipe from the stack, with "start <pid>" and "end <pid>" lines.

import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

const temporary = process.argv[2];
const groups = new Set();

for await (const line of createInterface({ input: process.stdin })) {
  const [what, pid] = line.split(' ');
  if (what === 'start') groups.add(Number(pid));
  else groups.delete(Number(pid));
}

function signal(group, name) {
  try {
    process.kill(-group, name);
    return true;
  } catch {
    return false;
  }
}

// First politely: Postgres gives its shared memory back only then.
let left = [...groups].filter((group) => signal(group, 'SIGTERM'));
const late = Date.now() + 5_000;
while (left.length > 0 && Date.now() < late) {
  await delay(50);
  left = left.filter((group) => signal(group, 0));
}
for (const group of left) signal(group, 'SIGKILL');
if (temporary) await rm(temporary, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
