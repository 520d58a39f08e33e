import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempDisposable, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { requireRoot, requireTool } from '../support/requirements.ts';

const script = path.resolve(import.meta.dirname, '../../deploy/quickstart.sh');

describe('the quickstart', () => {
  test('tells the whole story, and leaves nothing behind', { timeout: 600_000 }, async (t) => {
    if (!requireRoot(t)) return;
    if (!requireTool(t, 'redis-server', 'redis-cli', 'docker-registry', 'runc', 'conmon')) return;
    await using folder = await mkdtempDisposable(path.join(tmpdir(), 'dray-test-'));
    const env = { ...process.env, TMPDIR: folder.path };
    const { stdout } = await promisify(execFile)('bash', [script], { env });
    for (const shown of [
      /\$ dray pull localhost:\d+\/library\/redis:latest/,
      /Redis is starting/,
      /Ready to accept connections/,
      /^PONG$/m,
      /exit code 137/,
      /dray pull docker\.io\/library\/redis:latest/,
    ]) {
      assert.match(stdout, shown);
    }
    const left = (await readdir(folder.path)).filter((name) => name.startsWith('dray-quickstart.'));
    assert.deepEqual(left, []);
  });
});
