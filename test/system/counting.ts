import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { until } from '../support/until.ts';

const launcher = path.resolve(import.meta.dirname, '../../producer/cli/dray');

/** The command of a container that counts, a line each tenth of a second, until there is a file /end. */
export const counting = [
  'sh',
  '-c',
  'i=0; until test -e /end; do i=$((i + 1)); echo $i; sleep 0.1; done',
];

/** What `dray logs -f` prints of a container that counts, and says beside it. */
export interface FollowedCount {
  output: () => string;
  said: () => string;
  /** Waits until more was printed than by now. */
  goesOn: () => Promise<void>;
  /** Waits for the end. @returns the lines, of which none was lost and none came twice */
  whole: () => Promise<string[]>;
}

/** Follows the output of a container that counts, up to its end. Resolves when there is some. */
export async function followCounting(
  t: TestContext,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<FollowedCount> {
  const child = spawn(launcher, ['logs', '-f', ...args], { env });
  t.after(() => child.kill());
  const closed = once(child, 'close');
  let output = '';
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => (output += String(bytes)));
  child.stderr.on('data', (bytes: Buffer) => (said += String(bytes)));
  await until('some output', () => output.includes('\n5\n'));
  return {
    output: () => output,
    said: () => said,
    goesOn: async () => {
      const before = output.length;
      await until(
        () => `more output; ${said}`,
        () => output.length > before,
      );
    },
    whole: async () => {
      await closed;
      assert.equal(child.exitCode, 0, said);
      const lines = output.split('\n').slice(0, -1);
      assert.deepEqual(
        lines,
        lines.map((_, n) => String(n + 1)),
      );
      return lines;
    },
  };
}
