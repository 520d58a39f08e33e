import type { Ulimit } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import { mayRaiseLimits } from './capabilities.ts';
import type { Host } from './host.ts';
import type { Rlimit } from './runtime-spec.ts';

/** The lines of /proc/self/limits, by the names that docker and setrlimit(2) have for them. */
const titles: Readonly<Record<string, string>> = {
  cpu: 'Max cpu time',
  fsize: 'Max file size',
  data: 'Max data size',
  stack: 'Max stack size',
  core: 'Max core file size',
  rss: 'Max resident set',
  nproc: 'Max processes',
  nofile: 'Max open files',
  memlock: 'Max locked memory',
  as: 'Max address space',
  locks: 'Max file locks',
  sigpending: 'Max pending signals',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
};

/** Programs that use select(2) break above it; those that need more raise it by themselves. */
const softOpenFiles = 1024;
const hardOpenFiles = 1024 * 1024;
/** RLIM_INFINITY as JSON has it: the nearest below 2^64 that a double holds would be another number. */
const unlimited = Number.POSITIVE_INFINITY;

/** The hard limits in the text of /proc/self/limits, by name; those without a limit are not in it. */
export function parseHardLimits(text: string): ReadonlyMap<string, number> {
  return new Map(
    Object.entries(titles).flatMap(([name, title]): [string, number][] => {
      const [, hard] = new RegExp(`^${title}\\s+\\S+\\s+(\\d+)`, 'm').exec(text) ?? [];
      return hard === undefined ? [] : [[name, Number(hard)]];
    }),
  );
}

/**
 * The limits of a container's processes. What the agent may not raise stays at the node's own hard limit.
 * @param warn hears of each that was asked for and is lower than that
 * @throws CONFIG_INVALID
 */
export function rlimitsFor(
  host: Pick<Host, 'hardLimits' | 'boundingSet'>,
  requests: readonly Ulimit[] = [],
  warn: (message: string) => void = () => {},
): Rlimit[] {
  const mostOf = (name: string) =>
    mayRaiseLimits(host.boundingSet) && name !== 'nofile'
      ? unlimited
      : (host.hardLimits.get(name) ?? unlimited);
  const asked = requests.map(({ name, ...wanted }): Rlimit => {
    if (titles[name] === undefined) throw unknownLimit(name);
    const value = (limit: number) => (limit < 0 ? unlimited : limit);
    const [soft, hard] = [value(wanted.soft), value(wanted.hard)];
    if (soft > hard) {
      throw new DrayError('CONFIG_INVALID', `The limit ${name} is ${soft}, above its hard ${hard}`);
    }
    const most = mostOf(name);
    if (hard > most && wanted.hard >= 0) {
      warn(`The limit ${name} is ${most} instead of ${hard}: this node can't give more`);
    }
    return rlimit(name, Math.min(soft, most), Math.min(hard, most));
  });
  const hard = Math.min(mostOf('nofile'), hardOpenFiles);
  const usual = rlimit('nofile', Math.min(softOpenFiles, hard), hard);
  return [...asked, ...(asked.some(({ type }) => type === usual.type) ? [] : [usual])];
}

function rlimit(name: string, soft: number, hard: number): Rlimit {
  return { type: `RLIMIT_${name.toUpperCase()}`, soft, hard };
}

/** The reverse of {@link rlimitsFor}; what is unlimited stays infinite. */
export function asUlimit({ type, ...limits }: Rlimit): Ulimit {
  return { name: type.replace('RLIMIT_', '').toLowerCase(), ...limits };
}

function unknownLimit(name: string): DrayError {
  return new DrayError('CONFIG_INVALID', `There is no limit "${name.slice(0, 40)}"`, {
    hint: `Choose one of ${Object.keys(titles).join(', ')}.`,
  });
}
