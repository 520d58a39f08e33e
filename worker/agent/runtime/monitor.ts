import { closeSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Ulimit } from '../../../shared/agent/run-options.ts';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';
import { makePipe } from '../linux/pipe.ts';
import { reap, spawnProgram, systemPath } from '../linux/spawn.ts';
import { creationError } from './exit-codes.ts';
import { type Runc, runtimeMessage } from './runc.ts';

/** Milliseconds for a runtime to create a container; a node under heavy load takes seconds. */
const creationBound = 120_000;
/** The monitor's report has the runtime's error in it, which is short. */
const maxReportBytes = 64 * 1024;

export interface MonitorRequest {
  id: string;
  /** The folder with config.json. */
  bundle: string;
  /** Gets every byte of output, in the k8s-file form. */
  logFile: string;
  /** Gets a file named after the container with its exit code, at once, when it has ended. */
  exitDirectory: string;
  /** Where sockets for attaching are linked. */
  socketDirectory: string;
  /** Whether the process's standard streams are a terminal: as its config.json has it. */
  terminal: boolean;
  /** Whether standard input is kept open for those who attach. */
  stdin: boolean;
  /** Whether it ends when one of those leaves. */
  stdinOnce: boolean;
  /** Its own, under which the runtime sets it up. */
  ulimits?: readonly Ulimit[];
  signal?: AbortSignal;
}

/**
 * Creates a container under a monitor (conmon) of its own: it holds output and exit code while agents come
 * and go. The container's command does not run yet.
 * @returns the pid of the container's first process
 * @throws RUNTIME_FAILED with `context.exitCode`
 */
export async function createMonitored(
  tools: { conmon: readonly string[]; runc: Runc },
  request: MonitorRequest,
): Promise<number> {
  const { id, bundle } = request;
  const { runc } = tools;
  const args = [
    ...['--api-version', '1', '--cid', id, '--cuuid', id],
    ...['--runtime', runc.path, ...runc.globalArguments.map((arg) => `--runtime-arg=${arg}`)],
    ...['--bundle', bundle, '--container-pidfile', join(bundle, 'container.pid')],
    ...['--conmon-pidfile', monitorPidFile(bundle), '--log-path', `k8s-file:${request.logFile}`],
    ...['--exit-dir', request.exitDirectory, '--socket-dir-path', request.socketDirectory],
    ...(request.terminal ? ['--terminal'] : []),
    ...(request.stdin ? ['--stdin'] : []),
    // The end of a terminal's input would be the end of the terminal.
    ...(request.terminal || !request.stdinOnce ? ['--leave-stdin-open'] : []),
    ...['--log-level', 'warning'],
  ];
  // That of a monitor before this one: from here on there is none, or it is this one's. And what a runtime that was
  // cut off has left of its own, which the next one would refuse to write over.
  for (const file of [monitorPidFile(bundle), join(bundle, '.container.pid')]) {
    rmSync(file, { force: true });
  }
  const report = await runMonitor([...tools.conmon, ...args], request);
  if (report.data > 0) return report.data;
  const message = runtimeMessage(report.message ?? '') || 'the runtime gave no reason';
  throw creationError(id, message, request.ulimits);
}

interface Report {
  /** The pid, or a negative number. */
  data: number;
  message?: string;
}

/** Starts the program, which leaves the agent's process tree, and waits for what it reports on descriptor 3. */
async function runMonitor(
  [program = '', ...args]: readonly string[],
  { bundle, signal }: Pick<MonitorRequest, 'bundle' | 'signal'>,
): Promise<Report> {
  const bound = AbortSignal.any([
    AbortSignal.timeout(creationBound),
    ...(signal === undefined ? [] : [signal]),
  ]);
  bound.throwIfAborted();
  const [stderr, pipe] = [makePipe(), makePipe()];
  let pid: number;
  try {
    pid = spawnProgram(program, args, {
      // Where it notes that the kernel ended a process of the container for its memory.
      cwd: bundle,
      env: { PATH: systemPath, _OCI_SYNCPIPE: '3' },
      files: ['null', 'null', stderr.write, pipe.write],
    });
  } catch (error) {
    for (const { read } of [stderr, pipe]) closeSync(read);
    throw noReport(error);
  } finally {
    for (const { write } of [stderr, pipe]) closeSync(write);
  }
  const [said, report] = [stderr, pipe].map(
    ({ read }) => new Socket({ fd: read, readable: true, writable: false }),
  ) as [Socket, Socket];
  const errors = readAll(said, bound);
  try {
    const text = await readLine(report, bound);
    if (text !== '') return JSON.parse(text) as Report;
    return { data: -1, message: await errors };
  } catch (error) {
    signal?.throwIfAborted();
    throw noReport(error);
  } finally {
    errors.catch(() => {});
    report.destroy();
    said.destroy();
    // It has left a process behind that is the monitor, and ended.
    reap(pid).catch(() => {});
  }
}

function noReport(error: unknown): DrayError {
  return new DrayError('RUNTIME_FAILED', `The monitor did not report: ${messageOf(error)}`, {
    cause: error,
    context: { exitCode: 125 },
  });
}

async function readLine(source: Readable, signal: AbortSignal): Promise<string> {
  let text = '';
  const stop = () => source.destroy(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const chunk of source) {
      text += String(chunk);
      if (text.includes('\n') || text.length > maxReportBytes) break;
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
  return text.trim();
}

async function readAll(source: Readable, signal: AbortSignal): Promise<string> {
  let text = '';
  const stop = () => source.destroy();
  signal.addEventListener('abort', stop, { once: true });
  for await (const chunk of source) if (text.length < maxReportBytes) text += String(chunk);
  signal.removeEventListener('abort', stop);
  return text.trim();
}

function readMonitorPid(bundle: string): string | undefined {
  try {
    const text = readFileSync(monitorPidFile(bundle), 'utf8').trim();
    // A power cut may leave an empty file, or one of zero bytes.
    return /^\d+$/.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

function monitorPidFile(bundle: string): string {
  return join(bundle, 'conmon.pid');
}

/** Whether the monitor of a bundle is alive. A pid that another program got meanwhile does not count. */
export function isMonitorAlive(bundle: string): boolean {
  const pid = readMonitorPid(bundle);
  return pid !== undefined && isMonitorOf(pid, bundle);
}

/**
 * The pids of the monitors of a bundle that are alive, also of one that an agent which died had just started and
 * that has not written its pid: only then all processes of the node are looked at.
 */
export function findMonitors(bundle: string): number[] {
  const pid = readMonitorPid(bundle);
  const pids =
    pid !== undefined ? [pid] : readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => isMonitorOf(pid, bundle)).map(Number);
}

function isMonitorOf(pid: string, bundle: string): boolean {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return args[args.indexOf('--bundle') + 1] === bundle && args.includes('--exit-dir');
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ESRCH') return false;
    throw error;
  }
}
