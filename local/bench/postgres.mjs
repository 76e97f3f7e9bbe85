// A PostgreSQL with our migrations, as the stack has it, for what is measured in the database.

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../stack/database.mjs';
import { freePorts } from '../stack/ports.mjs';
import { Programs } from '../stack/process.mjs';
import { newKeys } from '../stack/settings.mjs';
import { startSupabase } from '../stack/supabase.mjs';

async function migrated(folder, programs) {
  const [port, supabase] = await freePorts(2);
  const urls = { supabase: `http://127.0.0.1:${supabase}`, web: 'http://127.0.0.1', sandbox: 'http://127.0.0.1' };
  const lines = [];
  const common = { programs, log: (line) => lines.push(line), stopped: new AbortController().signal };
  try {
    const { url } = await startPostgres({ dir: join(folder, 'postgres'), port, ...common });
    const database = { driver: 'postgres', url };
    const lite = await startSupabase({ port: supabase, database, urls, keys: newKeys(), clerkIssuer: urls.sandbox, ...common });
    await lite.stop();
    return url;
  } catch (error) {
    throw new Error(`${error.message}\n${lines.slice(-15).join('\n')}`);
  }
}

// Answers what `measure(url)` answers. The database is gone afterwards.
export async function inDatabase(measure) {
  const folder = await mkdtemp(join(tmpdir(), 'sweetheart-bench-'));
  await chmod(folder, 0o711);
  const programs = new Programs({ temporary: folder });
  try {
    return await measure(await migrated(folder, programs));
  } finally {
    await programs.stopAll();
    await rm(folder, { recursive: true, force: true });
  }
}
