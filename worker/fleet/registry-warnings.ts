import type { Logger } from '../../shared/logging.ts';
import type { PullRecords } from '../../shared/pull/records.ts';
import { type Asking, whoAsks } from './budget/asking.ts';

/** Milliseconds for which the same warning is not logged again, and warnings that are remembered. */
const logAgainAfter = 3600_000;
const mostRemembered = 1_000;

/**
 * Hands on what registries warn of (distribution-spec, "Warnings"): to the log once in a while, and to whoever follows
 * the pull, once for it. Nothing else is done about a warning.
 */
export function reportWarnings(services: {
  records: Pick<PullRecords, 'warn'>;
  log: Logger;
}): (registry: string, warning: string) => void {
  const logged = new Map<string, number>();
  const told = new WeakMap<Asking, Set<string>>();
  return (registry, warning) => {
    const text = `${registry} warns: ${warning}`;
    const now = performance.now();
    if ((logged.get(text) ?? Number.NEGATIVE_INFINITY) < now - logAgainAfter) {
      if (logged.size >= mostRemembered) logged.clear();
      logged.set(text, now);
      services.log.warn({ registry }, text);
    }
    const asker = whoAsks();
    if (asker?.pull === undefined) return;
    const before = told.get(asker) ?? new Set();
    if (before.has(text)) return;
    told.set(asker, before.add(text));
    services.records.warn(asker.pull, [...before].join('; ')).catch((error: unknown) => {
      services.log.debug({ err: error }, 'a warning could not be written');
    });
  };
}
