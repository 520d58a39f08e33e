import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { redact } from '../../shared/redact.ts';

const logging = path.resolve(import.meta.dirname, '../../shared/logging.ts');

describe('logging', () => {
  test('what is a secret by its name or its form is replaced, wherever it stands', () => {
    const canary = 'canary-5w0rd';
    const line = {
      password: canary,
      registryToken: canary,
      nested: { deep: [{ headers: { Authorization: canary, 'set-cookie': canary } }] },
      url: `redis://user:${canary}@host:6379/0`,
      text: `GET https://a:${canary}@b/c failed, sent Bearer ${canary}`,
      secretAccessKey: canary,
    };
    const clean = JSON.stringify(redact(line));
    assert.doesNotMatch(clean, /canary/);
    assert.match(clean, /redis:\/\/…@host:6379\/0/);
  });

  test('what is none stays', () => {
    const at = new Date(0);
    const line = { tokens: '/var/lib/drayage/tokens.json', credential: 'team-a', size: 3, at };
    assert.deepEqual(redact(line), line);
  });

  test('each line of a job says which it is, and child loggers hide secrets as well', async () => {
    const lines = await logged(`
      await loggedAs({ job: 'j1', pull: 'p1' }, async () => {
        await loggedAs({ digest: 'sha256:0' }, async () => log.child({ queue: 'q', token: 'canary' }).warn('inside'));
        log.info({ job: 'own', err: new Error('GET https://u:canary@h failed') }, 'nearer');
      });
      log.info('outside');`);
    const [inside, nearer, outside] = lines.map(
      (line) => JSON.parse(line) as Record<string, unknown>,
    );
    assert.deepEqual(
      [inside?.job, inside?.pull, inside?.digest, inside?.queue],
      ['j1', 'p1', 'sha256:0', 'q'],
    );
    assert.deepEqual([nearer?.job, nearer?.pull, nearer?.digest], ['own', 'p1', undefined]);
    assert.deepEqual([outside?.job, outside?.pull], [undefined, undefined]);
    assert.doesNotMatch(lines.join('\n'), /canary/);
  });
});

test('what was foreseen is logged with its hint, what was not with where it came from', async () => {
  const lines = await logged(`
    const { DrayError } = await import('${path.resolve(import.meta.dirname, '../../shared/errors.ts')}');
    for (const code of ['USAGE', 'INTERNAL']) log.error({ err: new DrayError(code, 'w', { hint: 'h' }) }, 'x');
    log.error({ err: new TypeError('bug') }, 'x');`);
  const errors = lines.map((line) => (JSON.parse(line) as { err: Record<string, unknown> }).err);
  assert.deepEqual(
    errors.map(({ code, hint, stack }) => [code, hint, stack !== undefined]),
    [
      ['USAGE', 'h', false],
      ['INTERNAL', 'h', true],
      ['INTERNAL', undefined, true],
    ],
  );
});

/** The lines that a program logs to a pipe. */
async function logged(body: string): Promise<string[]> {
  const script = `import { createLogger, loggedAs } from '${logging}';
    const log = await createLogger('test', 'info');${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'pipe' });
  const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')]);
  assert.equal(child.exitCode, 0, stderr);
  return stderr.trimEnd().split('\n');
}
