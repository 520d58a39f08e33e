import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError, errnoOf } from '../../shared/errors.ts';

/**
 * One process for good: a pid alone may be another's tomorrow. `start` is the kernel's start time in clock
 * ticks since boot (proc(5), /proc/PID/stat, field 22).
 */
export interface ProcessIdentity {
  pid: number;
  start: number;
  /** Which boot the start time belongs to. */
  boot: string;
}

/**
 * The form of a pid file: `PID START BOOT`. Whoever starts a process writes it from inside, see start.ts.
 * @throws NOT_ROOT when it is not for this user: whether the process runs is not known then
 */
export function readPidFile(file: string): ProcessIdentity | undefined {
  const match = /^(\d+) (\d+) ([0-9a-f-]+)\s*$/.exec(read(file) ?? '');
  const [, pid, start, boot] = match ?? [];
  if (pid === undefined || start === undefined || boot === undefined) return undefined;
  return { pid: Number(pid), start: Number(start), boot };
}

/** Whether exactly that process runs. One that has ended and that nobody has waited for does not. */
export function isAlive(identity: ProcessIdentity): boolean {
  const stat = read(`/proc/${identity.pid}/stat`);
  if (stat === undefined) return false;
  // The name, in parentheses, may have anything in it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  if (state === 'Z' || state === 'X' || Number(fields[19]) !== identity.start) return false;
  return bootID() === identity.boot;
}

/** When a process was started. */
export function startedAt(identity: ProcessIdentity): Date {
  const bootTime = /^btime (\d+)$/m.exec(read('/proc/stat') ?? '')?.[1];
  // The kernel shows ticks of a hundredth of a second on every architecture that Node runs on.
  return new Date(Number(bootTime ?? 0) * 1000 + identity.start * 10);
}

/** Asks a process to end, and after `boundMs` makes it. @returns whether it ended by itself */
export async function endProcess(
  identity: ProcessIdentity,
  options: { boundMs: number; signal?: AbortSignal },
): Promise<boolean> {
  for (const name of ['SIGTERM', 'SIGKILL'] as const) {
    const deadline = Date.now() + (name === 'SIGTERM' ? options.boundMs : 5_000);
    if (isAlive(identity)) send(identity.pid, name);
    while (isAlive(identity) && Date.now() < deadline) {
      await sleep(10, undefined, options.signal === undefined ? {} : { signal: options.signal });
    }
    if (!isAlive(identity)) return name === 'SIGTERM';
  }
  return false;
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function bootID(): string {
  return read('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'EACCES') {
      throw new DrayError('NOT_ROOT', `The embedded fleet belongs to root: ${file} can't be read`, {
        hint: 'Run dray with sudo, or set REDIS_URL to use a fleet that runs elsewhere.',
      });
    }
    return undefined;
  }
}
