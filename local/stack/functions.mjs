// The functions: builds them with cargo, runs them as Lambda does (lambda.mjs), and builds them again when their source changes.

import { execFile } from 'node:child_process';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { watch } from 'chokidar';
import { serveLambda } from './lambda.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MOST_PROCESSES = 8;

// The binaries of functions/*, where cargo puts them, and the HTTP API's routes, which stand in Cargo.toml.
async function describe() {
  const args = ['metadata', '--no-deps', '--format-version', '1'];
  const { stdout } = await promisify(execFile)('cargo', args, { cwd: ROOT, maxBuffer: 64 * 1024 * 1024 });
  const { packages, metadata, target_directory } = JSON.parse(stdout);
  const names = packages.filter(({ manifest_path }) => basename(dirname(dirname(manifest_path))) === 'functions').map(({ name }) => name);
  const router = metadata?.lambda?.watch?.router ?? {};
  const routes = Object.entries(router).flatMap(([path, targets]) => targets.map((target) => ({ path, method: target.method, name: target.function })));
  return { names, routes, binaries: join(target_directory, 'debug') };
}

// `environment` is what every function gets; `rebuild` whether to watch the source. Answers {stop}.
export async function startFunctions({ port, environment, siteUrl, rebuild, programs, log, logOf }) {
  const build = () => {
    const args = ['build', '--workspace', '--bins', ...(process.stdout.isTTY && rebuild ? ['--color', 'always'] : [])];
    return programs.run('cargo build', 'cargo', args, { cwd: ROOT, log, seconds: 1800 });
  };
  await build();
  const { names, routes, binaries } = await describe();
  if (names.length === 0) throw new Error('there is no function in functions/');

  const start = (name, runtime) =>
    programs.start(join(binaries, name), [], { env: { ...environment, ...runtime }, log: logOf(name) });
  const lambda = await serveLambda({ port, names, routes, start, mostProcesses: MOST_PROCESSES, siteUrl, logOf });

  let watcher;
  if (rebuild) {
    let building = Promise.resolve();
    let waiting = false;
    const changed = (_, path) => {
      if (waiting || !/\.(rs|toml)$/.test(path)) return;
      waiting = true;
      // One build at a time, for all changes up to its start.
      building = building.then(async () => {
        waiting = false;
        log(`${relative(ROOT, path)} changed: building`);
        await build().then(lambda.renew, (error) => log(`${error.message}; the functions stay as they were`));
      });
    };
    const sources = ['functions', 'shared', 'Cargo.toml'].map((path) => join(ROOT, path));
    watcher = watch(sources, { ignoreInitial: true, awaitWriteFinish: { stabilityThreshold: 100, pollInterval: 50 } });
    watcher.on('all', changed);
  }

  return {
    async stop() {
      await watcher?.close();
      await lambda.stop();
    },
  };
}
