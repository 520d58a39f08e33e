import type { ContainerState, ContainerStatus } from '../../shared/agent/containers.ts';
import { DrayError } from '../../shared/errors.ts';
import { formatReference, parseReference } from '../../shared/image/reference.ts';
import { isShortDigest } from '../short-digest.ts';
import { parseWhole } from './run/quantities.ts';

/** What `dray ps --filter` keeps. */
export interface ContainerFilter {
  /** Whether it asks for containers that do not run, so that they are listed without `--all`. */
  isOfAll: boolean;
  keeps: (container: ContainerStatus) => boolean;
}

type Test = (container: ContainerStatus) => boolean;

const states: readonly ContainerState[] = [
  ...(['creating', 'created', 'starting', 'running'] as const),
  ...(['paused', 'restarting', 'exited', 'removing'] as const),
];
const healthStates = ['starting', 'healthy', 'unhealthy', 'none'];

/** How the value of each key is read. */
const keys: Record<string, (value: string) => Test> = {
  id:
    (value) =>
    ({ id }) =>
      id.startsWith(value),
  name: (value) => {
    const pattern = patternOf(value);
    return ({ id }) => pattern.test(id);
  },
  status: (value) => {
    requireOneOf('status', value, states);
    return ({ state }) => state === value;
  },
  exited: (value) => {
    const code = parseWhole('--filter exited', value, { most: 255 });
    return ({ state, exitCode }) => state === 'exited' && exitCode === code;
  },
  health: (value) => {
    requireOneOf('health', value, healthStates);
    return ({ health }) => (health?.state ?? 'none') === value;
  },
  label: (value) => {
    const at = value.indexOf('=');
    const [name, wanted] = at < 0 ? [value] : [value.slice(0, at), value.slice(at + 1)];
    return ({ labels }) =>
      Object.hasOwn(labels, name) && (wanted === undefined || labels[name] === wanted);
  },
  ancestor: (value) => {
    if (isShortDigest(value)) {
      return ({ manifest }) => manifest.startsWith(value) || manifest.includes(`:${value}`);
    }
    const name = formatReference(parseReference(value));
    return ({ image }) => image === name || image.startsWith(`${name}@`);
  },
  network:
    (value) =>
    ({ network }) =>
      network.mode === value,
  volume:
    (value) =>
    ({ mounts }) =>
      mounts.some(({ source, target }) => source === value || target === value),
};

/**
 * Parses what `dray ps --filter` was given, as docker has it: of several values of one key any may hold, but all
 * labels must.
 * @throws USAGE
 */
export function parseFilters(texts: readonly string[]): ContainerFilter {
  const tests = new Map<string, Test[]>();
  for (const text of texts) {
    const at = text.indexOf('=');
    const [key, value] = [text.slice(0, at), text.slice(at + 1)];
    const testOf = Object.hasOwn(keys, key) ? keys[key] : undefined;
    if (at < 1 || testOf === undefined) {
      throw new DrayError('USAGE', `--filter "${text}" is no filter of containers`, {
        hint: `Write KEY=VALUE, where the key is one of ${Object.keys(keys).join(', ')}.`,
      });
    }
    tests.set(key, [...(tests.get(key) ?? []), testOf(value)]);
  }
  return {
    isOfAll: tests.has('status') || tests.has('exited'),
    keeps: (container) =>
      [...tests].every(([key, each]) =>
        key === 'label'
          ? each.every((test) => test(container))
          : each.some((test) => test(container)),
      ),
  };
}

function requireOneOf(key: string, value: string, known: readonly string[]): void {
  if (known.includes(value)) return;
  throw new DrayError('USAGE', `--filter ${key}: there is no ${key} "${value}"`, {
    hint: `Choose one of ${known.join(', ')}.`,
  });
}

/** Of docker's names, which begin with a slash there. */
function patternOf(text: string): RegExp {
  try {
    return new RegExp(text.replace(/^(\^?)\//, '$1'));
  } catch {
    throw new DrayError('USAGE', `--filter name: "${text}" is no regular expression`);
  }
}
