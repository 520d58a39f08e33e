import path from 'node:path';
import { loadConfig } from '../../shared/config/load.ts';
import { DrayError } from '../../shared/errors.ts';
import type { Context } from './context.ts';

const root = path.resolve(import.meta.dirname, '../..');
const programs = {
  worker: 'worker/fleet/main.ts',
  agent: 'worker/agent/main.ts',
  serve: 'producer/api/main.ts',
} as const;

/**
 * What hundreds of requests need lives as long as Redis takes to answer: where the young generation is too small for
 * them it is copied to the old one, which costs a third of all time, and memory.
 */
export const serveOptions = ['--max-semi-space-size=64'];

/**
 * Becomes a program of the fleet: the same process, so that signals and the exit code are its own.
 * @throws USAGE without a configured Redis, or for settings that are wrong; NOT_ROOT for an agent
 */
export function becomeProgram(
  context: Context,
  name: keyof typeof programs,
  env: Record<string, string>,
): void {
  if (context.config.embedded && name !== 'serve') {
    throw new DrayError('USAGE', `dray ${name} is a part of a fleet, and no REDIS_URL is set`, {
      hint: `Set REDIS_URL to the fleet's Redis. The embedded fleet has its own ${name}: dray up`,
    });
  }
  if (name === 'agent' && process.getuid?.() !== 0) {
    throw new DrayError('NOT_ROOT', 'The agent mounts file systems and runs containers as root', {
      hint: 'Start it with sudo, or as a systemd service.',
    });
  }
  // What its options say is checked here, where a person is told of it.
  loadConfig({ env: { ...process.env, ...env } });
  const { execve } = process;
  if (execve === undefined) {
    throw new DrayError('INTERNAL', `Node ${process.version} has no execve`);
  }
  const { execPath, execArgv } = process;
  const own = name === 'serve' ? serveOptions : [];
  execve(execPath, [execPath, ...execArgv, ...own, path.join(root, programs[name])], {
    ...process.env,
    ...env,
  });
}
