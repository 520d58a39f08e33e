import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { NodeDatabase } from '../../../worker/agent/node-database.ts';
import { requireTool } from '../../support/requirements.ts';

const run = promisify(execFile);
const steps = ['CREATE TABLE things (name TEXT PRIMARY KEY) STRICT'];

describe('NodeDatabase', () => {
  let root = '';
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'dray-database-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  test('keeps what was committed, and is readable by root alone', async () => {
    const folder = join(root, 'agent');
    {
      using database = NodeDatabase.open(folder);
      database.migrate('things', steps);
      assert.equal(database.run('INSERT INTO things VALUES (?)', 'a'), 1);
      assert.throws(() =>
        database.transaction(() => {
          database.run('INSERT INTO things VALUES (?)', 'b');
          throw new Error('undone');
        }),
      );
    }
    using database = NodeDatabase.open(folder);
    assert.deepEqual(
      database.all('SELECT name FROM things').map(({ name }) => name),
      ['a'],
    );
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    assert.equal((await stat(database.path)).mode & 0o777, 0o600);
    assert.equal(database.get('PRAGMA journal_mode')?.journal_mode, 'wal');
    assert.equal(database.get('PRAGMA synchronous')?.synchronous, 2);
  });

  test('waits for the disk at each change, but for those that are only noted', async (t) => {
    if (!requireTool(t, 'strace')) return;
    const module = fileURLToPath(
      new URL('../../../worker/agent/node-database.ts', import.meta.url),
    );
    const script = `import { writeSync } from 'node:fs';
      import { NodeDatabase } from ${JSON.stringify(module)};
      const database = NodeDatabase.open(${JSON.stringify(join(root, 'agent'))});
      database.migrate('things', ${JSON.stringify(steps)});
      const add = (name) => database.run('INSERT INTO things VALUES (?)', name);
      const say = (what) => writeSync(1, what);
      say('noted'); database.note(() => add('a'));
      say('noted together'); database.note(() => database.transaction(() => { add('b'); add('c'); }));
      say('failed'); try { database.note(() => add(Symbol())); } catch {}
      say('run'); add('d');
      say('in a transaction'); database.transaction(() => database.note(() => add('e')));
      say('over');`;
    const log = join(root, 'strace.log');
    const command = ['-e', 'trace=fsync,fdatasync,write', '-o', log, process.execPath];
    await run('strace', [...command, '--input-type=module', '-e', script]);
    const trace = await readFile(log, 'utf8');
    const flushes = (from: string, to: string) => {
      const between = trace.slice(trace.indexOf(`"${from}"`), trace.indexOf(`"${to}"`));
      return between.match(/ *f(data)?sync\(/g)?.length ?? 0;
    };
    assert.equal(flushes('noted', 'run'), 0);
    assert.equal(flushes('run', 'in a transaction'), 1);
    assert.equal(flushes('in a transaction', 'over'), 1);
  });

  test('is held by one agent: another in this process or elsewhere gets CONFLICT', async () => {
    using _database = NodeDatabase.open(root);
    assert.throws(() => NodeDatabase.open(root), { code: 'CONFLICT' });
    const module = fileURLToPath(
      new URL('../../../worker/agent/node-database.ts', import.meta.url),
    );
    const script = `import { NodeDatabase } from ${JSON.stringify(module)};
      try { NodeDatabase.open(${JSON.stringify(root)}); } catch (e) { console.log(e.code, e.message); }`;
    const other = spawn(process.execPath, ['--input-type=module', '-e', script]);
    let said = '';
    other.stdout.on('data', (chunk) => {
      said += chunk;
    });
    await once(other, 'close');
    assert.equal(said, `CONFLICT Another agent holds ${root}\n`);
  });

  test('runs each step of each part once, whole or not at all', () => {
    {
      using database = NodeDatabase.open(root);
      database.migrate('things', steps);
      database.migrate('others', ['CREATE TABLE others (n INTEGER) STRICT']);
      const broken = 'CREATE TABLE halfway (n INTEGER) STRICT; SELECT nonsense';
      assert.throws(() => database.migrate('things', [...steps, broken]));
    }
    using database = NodeDatabase.open(root);
    database.migrate('things', steps);
    const more = [...steps, 'ALTER TABLE things ADD COLUMN size INTEGER'];
    database.migrate('things', more);
    database.migrate('things', more);
    assert.equal(database.run('INSERT INTO things VALUES (?, ?)', 'a', 1), 1);
    assert.equal(database.get("SELECT name FROM sqlite_schema WHERE name = 'halfway'"), undefined);
    assert.throws(() => database.migrate('things', steps), { code: 'CONFLICT' });
  });

  test('says that a damaged file is damaged', async () => {
    await writeFile(
      join(root, 'node.db'),
      'not a database, but long enough to have a header '.repeat(99),
    );
    assert.throws(() => NodeDatabase.open(root), { code: 'INTERNAL', message: /is damaged/ });
  });
});
