import { posix } from 'node:path';
import type { MountPoint } from '../../../shared/agent/containers.ts';
import {
  exposedPort,
  type HealthcheckOptions,
  type MountRequest,
  type NetworkMode,
  type PortRequest,
  type RunOptions,
} from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { ImageConfig } from '../../../shared/image/config.ts';
import type { ContainerSettings, Healthcheck } from './container.ts';

type ProcessConfig = NonNullable<ImageConfig['config']>;

/**
 * What image and options together come to, beside what stands in the runtime's specification.
 * @throws CONFIG_INVALID, USAGE
 */
export function settle(
  image: ProcessConfig,
  options: RunOptions,
  defaultNetwork: NetworkMode,
): ContainerSettings {
  const healthcheck = healthcheckOf(image.Healthcheck ?? undefined, options.healthcheck);
  return {
    labels: { ...image.Labels, ...options.labels },
    network: options.network ?? defaultNetwork,
    exposedPorts: exposedPorts(image, options),
    mounts: mountRequests(image, options).map(mountPoint),
    ...(healthcheck === undefined ? {} : { healthcheck }),
  };
}

function exposedPorts(image: ProcessConfig, { expose = [] }: RunOptions): string[] {
  const own = Object.keys(image.ExposedPorts ?? {}).filter((port) => exposedPort.test(port));
  return [...new Set([...own, ...expose])];
}

/** The ports that are to lead to a container. @throws CONFIG_INVALID for more than a node can have rules for */
export function portRequests(
  options: RunOptions,
  { exposedPorts }: Pick<ContainerSettings, 'exposedPorts'>,
): PortRequest[] {
  const asked = options.ports ?? [];
  if (options.publishAll !== true) return asked;
  const keyOf = ({ containerPort, protocol }: PortRequest) => `${containerPort}/${protocol}`;
  const own = exposedPorts.flatMap((text) => {
    const [, low = '', high = low, protocol = 'tcp'] = exposedPort.exec(text) ?? [];
    const [first, last] = [Math.max(1, Number(low)), Math.min(65_535, Number(high))];
    if (last - first >= mostPublished) throw tooMany();
    return Array.from(
      { length: Math.max(0, last - first + 1) },
      (_, index): PortRequest => ({
        containerPort: first + index,
        protocol: protocol as PortRequest['protocol'],
      }),
    );
  });
  const published = new Set(asked.map(keyOf));
  const more = new Map(own.map((port) => [keyOf(port), port]));
  const all = [
    ...asked,
    ...[...more].filter(([key]) => !published.has(key)).map(([, port]) => port),
  ];
  if (all.length > mostPublished) throw tooMany();
  return all;
}

/** Ports that one container may have of the node: each is some rules of the kernel. */
const mostPublished = 1000;

function tooMany(): DrayError {
  return new DrayError(
    'CONFIG_INVALID',
    `--publish-all would publish more than ${mostPublished} ports of the image`,
    { hint: 'Name those that are needed: --publish 80' },
  );
}

/** The caller's mounts, and a volume of its own for each that the image wants elsewhere. @throws CONFIG_INVALID */
export function mountRequests(image: ProcessConfig, options: RunOptions): MountRequest[] {
  const asked = options.mounts ?? [];
  const taken = new Set(asked.map(({ target }) => posix.resolve('/', target)));
  const own = new Set(Object.keys(image.Volumes ?? {}).map((path) => posix.resolve('/', path)));
  return [
    ...asked,
    ...[...own]
      .filter((target) => !taken.has(target))
      .map((target): MountRequest => ({ type: 'volume', target })),
  ];
}

function mountPoint(request: MountRequest): MountPoint {
  const { type, target, readonly = false } = request;
  const source = type === 'tmpfs' ? undefined : request.source;
  return { type, target, readonly, ...(source === undefined ? {} : { source }) };
}

const nanoseconds = 1_000_000;
const usual = { interval: 30_000, timeout: 30_000, startPeriod: 0, retries: 3 };

/** The image's check with the caller's changes, as docker has it; 0 stands for what is usual. */
function healthcheckOf(
  image: ProcessConfig['Healthcheck'],
  options: HealthcheckOptions | undefined,
): Healthcheck | undefined {
  const command = commandOf(options?.test ?? image?.Test ?? []);
  if (command === undefined) return undefined;
  const times = (value: number | null | undefined) => Math.round((value ?? 0) / nanoseconds);
  return {
    command,
    interval: options?.interval || times(image?.Interval) || usual.interval,
    timeout: options?.timeout || times(image?.Timeout) || usual.timeout,
    startPeriod: options?.startPeriod || times(image?.StartPeriod) || usual.startPeriod,
    retries: options?.retries || image?.Retries || usual.retries,
  };
}

function commandOf([form, ...rest]: readonly string[]): string[] | undefined {
  if (form === undefined || form === 'NONE') return undefined;
  if (form === 'CMD' && rest.length > 0) return rest;
  if (form === 'CMD-SHELL' && rest.length > 0) return ['/bin/sh', '-c', ...rest];
  throw new DrayError('CONFIG_INVALID', `"${form.slice(0, 40)}" is not a form of a health check`, {
    hint: 'A check is CMD with a program, CMD-SHELL with a line, or NONE.',
  });
}
