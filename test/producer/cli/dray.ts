import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

export const launcher = path.resolve(import.meta.dirname, '../../../producer/cli/dray');

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `dray` to its end. Nothing of the caller's own fleet is in its environment. */
export async function dray(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; input?: Uint8Array; program?: string; uid?: number } = {},
): Promise<Ended> {
  const child = spawn(options.program ?? launcher, args, {
    env: {
      ...process.env,
      REDIS_URL: '',
      DRAY_CONFIG: '',
      DRAY_STORE: '',
      DRAY_NETWORK: 'host',
      ...options.env,
    },
    stdio: 'pipe',
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}
