import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** What the name of an ingest's file says: how large the blob will be, and who writes it. */
export interface Writer {
  size: number;
  /** The boot and the process namespace in which `pid` means something; `free` when nobody writes any more. */
  place: string;
  pid: number;
  /** When the process was started, in clock ticks since boot: a process id alone comes back. */
  started: string;
}

/** Milliseconds after which a writer that can't be looked at (another namespace, another boot) counts as dead. */
const silentAfter = 60_000;

const form = /^(\d{1,16})\.([0-9a-z]+)\.(\d+)\.(\d+)\.[0-9a-f]{16}$/;

let own: { place: string; started: string } | undefined;

/** A name for a new file of this process. */
export function ownName(size: number): string {
  own ??= { place: thisPlace(), started: startOf(readStat('self')) ?? '0' };
  return `${size}.${own.place}.${process.pid}.${own.started}.${randomBytes(8).toString('hex')}`;
}

/** A name for bytes that anybody may take over. */
export function freeName(size: number): string {
  return `${size}.free.0.0.${randomBytes(8).toString('hex')}`;
}

/** What a file name says, or undefined when it is none of ours. */
export function parseWriter(name: string): Writer | undefined {
  const [, size, place, pid, started] = form.exec(name) ?? [];
  if (size === undefined || place === undefined || pid === undefined || started === undefined) {
    return undefined;
  }
  return { size: Number(size), place, pid: Number(pid), started };
}

/**
 * Whether whoever wrote a file may still write to it. For a process of this machine that is certain; for others
 * it is told from when they last wrote, and may be wrong either way, which costs a copy of the bytes and no more.
 */
export async function isAlive(writer: Writer, touchedAt: Date): Promise<boolean> {
  if (writer.place === 'free') return false;
  if (writer.place !== thisPlace()) return Date.now() - touchedAt.getTime() < silentAfter;
  return (await startOfProcess(writer.pid)) === writer.started;
}

/** Whether {@link isAlive} can be certain about this writer. */
export function isCertain(writer: Writer): boolean {
  return writer.place === 'free' || writer.place === thisPlace();
}

let place: string | undefined;

function thisPlace(): string {
  if (place !== undefined) return place;
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
    const namespace = readlinkSync('/proc/self/ns/pid');
    place = createHash('sha256').update(`${boot} ${namespace}`).digest('hex').slice(0, 12);
  } catch {
    // Without /proc nobody can be looked at: a place that is nobody else's.
    place = randomBytes(6).toString('hex');
  }
  return place;
}

async function startOfProcess(pid: number): Promise<string | undefined> {
  try {
    return startOf(await readFile(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return pid === process.pid ? own?.started : undefined;
  }
}

function readStat(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return '';
  }
}

/** Field 22 of proc(5)'s stat; a zombie writes no more. The command before it may have spaces and brackets. */
function startOf(stat: string): string | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}
