// The local cloud: starts everything that stands in for the cloud on this machine, and stops it all again.

import { spawn } from 'node:child_process';
import { createWriteStream, existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Logs } from './logs.mjs';
import { freePorts, holder } from './ports.mjs';
import { scanFile, secretsOf } from './scan-logs.mjs';
import { DEV_PORTS, keptKeys, newKeys } from './settings.mjs';
import { PARTS, Stack } from './stack.mjs';

const USAGE = `Usage: node local/stack/main.mjs <mode>

  dev     on fixed ports, with data in local/.data that survives a restart; Ctrl-C stops everything
  test    on free ports, with fresh data; prints one line of JSON when everything answers, and stops everything when its
          input is closed
  run -- <command>
          as test, but runs the command when everything answers, with the settings in its environment, and ends as it does

After test and run the functions' log lines are looked through for secrets and personal data; one that has any is a failure.

Options of test and run:
  --database=postgres|embedded   a real PostgreSQL server (the default), or Postgres in WASM, which has one connection
  --sweep=SECONDS                from one sweep of the generation jobs to the next; 0 for no clock; else 15
  --set NAME=VALUE               another value for a setting of the functions; may be repeated
`;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const KEPT_LOGS = 10;
const SWEEP_SECONDS = 15;

// Runs the stack until `asked` says why to stop, a signal comes or a part dies. Answers the exit code. `say` tells what went
// wrong, `note` what is going on.
async function live(stack, { say, note, logs, asked, ready }) {
  const signal = new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.on(name, () => {
        resolve();
        // Who asks twice does not want to wait; the watchdog stops the rest.
        process.on(name, () => process.exit(1));
      });
    }
  });
  const broken = new Promise((_, reject) => process.on('uncaughtException', reject).on('unhandledRejection', reject));
  broken.catch(() => {});

  let code = 0;
  const wishes = [signal, asked, stack.died, broken];
  try {
    const started = stack.start().then(ready);
    started.catch(() => {});
    await Promise.race([...wishes, started.then(() => Promise.race(wishes))]);
  } catch (error) {
    code = 1;
    const last = logs.lastOf(error.part).map((line) => `    ${line}\n`);
    say(`\n${error.part ? error.message : `Something broke: ${error.stack}`}\n${last.length > 0 ? `Its last lines:\n${last.join('')}` : ''}`);
  }
  note('\nStopping everything.\n');
  await stack.stop();
  note('Everything is stopped.\n');
  return code;
}

async function dev() {
  const say = (text) => process.stdout.write(text);
  const parts = Object.keys(PARTS).filter((part) => part !== 'database');
  say('Sweetheart starts on this machine:\n\n');
  for (const part of parts) say(`  ${part.padEnd(10)} ${DEV_PORTS[part] ? `:${DEV_PORTS[part]}`.padEnd(7) : ' '.repeat(7)} ${PARTS[part]}\n`);
  say('\n');

  const taken = [];
  for (const [part, port] of Object.entries(DEV_PORTS)) {
    const who = await holder(port);
    if (who) taken.push(`  port ${port}, for ${part}, is taken by ${who}\n`);
  }
  if (taken.length > 0) {
    say(`Nothing was started:\n${taken.join('')}Stop that first.\n`);
    return 1;
  }

  const folder = join(ROOT, 'local/.data');
  await mkdir(folder, { recursive: true });
  const coloured = process.stdout.isTTY && !process.env.NO_COLOR;
  const logs = new Logs({ write: say, coloured });
  const keys = await keptKeys(join(folder, 'keys.json'));
  const times = { predictionMs: 4_000, visibilitySeconds: 30, sweepSeconds: SWEEP_SECONDS };
  const stack = new Stack({ ports: DEV_PORTS, keys, folder, temporary: false, driver: 'pglite', settings: {}, rebuild: true, logs, ...times });
  // For who runs a function by hand: cargo lambda watch --env-file local/.data/functions.env
  const lines = Object.entries(stack.settings).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(join(folder, 'functions.env'), lines.join(''), { mode: 0o600 });
  const ready = () => say(`\n  Open ${stack.urls.web}/sign-up\n  The mails are at ${stack.urls.sandbox}/inbox, what can go wrong at ${stack.urls.sandbox}\n  Ctrl-C stops everything.\n\n`);
  return live(stack, { say, note: say, logs, ready, asked: new Promise(() => {}) });
}

async function openLog() {
  const folder = join(ROOT, 'target/stack-logs');
  await mkdir(folder, { recursive: true });
  const old = (await readdir(folder)).filter((name) => !name.endsWith('.tests.log')).sort().slice(0, 1 - KEPT_LOGS);
  await Promise.all(old.flatMap((name) => [name, testsLogOf(name)]).map((name) => rm(join(folder, name), { force: true })));
  const file = join(folder, `${new Date().toISOString().replaceAll(':', '-')}-${process.pid}.log`);
  return { file, stream: createWriteStream(file) };
}

