// Ports on loopback: free ones, and who holds one that is taken.

import { execFile } from 'node:child_process';
import { readFile, readdir, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { promisify } from 'node:util';

function listen(port) {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

// Open at the same time, so that they differ.
export async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => listen(0)));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

// Linux: the socket's inode in /proc/net/tcp*, then the process that has it open.
async function holderByProc(port) {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const tables = await Promise.all(['tcp', 'tcp6'].map((table) => readFile(`/proc/net/${table}`, 'utf8').catch(() => '')));
  const listening = tables
    .join('\n')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find(([, local, , state]) => state === '0A' && local.endsWith(`:${hex}`));
  if (!listening) return undefined;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const links = await Promise.all(files.map((file) => readlink(`/proc/${pid}/fd/${file}`).catch(() => '')));
    if (links.includes(`socket:[${listening[9]}]`)) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return `pid ${pid}: ${command.split('\0').join(' ').trim()}`;
    }
  }
  return undefined;
}

// macOS has no /proc.
async function holderByLsof(port) {
  const { stdout } = await promisify(execFile)('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc']);
  const [, pid, command] = stdout.match(/^p(\d+)\n(?:f.*\n)*c(.*)$/m) ?? [];
  return pid && `pid ${pid}: ${command}`;
}

// Undefined when the port is free, else who has it, as well as can be told.
export async function holder(port) {
  try {
    const server = await listen(port);
    await new Promise((resolve) => server.close(resolve));
    return undefined;
  } catch (error) {
    if (error.code !== 'EADDRINUSE') return error.message;
    const found = process.platform === 'linux' ? await holderByProc(port) : await holderByLsof(port).catch(() => undefined);
    return found ?? 'a process of another user';
  }
}
