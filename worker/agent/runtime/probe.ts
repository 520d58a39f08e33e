import { closeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HealthcheckResult } from '../../../shared/agent/containers.ts';
import { makePipe } from '../linux/pipe.ts';
import { type RunningProgram, readEnd } from '../linux/start-program.ts';
import { startRuntime } from './exec.ts';
import { makeExecFolder } from './exec-folder.ts';
import type { Runc } from './runc.ts';

export interface ProbeRequest {
  /** As the runtime knows the container. */
  instance: string;
  /** A program and its arguments. */
  command: readonly string[];
  /** After which the program is killed. */
  timeoutMs: number;
  /** Of its output, the beginning of which is kept. */
  maxBytes: number;
  /** Holds a file of this call. */
  bundle: string;
  signal?: AbortSignal;
}

/**
 * Runs a program in a running container to its end, with the user, environment and folder of its first process.
 * @returns exit code -1 when it was killed
 */
export async function probe(
  runc: Runc,
  { instance, command, timeoutMs, maxBytes, bundle, signal }: ProbeRequest,
): Promise<Pick<HealthcheckResult, 'exitCode' | 'output'>> {
  signal?.throwIfAborted();
  await using made = await makeExecFolder(bundle);
  const pidFile = join(made.folder, 'pid');
  const [stdout, stderr] = [makePipe(), makePipe()];
  const args = ['exec', '--pid-file', pidFile, instance, ...command];
  const streams = [stdout, stderr].map(({ read }) => readEnd(read));
  let program: RunningProgram;
  try {
    program = startRuntime(runc, args, ['null', stdout.write, stderr.write]);
  } catch (error) {
    for (const stream of streams) stream.destroy();
    throw error;
  } finally {
    for (const { write } of [stdout, stderr]) closeSync(write);
  }
  let output = Buffer.alloc(0);
  for (const stream of streams) {
    stream.on('data', (bytes: Buffer) => {
      if (output.length < maxBytes) output = Buffer.concat([output, bytes]);
    });
  }
  const bound = AbortSignal.any([
    AbortSignal.timeout(timeoutMs),
    ...(signal === undefined ? [] : [signal]),
  ]);
  // The runtime's own end would leave the program behind.
  const kill = () => void killBy(pidFile).finally(() => program.kill('SIGKILL'));
  bound.addEventListener('abort', kill, { once: true });
  // What it left in the background may hold its output open.
  const exitCode = await program.ended;
  bound.removeEventListener('abort', kill);
  for (const stream of streams) stream.destroy();
  const text = output.toString('utf8', 0, Math.min(output.length, maxBytes));
  if (!bound.aborted) return { exitCode, output: text };
  return { exitCode: -1, output: `${text}(took longer than ${timeoutMs} ms)` };
}

async function killBy(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!(pid > 1)) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}
