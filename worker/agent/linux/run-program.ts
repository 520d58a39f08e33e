import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { makePipe } from './pipe.ts';
import { reap, type SpawnRequest, spawnProgram } from './spawn.ts';

export interface RunRequest extends Pick<SpawnRequest, 'env' | 'cwd'> {
  /** Its standard input; default: none. */
  input?: string;
  /** Milliseconds after which it is killed. */
  timeout: number;
  /** Of each of its outputs; what is beyond that is thrown away. */
  maxBytes?: number;
  signal?: AbortSignal;
}

export interface ProgramOutcome {
  /** 128 + n when signal n ended it. */
  exitCode: number;
  stdout: string;
  stderr: string;
  /** It was killed for taking too long. */
  isTimedOut: boolean;
}

/**
 * Runs a program to its end: see {@link spawnProgram}.
 * @throws an Error with the errno's name as `code` when it can't be started; the signal's reason
 */
export async function runProgram(
  file: string,
  args: readonly string[],
  request: RunRequest,
): Promise<ProgramOutcome> {
  const { input, timeout, maxBytes = 1024 * 1024, signal, ...spawning } = request;
  signal?.throwIfAborted();
  const stdin = input === undefined ? undefined : makePipe();
  const [stdout, stderr] = [makePipe(), makePipe()];
  let pid: number;
  try {
    pid = spawnProgram(file, args, {
      ...spawning,
      files: [stdin?.read ?? 'null', stdout.write, stderr.write],
    });
  } catch (error) {
    for (const fd of [stdin?.write, stdout.read, stderr.read]) if (fd !== undefined) closeSync(fd);
    throw error;
  } finally {
    for (const fd of [stdin?.read, stdout.write, stderr.write]) if (fd !== undefined) closeSync(fd);
  }
  if (stdin !== undefined) feed(stdin.write, input ?? '');
  const outputs = [stdout.read, stderr.read].map((fd) => collect(fd, maxBytes));
  const bound = AbortSignal.any([
    AbortSignal.timeout(timeout),
    ...(signal === undefined ? [] : [signal]),
  ]);
  const kill = () => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
    // What it started may hold them open.
    for (const { source } of outputs) source.destroy();
  };
  bound.addEventListener('abort', kill);
  const [out = '', err = ''] = await Promise.all(outputs.map(({ text }) => text));
  const exitCode = await reap(pid).finally(() => bound.removeEventListener('abort', kill));
  signal?.throwIfAborted();
  return { exitCode, stdout: out, stderr: err, isTimedOut: bound.aborted };
}

/** Writes to a program's standard input, which may end before it has read all. */
function feed(fd: number, input: string): void {
  const pipe = new Socket({ fd, readable: false, writable: true });
  pipe.on('error', () => {});
  pipe.end(input);
}

function collect(fd: number, maxBytes: number): { source: Socket; text: Promise<string> } {
  const source = new Socket({ fd, readable: true, writable: false });
  const text = new Promise<string>((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    source.on('data', (chunk: Buffer) => {
      if (size < maxBytes) chunks.push(chunk.subarray(0, maxBytes - size));
      size += chunk.length;
    });
    source.on('error', () => {});
    source.once('close', () => resolve(Buffer.concat(chunks).toString()));
  });
  return { source, text };
}
