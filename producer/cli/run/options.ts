import { isIP } from 'node:net';
import { domainName, networkModes, type RunOptions } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import { environmentOf, parsePairs, parseWorkdir } from './environment.ts';
import type { RunFlags } from './flags.ts';
import { healthcheckOf } from './health.ts';
import { parseRestart, parseUlimit, resourcesOf } from './limits.ts';
import { parseMount, parseTmpfs, parseVolume } from './mounts.ts';
import { parseExpose, parsePublish } from './ports.ts';
import { parseWhole } from './quantities.ts';
import { parseDevice, parseSecurity, parseUserns } from './security.ts';

/**
 * What the options of `dray run` mean. Files that they name are read here: those of the person who calls.
 * @param args what stands behind the reference
 * @throws USAGE
 */
export async function runOptionsOf(
  flags: RunFlags,
  args: readonly string[],
  own: NodeJS.ProcessEnv,
): Promise<RunOptions> {
  const resources = resourcesOf(flags);
  const healthcheck = healthcheckOf(flags);
  const userMapping = parseUserns(flags.userns);
  const restart = parseRestart(flags.restart);
  const env = await environmentOf(flags, own);
  const mounts = [
    ...(flags.volume ?? []).map(parseVolume),
    ...(flags.mount ?? []).map(parseMount),
    ...(flags.tmpfs ?? []).map(parseTmpfs),
  ];
  const { entrypoint, stopTimeout, oomScoreAdj } = flags;
  return definedOnly<RunOptions>({
    entrypoint: entrypoint === undefined ? undefined : entrypoint === '' ? [] : [entrypoint],
    args: args.length === 0 ? undefined : [...args],
    env: env.length === 0 ? undefined : env,
    workingDirectory: flags.workdir === undefined ? undefined : parseWorkdir(flags.workdir),
    user: flags.user,
    groups: flags.groupAdd,
    labels: flags.label === undefined ? undefined : parsePairs('--label', flags.label),
    terminal: flags.tty,
    stdin: flags.interactive,
    init: flags.init,
    restart: restart.name === 'no' ? undefined : restart,
    stopSignal: flags.stopSignal,
    stopTimeout:
      stopTimeout === undefined
        ? undefined
        : parseWhole('--stop-timeout', stopTimeout, { most: 86_400 }),
    mounts: mounts.length === 0 ? undefined : mounts,
    readOnly: flags.readOnly,
    network: flags.network === undefined ? undefined : parseNetwork(flags.network),
    ports: flags.publish?.flatMap(parsePublish),
    expose: flags.expose?.map(parseExpose),
    publishAll: flags.publishAll,
    hostname: flags.hostname,
    // docker takes either.
    hosts: flags.addHost?.map((entry) => entry.replace(/^([^:=]+)=/, '$1:')),
    dns: flags.dns?.map(parseAddress),
    dnsSearch: flags.dnsSearch?.map(parseDomain),
    resources: Object.keys(resources).length === 0 ? undefined : resources,
    ulimits: flags.ulimit?.map(parseUlimit),
    capAdd: flags.capAdd,
    capDrop: flags.capDrop,
    security: flags.securityOpt === undefined ? undefined : await parseSecurity(flags.securityOpt),
    privileged: flags.privileged,
    devices: flags.device?.map(parseDevice),
    sysctls: flags.sysctl === undefined ? undefined : parsePairs('--sysctl', flags.sysctl),
    oomScoreAdj:
      oomScoreAdj === undefined
        ? undefined
        : parseWhole('--oom-score-adj', oomScoreAdj, { least: -1000, most: 1000 }),
    userMapping,
    runtime: flags.runtime,
    healthcheck,
  });
}

function parseNetwork(text: string): RunOptions['network'] {
  const found = networkModes.find((mode) => mode === text);
  if (found !== undefined) return found;
  throw new DrayError('USAGE', `There is no network "${text}"`, {
    hint: "Choose bridge (an address of its own), host (the node's network) or none (only loopback).",
  });
}

function parseAddress(text: string): string {
  if (isIP(text) !== 0) return text;
  throw new DrayError('USAGE', `--dns "${text}" is not an address`, {
    hint: 'Write the address of a name server: --dns 192.0.2.53.',
  });
}

function parseDomain(text: string): string {
  if (domainName.test(text)) return text;
  throw new DrayError('USAGE', `--dns-search "${text}" is not a domain`, {
    hint: 'Write --dns-search example.com, or . for none.',
  });
}

function definedOnly<T extends object>(options: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined)) as T;
}
