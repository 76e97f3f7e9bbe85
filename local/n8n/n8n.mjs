// The real n8n with our workflow in it, on a free port, its data in a temporary folder.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = fileURLToPath(new URL('.', import.meta.url));
const workflow = fileURLToPath(new URL('../../infra/n8n/influencer-set-up.json', import.meta.url));
const program = join(here, 'node_modules/n8n/bin/n8n');
const run = promisify(execFile);

/**
 * Brings node_modules to what pnpm-lock.yaml says: minutes and 1.2 GB the first time, a moment later on.
 * package.json overrides what n8n itself leaves open or takes from outside the registry: xlsx is a tarball on another site,
 * and later versions of langgraph do not fit the langchain that n8n pins.
 */
export async function install() {
  const { packageManager } = JSON.parse(await readFile(join(here, 'package.json'), 'utf8'));
  const pnpm = spawn('npx', ['--yes', packageManager, 'install', '--frozen-lockfile', '--reporter=append-only'],
    { cwd: here, stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(pnpm, 'exit');
  if (code !== 0) throw new Error(`pnpm install ended with ${code}`);
}

/** A port that nobody listens on. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Starts n8n with the workflow active. `settings` are the workflow's own (infra/n8n/README.md).
 * Resolves with the webhook's `url` and `stop()`.
 */
export async function start(port, settings) {
  const folder = await mkdtemp(join(tmpdir(), 'sweetheart-n8n-'));
  const env = {
    PATH: process.env.PATH,
    N8N_USER_FOLDER: folder,
    N8N_LISTEN_ADDRESS: '127.0.0.1',
    N8N_PORT: String(port),
    N8N_BLOCK_ENV_ACCESS_IN_NODE: 'false',
    // Code nodes in a process of their own, as on n8n cloud.
    N8N_RUNNERS_ENABLED: 'true',
    N8N_RUNNERS_BROKER_PORT: String(await freePort()),
    // The default engine needs Node 22.
    ...(parseInt(process.versions.node) < 22 && { N8N_EXPRESSION_ENGINE: 'legacy' }),
    // Nothing leaves this machine.
    N8N_DIAGNOSTICS_ENABLED: 'false',
    N8N_VERSION_NOTIFICATIONS_ENABLED: 'false',
    N8N_TEMPLATES_ENABLED: 'false',
    ...settings,
  };
  const { id } = JSON.parse(await readFile(workflow, 'utf8'));
  await run(process.execPath, [program, 'import:workflow', `--input=${workflow}`], { env });
  await run(process.execPath, [program, 'update:workflow', `--id=${id}`, '--active=true'], { env });

  const server = spawn(process.execPath, [program, 'start'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(server, 'exit');
  // It must not outlive this process, however that ends.
  process.once('exit', () => server.kill('SIGKILL'));
  process.once('SIGTERM', () => process.exit(1));
  let log = '';
  const ready = new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`n8n did not start within 2 minutes:\n${log}`)), 120_000);
    const read = (chunk) => {
      log += chunk;
      if (!log.includes('Editor is now accessible')) return;
      clearTimeout(late);
      resolve();
    };
    server.stdout.on('data', read);
    server.stderr.on('data', read);
    ended.then(([code]) => { clearTimeout(late); reject(new Error(`n8n ended with ${code}:\n${log}`)); });
  });

  const stop = async () => {
    server.kill('SIGTERM');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready;
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://127.0.0.1:${port}/webhook/influencer-set-up`, stop };
}
