import type { ResourceLimits, RestartPolicy, Ulimit } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { RunFlags } from './flags.ts';
import { parseBytes, parseWhole } from './quantities.ts';

/** What the options say of memory, processors and processes; 0 is what it is without the option. @throws USAGE */
export function resourcesOf(flags: RunFlags): ResourceLimits {
  const { cpus, cpuShares, cpusetCpus, memory, memorySwap, pidsLimit, shmSize } = flags;
  const given: ResourceLimits = {
    cpus: cpus === undefined ? 0 : parseCpus(cpus),
    cpuShares: cpuShares === undefined ? 0 : parseShares(cpuShares),
    ...(cpusetCpus === undefined ? {} : { cpuset: cpusetCpus }),
    memory: memory === undefined ? 0 : parseBytes('--memory', memory),
    memorySwap:
      memorySwap === undefined
        ? 0
        : memorySwap === '-1'
          ? -1
          : parseBytes('--memory-swap', memorySwap),
    pids: pidsLimit === undefined ? 0 : parseWhole('--pids-limit', pidsLimit, { least: -1 }) || -1,
    shmSize: shmSize === undefined ? 0 : parseBytes('--shm-size', shmSize),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== 0));
}

function parseCpus(text: string): number {
  const cpus = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && (cpus >= 0.01 || cpus === 0)) return cpus;
  throw new DrayError('USAGE', `--cpus "${text}" is not a number of processors`, {
    hint: 'Write --cpus 1.5; the least is 0.01.',
  });
}

function parseShares(text: string): number {
  return text === '0' ? 0 : parseWhole('--cpu-shares', text, { least: 2, most: 262_144 });
}

/** Parses `--ulimit`: `NAME=SOFT[:HARD]`, where -1 and unlimited are no limit. @throws USAGE */
export function parseUlimit(text: string): Ulimit {
  const [, name, soft = '', hard = soft] =
    /^([a-z]+)=(-1|unlimited|\d+)(?::(-1|unlimited|\d+))?$/.exec(text) ?? [];
  const value = (limit: string) => (limit === 'unlimited' ? -1 : Number(limit));
  if (name !== undefined) return { name, soft: value(soft), hard: value(hard) };
  throw new DrayError('USAGE', `--ulimit "${text}" is not a limit`, {
    hint: 'Write --ulimit nofile=1024:4096, or core=0.',
  });
}

/** Parses `--restart`: `no`, `always` or `on-failure[:N]`; `unless-stopped` is what always does. @throws USAGE */
export function parseRestart(text: string): RestartPolicy {
  const [, name, retries] =
    /^(no|always|unless-stopped|on-failure)(?::(\d{1,9}))?$/.exec(text) ?? [];
  if (name !== undefined && (retries === undefined || name === 'on-failure')) {
    if (name === 'unless-stopped') return { name: 'always' };
    const maxRetries = retries === undefined ? 0 : Number(retries);
    return {
      name: name as RestartPolicy['name'],
      ...(maxRetries === 0 ? {} : { maxRetries }),
    };
  }
  throw new DrayError('USAGE', `--restart "${text}" is not a policy`, {
    hint: 'Choose no, on-failure, on-failure:5 or always.',
  });
}
