// Starts programs, each as the head of a process group of its own, follows what they print and how they end, and stops them
// with all that they started.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';

const STOP_SECONDS = 6;

// Looks until `check` answers something true, and answers that. `what` is the sentence for when it never does, or when the
// program that it waits for ends.
export async function waitUntil(what, check, { seconds, stopped, program }) {
  const late = Date.now() + seconds * 1000;
  for (;;) {
    const found = await check().catch(() => undefined);
    if (found) return found;
    if (stopped.aborted) throw stopped.reason;
    if (program.end) throw new Error(`${what}: ${ending(program.end)}`);
    if (Date.now() > late) throw new Error(`${what} within ${seconds} s`);
    await delay(50);
  }
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false; // nobody is left
  }
}

// How a process ended, in words.
export const ending = ({ code, signal }) => (signal ? `it was stopped by ${signal}` : `it ended with exit code ${code}`);

export class Programs {
  #watchdog;
  #running = new Set();

  // `temporary` is a folder that must not outlive this process, if there is one.
  constructor({ temporary }) {
    const script = fileURLToPath(new URL('watchdog.mjs', import.meta.url));
    this.#watchdog = spawn(process.execPath, [script, temporary ?? ''], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    this.#watchdog.stdin.on('error', () => {});
    this.#watchdog.unref();
  }

  // Starts a program and hands each line that it prints to `log`, but not those that match `unless`.
  // Answers {pid, exited, end, stop(signal)}; `exited` is a promise of {code, signal}, which is `end` from then on.
  start(command, args, { log, unless = /^\s*$/, ...options }) {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...options });
    const program = { pid: child.pid };
    program.exited = new Promise((resolve) => {
      child.once('error', (error) => {
        log(`${command} does not start: ${error.message}`);
        resolve({ code: 127, signal: null });
      });
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => unless.test(line) || log(line));
    }

    program.exited.then((end) => (program.end = end));
    if (child.pid) {
      this.#tell(`start ${child.pid}`);
      this.#running.add(program);
      program.exited.then(() => {
        this.#running.delete(program);
        this.#tell(`end ${child.pid}`);
      });
    }
    program.stop = async (signal = 'SIGTERM') => {
      if (!this.#running.has(program)) return;
      signalGroup(child.pid, signal);
      const late = new AbortController();
      await Promise.race([program.exited, delay(STOP_SECONDS * 1000, undefined, { signal: late.signal }).catch(() => {})]);
      late.abort();
      // Also what the program left behind in its group.
      signalGroup(child.pid, 'SIGKILL');
      await program.exited;
    };
    return program;
  }

  // Runs a program to its end; fails unless it succeeds in time.
  async run(what, command, args, { seconds, ...options }) {
    const program = this.start(command, args, options);
    const late = AbortSignal.timeout(seconds * 1000);
    late.addEventListener('abort', () => program.stop());
    const end = await program.exited;
    if (late.aborted) throw new Error(`${what} did not end within ${seconds} s`);
    if (end.code !== 0) throw new Error(`${what} failed: ${ending(end)}`);
  }

  // Whatever still runs is stopped, and the watchdog has nothing left to watch.
  async stopAll() {
    await Promise.all([...this.#running].map((program) => program.stop()));
    this.#watchdog.stdin.end();
  }

  #tell(line) {
    this.#watchdog.stdin.write(`${line}\n`);
  }
}