// Functions that run in the process of a test log here.
const testsLogOf = (file) => file.replace(/\.log$/, '.tests.log');

// Looks for what must not be in a log (I9). Answers the exit code.
async function scanLogs(file, secrets, say) {
  const names = new Set(await readdir(join(ROOT, 'functions')));
  const scans = [await scanFile(file, secrets, (line) => names.has(line.split('│')[0].trim()))];
  if (existsSync(testsLogOf(file))) scans.push(await scanFile(testsLogOf(file), secrets));
  const found = scans.flatMap((scan) => scan.found);
  const lines = scans.reduce((sum, scan) => sum + scan.lines, 0);
  say(found.length > 0
    ? `\nThe functions logged what nobody may read there (I9):\n${found.map((one) => `  ${one}\n`).join('')}`
    : `No secret and nothing personal in the ${lines} lines that the functions logged.\n`);
  return found.length > 0 ? 1 : 0;
}

// `meanwhile(facts)` is what it is all started for; it ends when that does, with that exit code.
async function fresh({ database, sweep, set }, meanwhile) {
  const driver = { postgres: 'postgres', embedded: 'pglite' }[database];
  // The log is that of the cloud, not that of `make dev`.
  const settings = { AWS_LAMBDA_LOG_FORMAT: 'JSON', ...Object.fromEntries(set.map((one) => one.split(/=(.*)/s).slice(0, 2))) };
  const sweepSeconds = Number(sweep);
  if (!driver || !(sweepSeconds >= 0) || Object.values(settings).includes(undefined)) return usage();

  const folder = await mkdtemp(join(tmpdir(), 'sweetheart-'));
  // PostgreSQL runs as another user when we are root, and has its folder in this one.
  await chmod(folder, 0o711);
  const names = [...Object.keys(DEV_PORTS), ...(driver === 'postgres' ? ['database'] : [])];
  const numbers = await freePorts(names.length);
  const ports = Object.fromEntries(names.map((name, i) => [name, numbers[i]]));
  const keys = newKeys();

  const log = await openLog();
  const logs = new Logs({ write: (line) => log.stream.write(line), coloured: false });
  // The last words belong to the command that all this was started for.
  const note = (text) => log.stream.write(text);
  const say = (text) => {
    note(text);
    process.stderr.write(text);
  };
  const times = { predictionMs: 0, visibilitySeconds: 5, sweepSeconds };
  const stack = new Stack({ ports, keys, folder, temporary: true, driver, settings, rebuild: false, logs, ...times });
  process.stderr.write(`The log of this run is ${relative(process.cwd(), log.file)}\n`);

  let end;
  const asked = new Promise((resolve) => (end = resolve));
  let theirs = 0;
  const ready = async () => {
    const facts = {
      urls: stack.urls,
      settings: stack.settings,
      database_url: stack.databaseUrl,
      replicate_token: keys.replicateToken,
      data_dir: folder,
      log_file: log.file,
      // The parent of all function processes; GET <urls.functions>/.processes tells which they are.
      pid: process.pid,
    };
    theirs = await meanwhile(facts);
    end();
  };
  const ours = await live(stack, { say, note, logs, asked, ready });
  await rm(folder, { recursive: true, force: true });
  await new Promise((resolve) => log.stream.end(resolve));
  const told = await scanLogs(log.file, secretsOf(stack.settings), (text) => process.stderr.write(text));
  return ours || theirs || told;
}

function test(options) {
  process.stdout.on('error', () => {});
  return fresh(options, async (facts) => {
    process.stdout.write(`${JSON.stringify(facts)}\n`);
    await new Promise((resolve) => process.stdin.on('end', resolve).on('error', resolve).resume());
    return 0;
  });
}

function run(options, [command, ...args]) {
  if (!command) return usage();
  return fresh(options, async ({ urls, settings, database_url, log_file }) => {
    const env = { ...process.env, ...settings, DATABASE_URL: database_url ?? '', STACK_LOG: log_file, TESTS_LOG: testsLogOf(log_file) };
    for (const [part, url] of Object.entries(urls)) env[`${part.toUpperCase()}_URL`] ??= url;
    const child = spawn(command, args, { stdio: 'inherit', env });
    return new Promise((resolve) => child.on('error', () => resolve(127)).on('close', (code) => resolve(code ?? 1)));
  });
}

function usage() {
  process.stderr.write(USAGE);
  return 2;
}

function read() {
  const options = {
    database: { type: 'string', default: 'postgres' },
    sweep: { type: 'string', default: `${SWEEP_SECONDS}` },
    set: { type: 'string', multiple: true, default: [] },
  };
  try {
    const own = process.argv.slice(2);
    const at = own.indexOf('--');
    const command = at < 0 ? [] : own.splice(at).slice(1);
    return { ...parseArgs({ args: own, options, allowPositionals: true }), command };
  } catch {
    return { positionals: [] };
  }
}

const { values, positionals, command } = read();
const mode = { dev, test, run }[positionals.join(' ')] ?? usage;
process.exitCode = await mode(values, command);
process.exit();
