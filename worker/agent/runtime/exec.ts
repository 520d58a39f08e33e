import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReadStream } from 'node:tty';
import type { OutputChunk, OutputStream } from '../../../shared/agent/containers.ts';
import type { TerminalSize } from '../../../shared/agent/exec.ts';
import { errnoOf } from '../../../shared/errors.ts';
import { makePipe } from '../linux/pipe.ts';
import { openRawPty, resizePty } from '../linux/pty.ts';
import type { SpawnRequest } from '../linux/spawn.ts';
import { type RunningProgram, readEnd, startProgram, writeEnd } from '../linux/start-program.ts';
import { makeExecFolder } from './exec-folder.ts';
import { execError, refusedCommand } from './exit-codes.ts';
import { asUlimit } from './rlimits.ts';
import { type Runc, runtimeMessage } from './runc.ts';
import { encodeSpec, type SpecProcess } from './runtime-spec.ts';

/** Milliseconds between two looks whether the process runs. */
const startInterval = 4;
/** Output that a process is ahead of its reader. */
const outputBuffer = 256 * 1024;
/** The kernel's refusal of a command is one short line. */
const maxRefusal = 512;

/** The runtime hands its own umask on to what it runs, and that of the agent is 0: arguments of sh, before a program's. */
const withUmask = ['-c', 'umask 022; exec "$@"', 'sh'];

/**
 * Starts the runtime for a further process in a container.
 * @param files its standard streams
 * @param before a program that it is started by
 */
export function startRuntime(
  { path, globalArguments }: Runc,
  args: readonly string[],
  files: SpawnRequest['files'],
  before: readonly string[] = [],
): RunningProgram {
  const [program = '', ...rest] = [
    ...before,
    'sh',
    ...withUmask,
    path,
    ...globalArguments,
    ...args,
  ];
  return startProgram(program, rest, { cwd: '/', files });
}

/** A further process in a container, with its streams. */
export interface ExecSession {
  /** What it writes; ends with its streams. A terminal has no standard error. */
  output: AsyncIterable<OutputChunk>;
  /** Resolves when it was taken: false when nobody reads it any more. */
  write: (bytes: Uint8Array) => Promise<boolean>;
  endInput: () => void;
  /** Of its terminal, if it has one. */
  resize: (size: TerminalSize) => void;
  /** How it ended, once its output was read; undefined when the session was left before. */
  exited: Promise<{ exitCode: number } | undefined>;
  /** Sends it a signal by its number. */
  kill: (signal: number) => void;
  /**
   * Nobody is there any more: its input ends, what it writes from now on is thrown away, and a terminal is
   * hung up, on which a shell and what it started in the foreground end.
   * @param options.detach the terminal stays, with nobody in front of it
   */
  leave: (options?: { detach?: boolean }) => void;
}

export interface ExecStart {
  /** As people know the container. */
  id: string;
  /** As the runtime knows it. */
  instance: string;
  process: SpecProcess;
  terminal?: TerminalSize;
  stdin: boolean;
  /** The process has no streams: the session ends when it runs. */
  detach: boolean;
  /** Holds the files of this call while it starts. */
  bundle: string;
}

/**
 * Runs a process in a running container.
 * It hangs on the agent's end of its streams: when the agent dies, its input ends, and its terminal is hung up.
 * @returns when it runs
 * @throws RUNTIME_FAILED with `context.exitCode` when it could not be started
 */
export async function startExec(runc: Runc, request: ExecStart): Promise<ExecSession> {
  const { id, instance, process, terminal, detach } = request;
  await using made = await makeExecFolder(request.bundle);
  const { folder } = made;
  const files = { process: join(folder, 'process.json'), pid: join(folder, 'pid') };
  const log = join(folder, 'log');
  await writeFile(files.process, encodeSpec(process), { mode: 0o600 });
  const args = [
    ...['--log', log, 'exec'],
    ...['--process', files.process, '--pid-file', files.pid],
    ...(detach ? ['--detach', instance] : [instance]),
  ];
  const streams =
    terminal === undefined || detach
      ? startPlain(runc, args, request)
      : startOnTerminal(runc, args, terminal);
  const { ended } = streams.program;
  // Node throws away what nobody listens to when a process ends.
  const running = session(streams, ended);
  await Promise.race([ended, appears(files.pid, ended)]);
  if (!(await exists(files.pid))) {
    running.leave();
    await ended;
    const message = runtimeMessage(await readFile(log, 'utf8').catch(() => ''));
    throw execError(id, message, process.rlimits.map(asUlimit));
  }
  return running;
}

/** A runtime's process with the ends of its streams that are the agent's. */
interface Streams {
  program: RunningProgram;
  readable: [OutputStream, Readable][];
  writable: Writable | undefined;
  resize: (size: TerminalSize) => void;
  hangUp: () => void;
}

