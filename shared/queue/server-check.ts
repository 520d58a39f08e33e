import { Cluster } from 'ioredis';
import type { Logger } from '../logging.ts';
import type { Redis } from './connection.ts';

/** What a Redis says of itself. */
export interface ServerCheck {
  /** False where the user that we are may not ask (INFO). */
  isKnown: boolean;
  /** What of its settings would lose work, each with what to do. */
  warnings: string[];
}

/** Looks whether Redis keeps what it accepts: each primary of a Cluster. @throws what the connection throws */
export async function checkServer(redis: Redis): Promise<ServerCheck> {
  const servers = redis instanceof Cluster ? redis.nodes('master') : [redis];
  const checks = await Promise.all(servers.map(async (server) => readInfo(await infoOf(server))));
  return {
    isKnown: checks.every(({ isKnown }) => isKnown),
    warnings: [...new Set(checks.flatMap(({ warnings }) => warnings))],
  };
}

/** Says in the log what {@link checkServer} found. @returns whether Redis says what it is */
export async function warnOfServer(redis: Redis, log: Logger): Promise<boolean> {
  const { isKnown, warnings } = await checkServer(redis);
  for (const warning of warnings) log.warn(warning);
  return isKnown;
}

async function infoOf(server: { info: () => Promise<string> }): Promise<string | undefined> {
  try {
    return await server.info();
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('NOPERM')) return undefined;
    throw error;
  }
}

/** @param info the answer to INFO; undefined where that is forbidden */
function readInfo(info: string | undefined): ServerCheck {
  if (info === undefined) {
    const warning =
      "Whether Redis keeps an append-only file and evicts nothing can't be checked: this user may not use INFO. Allow it with: ACL SETUSER NAME +info";
    return { isKnown: false, warnings: [warning] };
  }
  const value = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const warnings: string[] = [];
  if (value('aof_enabled') === '0') {
    warnings.push(
      'Redis keeps no append-only file: pulls that were accepted are lost when it ends. Set: appendonly yes',
    );
  }
  const policy = value('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    warnings.push(
      `Redis has the maxmemory-policy ${policy}: when its memory is short, it drops jobs. Set: maxmemory-policy noeviction`,
    );
  }
  if (value('role') === 'slave') {
    warnings.push('This Redis is a replica and takes no work. Connect to its primary.');
  }
  return { isKnown: true, warnings };
}
