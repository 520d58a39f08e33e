import type { Command } from 'commander';
import type { LogRequest } from '../../shared/agent/containers.ts';
import { parseDuration } from '../../shared/duration.ts';
import { DrayError } from '../../shared/errors.ts';
import { openContext } from './context.ts';
import { exitCodes } from './errors.ts';
import { followOutput, writeOut } from './foreground.ts';

export interface LogFlags {
  follow?: boolean;
  since?: string;
  tail?: string;
  timestamps?: boolean;
}

/** `dray logs`. @returns the exit code */
export async function printLogs(command: Command, id: string, flags: LogFlags): Promise<number> {
  const request = logRequest(flags, new Date());
  const context = await openContext(command);
  const output = followOutput(id, {
    connect: () => context.agent(),
    request,
    ...(flags.follow === true
      ? { say: (message: string) => process.stderr.write(`${message}\n`) }
      : {}),
  });
  for await (const chunk of output) {
    if (chunk === undefined) continue;
    if (!(await writeOut(process[chunk.stream], chunk.bytes))) return exitCodes.brokenPipe;
  }
  return exitCodes.ok;
}

/** @throws USAGE */
function logRequest(flags: LogFlags, now: Date): LogRequest {
  const { follow = false, timestamps = false, since, tail = 'all' } = flags;
  if (tail !== 'all' && !/^\d{1,9}$/.test(tail)) {
    throw new DrayError('USAGE', `--tail "${tail}" is neither a number of lines nor all`);
  }
  return {
    follow,
    timestamps,
    ...(since === undefined ? {} : { since: parseSince(since, now) }),
    ...(tail === 'all' ? {} : { tail: Number(tail) }),
  };
}

/** A moment, or a duration before now. @throws USAGE */
export function parseSince(text: string, now: Date): Date {
  const ago = parseDuration(text);
  if (ago !== undefined) return new Date(now.getTime() - ago);
  // As date +%s has it.
  if (/^\d{9,11}(\.\d{1,9})?$/.test(text)) return new Date(Number(text) * 1000);
  const moment = new Date(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(moment.getTime())) return moment;
  throw new DrayError('USAGE', `"${text}" is no time`, {
    hint: 'Write a time as 2026-01-31T12:00:00Z, or how long ago: 90s, 10m, 2h, 1d.',
  });
}
