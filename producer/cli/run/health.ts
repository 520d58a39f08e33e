import type { HealthcheckOptions } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { RunFlags } from './flags.ts';
import { parseTime, parseWhole } from './quantities.ts';

/** What the options say of the check; undefined when they say nothing. @throws USAGE */
export function healthcheckOf(flags: RunFlags): HealthcheckOptions | undefined {
  const { healthCmd, healthInterval, healthTimeout, healthStartPeriod, healthRetries } = flags;
  const given = [healthCmd, healthInterval, healthTimeout, healthStartPeriod, healthRetries];
  const isGiven = given.some((flag) => flag !== undefined);
  if (flags.healthcheck === false) {
    if (!isGiven) return { test: ['NONE'] };
    throw new DrayError('USAGE', '--no-healthcheck and the options of a check are at odds');
  }
  if (!isGiven) return undefined;
  return {
    ...(healthCmd === undefined ? {} : { test: ['CMD-SHELL', healthCmd] }),
    ...(healthInterval === undefined
      ? {}
      : { interval: parseTime('--health-interval', healthInterval) }),
    ...(healthTimeout === undefined
      ? {}
      : { timeout: parseTime('--health-timeout', healthTimeout) }),
    ...(healthStartPeriod === undefined
      ? {}
      : { startPeriod: parseTime('--health-start-period', healthStartPeriod) }),
    ...(healthRetries === undefined
      ? {}
      : { retries: parseWhole('--health-retries', healthRetries, { least: 1, most: 1000 }) }),
  };
}
