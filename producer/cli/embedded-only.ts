import type { Config } from '../../shared/config/config.ts';
import { DrayError } from '../../shared/errors.ts';

/** @throws USAGE when a Redis elsewhere is configured, whose fleet is not this machine's to start or stop */
export function requireEmbedded(config: Config): void {
  if (config.embedded) return;
  throw new DrayError(
    'USAGE',
    'There is no embedded fleet here: REDIS_URL names a Redis of your own',
    {
      hint: 'Unset REDIS_URL for the embedded fleet. The parts of a fleet are: dray worker, dray agent --node NAME.',
    },
  );
}