function startPlain(runc: Runc, args: string[], { stdin, detach }: ExecStart): Streams {
  if (detach) {
    const program = startRuntime(runc, args, ['null', 'null', 'null']);
    return { program, readable: [], writable: undefined, resize: () => {}, hangUp: () => {} };
  }
  const input = stdin ? makePipe() : undefined;
  const [stdout, stderr] = [makePipe(), makePipe()];
  let program: RunningProgram;
  try {
    program = startRuntime(runc, args, [input?.read ?? 'null', stdout.write, stderr.write]);
  } catch (error) {
    closeAll(input?.write, stdout.read, stderr.read);
    throw error;
  } finally {
    closeAll(input?.read, stdout.write, stderr.write);
  }
  const writable = input === undefined ? undefined : writeEnd(input.write);
  return {
    program,
    readable: [
      ['stdout', readEnd(stdout.read)],
      ['stderr', readEnd(stderr.read)],
    ],
    writable,
    resize: () => {},
    hangUp: () => writable?.destroy(),
  };
}

function closeAll(...files: (number | undefined)[]): void {
  for (const fd of files) if (fd !== undefined) closeSync(fd);
}

/**
 * The runtime copies between the container's terminal and the one it runs on itself. That is its controlling
 * one, so that it hears of its end (SIGHUP) and hands that on.
 */
function startOnTerminal(runc: Runc, args: string[], size: TerminalSize): Streams {
  const { master, slave } = openRawPty();
  resizePty(master, size);
  let program: RunningProgram;
  try {
    program = startRuntime(runc, args, [slave, slave, slave], ['setsid', '--ctty']);
  } catch (error) {
    closeSync(master);
    throw error;
  } finally {
    closeSync(slave);
  }
  const screen = new ReadStream(master);
  screen.on('error', () => {});
  return {
    program,
    readable: [['stdout', screen]],
    writable: screen,
    resize: (size) => {
      if (!screen.destroyed) resizePty(master, size);
    },
    hangUp: () => screen.destroy(),
  };
}

function session(streams: Streams, ended: Promise<number>): ExecSession {
  const { program, readable, writable, resize, hangUp } = streams;
  const left = Promise.withResolvers<undefined>();
  let refusal = '';
  const output = merge(readable, ({ stream, bytes }) => {
    const mayRefuse = stream === 'stderr' || readable.length === 1;
    if (mayRefuse && refusal.length <= maxRefusal) refusal += Buffer.from(bytes).toString();
  });
  const exited = ended.then((exitCode) => ({
    exitCode: refusedCommand(exitCode, refusal.trim()) ?? exitCode,
  }));
  return {
    output: output.merged,
    resize,
    write: async (bytes) => {
      if (writable === undefined || !writable.writable) return false;
      if (writable.write(bytes)) return true;
      return await Promise.race([
        once(writable, 'drain').then(() => true),
        once(writable, 'close').then(() => false),
      ]).catch(() => false);
    },
    endInput: () => {
      // The end of a terminal's input is a key, not an end of file.
      if (!(writable instanceof ReadStream)) writable?.end();
    },
    exited: Promise.race([exited, left.promise]),
    // The runtime hands signals on.
    kill: (signal) => program.kill(signal),
    leave: ({ detach = false } = {}) => {
      left.resolve(undefined);
      output.stop();
      if (!detach) hangUp();
    },
  };
}

/**
 * Several streams as one, as they come; a reader that is slow slows all of them down. After `stop` what comes is
 * thrown away.
 */
function merge(
  readable: readonly [OutputStream, Readable][],
  onChunk: (chunk: OutputChunk) => void,
): { merged: Readable; stop: () => void } {
  const merged = new PassThrough({ readableObjectMode: true, writableObjectMode: true });
  let open = readable.length;
  let waiting = 0;
  let isStopped = false;
  const stop = () => {
    isStopped = true;
    merged.end();
    for (const [, source] of readable) source.resume();
  };
  for (const [stream, source] of readable) {
    source.on('data', (bytes: Buffer) => {
      if (isStopped) return;
      const chunk = { stream, bytes };
      onChunk(chunk);
      waiting += bytes.length;
      merged.write(chunk, () => {
        waiting -= bytes.length;
        if (waiting < outputBuffer) for (const [, each] of readable) each.resume();
      });
      if (waiting >= outputBuffer) for (const [, each] of readable) each.pause();
    });
    source.once('close', () => {
      if (--open === 0) merged.end();
    });
  }
  if (open === 0) merged.end();
  merged.once('close', stop);
  return { merged, stop };
}

async function appears(path: string, ended: Promise<unknown>): Promise<void> {
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  while (!isOver && !(await exists(path))) await sleep(startInterval);
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).size > 0;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
