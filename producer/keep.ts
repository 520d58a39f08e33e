import type { Config } from '../shared/config/config.ts';
import type { Store } from '../shared/content/store.ts';
import type { DesiredSet, Retention } from '../shared/desired/desired-set.ts';
import { DesiredSets } from '../shared/desired/desired-sets.ts';
import { parseSchedule } from '../shared/desired/schedule.ts';
import { defaultSetName, parseSetName } from '../shared/desired/set-name.ts';
import { DrayError } from '../shared/errors.ts';
import { allPlatforms } from '../shared/image/platform.ts';
import { formatReference, parseReference } from '../shared/image/reference.ts';
import { formatSelector, parseSelector } from '../shared/node/selector.ts';
import { enqueuePull, placesOf } from '../shared/pull/accept.ts';
import type { Priority } from '../shared/pull/priority.ts';
import type { PullRequest } from '../shared/pull/status.ts';
import { queueError, type Redis } from '../shared/queue/connection.ts';

/** How an image is kept on nodes. */
export interface Keeping {
  /** Default: after the image. */
  name?: string;
  /** A duration, or a cron expression in UTC: when the tag is looked at again. */
  schedule?: string;
  retention: Retention;
  /** Of what comes later: whoever asks now may be in more of a hurry. Default: normal. */
  priority?: Priority;
}

export interface KeepServices {
  config: Config;
  redis: Redis;
  store: Pick<Store, 'desired'>;
}

/**
 * Makes a desired set, or replaces the one of that name, and accepts the pull that brings the nodes that match now to
 * it. Once this returns, neither is lost by the death of any process.
 * @returns the set's name, and the pull's id
 * @throws what {@link enqueuePull} throws, and CONFLICT for the name of a set of another image
 */
export async function keepImage(
  request: PullRequest,
  keeping: Keeping,
  services: KeepServices,
  options: { signal?: AbortSignal; say?: (line: string) => void } = {},
): Promise<{ name: string; pull: string }> {
  const { config, redis, store } = services;
  const reference = formatReference(parseReference(request.reference));
  const name = parseSetName(keeping.name ?? defaultSetName(reference));
  if (keeping.schedule !== undefined) parseSchedule(keeping.schedule);
  const selector = selectorOf(request);
  const { platform, credential, pace = {} } = request;
  const { priority = 'normal' } = keeping;
  if (platform === allPlatforms) {
    throw new DrayError('USAGE', 'Nodes keep the image for their own platforms, not all', {
      hint: 'Name those that are to be kept: --platform linux/amd64,linux/arm64',
    });
  }
  try {
    const sets = new DesiredSets(redis, config.redis.prefix, store.desired);
    const asked = { ...request, nodes: [], selector: parseSelector(selector), desired: name };
    const places = await placesOf(asked, config, redis, {});
    const wantedSet = (before: DesiredSet | undefined): DesiredSet => {
      if (before !== undefined && before.reference !== reference) {
        throw new DrayError('CONFLICT', `The desired set ${name} is of ${before.reference}`, {
          hint: 'Choose another name with --keep-as, or remove that set first: dray desired rm',
        });
      }
      const isSame = before?.platform === places.platform;
      return {
        ...{ name, reference, platform: places.platform, selector, priority, pace },
        retention: keeping.retention,
        createdAt: before?.createdAt ?? new Date(),
        // What it was stays on the nodes, for the way back.
        previous: isSame ? before.previous : [],
        ...(isSame && before.current !== undefined ? { current: before.current } : {}),
        ...(credential === undefined ? {} : { credential }),
        ...(keeping.schedule === undefined ? {} : { schedule: keeping.schedule }),
      };
    };
    await sets.update(name, wantedSet, options);
    const wanted = { ...request, nodes: [], selector, platform: places.platform, desired: name };
    return { name, pull: await enqueuePull(config, redis, wanted, options) };
  } catch (error) {
    throw queueError(error, config.redis, redis);
  }
}

/** Nodes that are named are chosen by their names from now on. */
function selectorOf({ nodes, selector }: PullRequest): string {
  if (selector !== undefined) return formatSelector(parseSelector(selector));
  if (nodes.length === 0) {
    throw new DrayError('USAGE', 'It is not said which nodes shall keep the image', {
      hint: 'Choose them with --selector, --all-nodes or --node.',
    });
  }
  return formatSelector([{ key: 'name', operator: 'in', values: [...new Set(nodes)] }]);
}
