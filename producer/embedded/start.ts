import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError } from '../../shared/errors.ts';
import { type Part, runningPart } from './parts.ts';
import { readPidFile } from './process-identity.ts';

const pollInterval = 5;
/** Bytes of a log above which the next start begins a new one; the one before is kept. */
const maxLogBytes = 16 * 1024 * 1024;
/** Bytes of a log's end that an error quotes at most, and lines of it. */
const quotedBytes = 4096;
const quotedLines = 8;

/**
 * Writes its own identity to the pid file, then becomes the program: also when the command that started it is
 * killed right here, no process runs that is not known. Its name, field 2 of stat, is "sh": no blank in it.
 */
const introduction = `
file=$1; shift
read -r stat </proc/$$/stat
read -r boot </proc/sys/kernel/random/boot_id
(set -- $stat; echo "$1 \${22} $boot") >"$file.new" && mv "$file.new" "$file" && exec "$@"`;

/** Starts a part in the background: in a session of its own, so that it outlives the terminal. */
export async function startPart(part: Part): Promise<void> {
  const program = findProgram(part.program);
  for (const file of [part.pidFile, ...part.stale]) await rm(file, { force: true });
  await part.repair?.();
  await rotate(part.logFile);
  const log = await open(part.logFile, 'a', 0o640);
  try {
    const child = spawn(
      '/bin/sh',
      ['-c', introduction, part.name, part.pidFile, program, ...part.args],
      {
        detached: true,
        cwd: '/',
        env: { ...process.env, ...part.env },
        stdio: ['ignore', log.fd, log.fd],
      },
    );
    await once(child, 'spawn');
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
    while (readPidFile(part.pidFile) === undefined && !hasEnded()) await sleep(pollInterval);
    child.unref();
  } finally {
    await log.close();
  }
}

/**
 * Waits until a part takes work.
 * @returns false when its process ends instead
 * @throws TIMEOUT with the end of its log
 */
export async function becomesReady(
  part: Part,
  takesWork: () => Promise<boolean>,
  options: { boundMs: number; signal?: AbortSignal },
): Promise<boolean> {
  const { boundMs, signal } = options;
  const deadline = Date.now() + boundMs;
  for (;;) {
    const running = runningPart(part);
    if (running === undefined) return false;
    if (part.isReady(running.pid) && (await takesWork())) return true;
    if (Date.now() > deadline) {
      const message = `The ${part.name} of the embedded fleet is not ready after ${boundMs / 1000} s. `;
      throw new DrayError('TIMEOUT', message + (await quoteLog(part)), {
        hint: `Its whole log is ${part.logFile}. dray down ends it.`,
        retryable: true,
      });
    }
    await sleep(pollInterval, undefined, signal === undefined ? {} : { signal });
  }
}

/** What is said of a part that ended while it started. */
export async function startFailed(part: Part): Promise<DrayError> {
  const message = `The ${part.name} of the embedded fleet ended while it started. `;
  return new DrayError('INTERNAL', message + (await quoteLog(part)), {
    hint: `Its whole log is ${part.logFile}`,
  });
}

/** @throws TOOL_MISSING */
function findProgram(name: string): string {
  if (path.isAbsolute(name)) return name;
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  for (const folder of folders.filter((folder) => path.isAbsolute(folder))) {
    const file = path.join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // The next folder may have it.
    }
  }
  throw new DrayError('TOOL_MISSING', `The embedded fleet needs ${name}, which is not installed`, {
    hint: 'Run deploy/setup.sh, or set REDIS_URL to use a Redis elsewhere.',
  });
}

async function rotate(file: string): Promise<void> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size > maxLogBytes) await rename(file, `${file}.1`);
}

async function quoteLog(part: Part): Promise<string> {
  try {
    await using file = await open(part.logFile, 'r');
    const { size } = await file.stat();
    const length = Math.min(size, quotedBytes);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    // Where in the code it happened stands in the log.
    const lines = buffer
      .toString()
      .split('\n')
      .filter((line) => line.trim() !== '' && !/^\s+at /.test(line))
      .slice(-quotedLines)
      .map(readableLine);
    return `Its log ends with:\n${lines.map((line) => `    ${line}`).join('\n')}`;
  } catch {
    return 'It has written no log.';
  }
}

/** What a line of a program's JSON log says; any other line as it is. */
function readableLine(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as {
      msg?: string;
      err?: { message?: string; hint?: string };
    };
    return [msg, err?.message, err?.hint].filter((text) => text !== undefined).join(': ') || line;
  } catch {
    return line;
  }
}
