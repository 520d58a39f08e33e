import { DrayError, encodeError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Redis } from '../queue/connection.ts';
import { type Keys, keysOf } from '../queue/names.ts';
import { clock, runScript } from '../queue/script.ts';
import { createPull, type NewPull } from './create.ts';
import { newPullId } from './id.ts';
import type { Priority } from './priority.ts';
import { PullBlobs } from './pull-blobs.ts';
import { PullNodes } from './pull-nodes.ts';
import { decodeDescriptor, decodeRecord, type PlannedBlob, type PullRecord } from './record.ts';
import {
  changedScript,
  namedScript,
  planScript,
  resolvingScript,
  resumeScript,
  settleScript,
} from './scripts.ts';
import { outcomeOf, type PullOutcome } from './settle.ts';
import { isFinished, type PlatformImage, type PullState } from './status.ts';
import { Transfers } from './transfers.ts';

const pinScript = `${clock}
if redis.call('HSETNX', KEYS[1], 'target', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'pinnedAt', now)
  if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'askedAt', ARGV[2]) end
end
return redis.call('HGET', KEYS[1], 'target')
`;

/** The records of pulls in Redis. Every method can run twice and at the same time as itself. */
export class PullRecords {
  readonly keys: Keys;
  readonly blobs: PullBlobs;
  readonly nodes: PullNodes;
  readonly transfers: Transfers;
  readonly #redis: Redis;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.keys = keysOf(prefix);
    this.blobs = new PullBlobs(redis, this.keys);
    this.nodes = new PullNodes(redis, this.keys);
    this.transfers = new Transfers(redis, this.keys);
  }

  /** See {@link createPull}. */
  async create(request: NewPull, id = newPullId()): Promise<string> {
    await createPull(this.#redis, this.keys, request, id);
    return id;
  }

  async get(id: string): Promise<PullRecord | undefined> {
    const fields = await this.#redis.hgetall(this.keys.pull(id));
    return decodeRecord(id, fields);
  }

  async state(id: string): Promise<PullState | undefined> {
    return ((await this.#redis.hget(this.keys.pull(id), 'state')) ?? undefined) as
      | PullState
      | undefined;
  }

  /** Ids of all pulls that are not finished. */
  async open(): Promise<string[]> {
    return await this.#redis.zrange(this.keys.open, '0', '-1');
  }

  /** Pulls that are not finished and have waited longest for a look, `limit` at most: none of them needs one before `now`. */
  async due(limit: number, now = Date.now()): Promise<string[]> {
    return await this.#redis.zrangebyscore(this.keys.open, 0, now, 'LIMIT', 0, limit);
  }

  /** Pulls that have ended, and whose webhook was not told yet: some of them. */
  async owed(): Promise<string[]> {
    return await this.#redis.srandmember(this.keys.owed, 100);
  }

  /** The webhook of a pull was told, or can't be. */
  async told(id: string): Promise<void> {
    await this.#redis.srem(this.keys.owed, id);
  }

  /** When somebody looks after an open pull again, in milliseconds. One that has ended is not looked after. */
  async lookAt(id: string, when: number): Promise<void> {
    await this.#redis.zadd(this.keys.open, 'XX', when, id);
  }

  /** Takes a pull of which there is no record out of those that are open. */
  async forget(id: string): Promise<void> {
    await this.#redis.zrem(this.keys.open, id);
  }

  /** Newest first; with `before`, those behind that pull. @throws NOT_FOUND for a pull that is not listed */
  async recent(limit: number, before?: string): Promise<string[]> {
    let first = 0;
    if (before !== undefined) {
      const rank = await this.#redis.zrevrank(this.keys.pulls, before);
      if (rank === null) throw new DrayError('NOT_FOUND', `There is no pull ${before}`);
      first = rank + 1;
    }
    return await this.#redis.zrevrange(this.keys.pulls, first, first + limit - 1);
  }

  /** Lets a pull pass others from now on, for what is enqueued for it from here on. */
  async raise({ id, priority }: PullRecord): Promise<void> {
    const raised = { priority: 'high' satisfies Priority, raisedFrom: priority };
    await this.#redis.hset(this.keys.pull(id), raised);
  }

  /** Shows people that the reference is being resolved. */
  async resolving(id: string): Promise<void> {
    await this.#run(resolvingScript, id);
  }

  /**
   * Pins what the reference is. The first caller decides for good.
   * @param askedAt when the registry said so, where it was not asked now
   * @returns what is pinned, by this call or an earlier one
   */
  async pin(id: string, target: Descriptor, askedAt?: Date): Promise<Descriptor> {
    const args = [JSON.stringify(target), askedAt?.getTime() ?? ''];
    const pinned = await runScript(this.#redis, pinScript, [this.keys.pull(id)], args);
    return decodeDescriptor(pinned as string) ?? target;
  }

  /**
   * Records what the pull needs. From here on its state follows from the joins. A second plan changes nothing.
   * @param images what nodes unpack: for each platform that the pull brings
   * @returns whether there was none before
   */
  async plan(id: string, images: readonly PlatformImage[], blobs: PlannedBlob[]): Promise<boolean> {
    const { keys } = this;
    const missing = blobs.filter(({ existed }) => !existed).map((blob) => blob.descriptor.digest);
    const records = blobs.flatMap((blob, order) => [
      blob.descriptor.digest,
      JSON.stringify({ ...blob, order }),
    ]);
    const first = images.find(({ manifest }) => manifest !== undefined);
    const outcome = await this.#settling(
      planScript,
      id,
      missing.map((digest) => keys.blobPulls(digest)),
      first === undefined ? '' : JSON.stringify(first.manifest),
      JSON.stringify(first?.layers ?? []),
      images.length > 1 ? JSON.stringify(images) : '',
      ...[missing.length, ...missing, ...records],
    );
    return outcome !== undefined;
  }

  /** The image has its name (or gets none). */
  async named(id: string): Promise<PullState | undefined> {
    return (await this.#settling(namedScript, id))?.state;
  }

  /** Ends a pull for good. The first reason stays. */
  async fail(id: string, error: unknown): Promise<void> {
    const state = await this.state(id);
    if (state === undefined || isFinished(state)) return;
    // From here on the pull is over: who dies before the next line leaves the rest to the reconciler.
    await this.#redis.hsetnx(this.keys.pull(id), 'error', JSON.stringify(encodeError(error)));
    await this.blobs.leaveAll(id);
    await this.settle(id);
    // Nodes that are at work on it look.
    await this.#redis.publish(this.keys.ended, id);
  }

  /**
   * Ends a pull that nobody wants any more. Workers and nodes stop within 2 s what they do for it alone; what
   * is in the store, or unpacked, stays.
   * @returns its state: another one than cancelled when it had ended before; undefined when there is no such pull
   */
  async cancel(id: string): Promise<PullState | undefined> {
    await this.fail(
      id,
      new DrayError('CANCELLED', 'The pull was cancelled', {
        hint: 'Pull again when it is wanted.',
      }),
    );
    return await this.state(id);
  }

  /** Says to people why a pull waits; an empty note takes it back. */
  async note(id: string, note: string): Promise<void> {
    if (note === '') await this.#redis.hdel(this.keys.pull(id), 'note');
    else await this.#redis.hset(this.keys.pull(id), 'note', note);
    await this.changed(id);
  }

  /** Keeps what a registry has to say to people beside the pull. */
  async warn(id: string, warning: string): Promise<void> {
    await this.#redis.hset(this.keys.pull(id), 'warning', warning);
  }

  /** When something of a pull moved last: a change that its followers see, or bytes of a blob that it waits for. */
  async movedAt(id: string, createdAt: Date): Promise<Date> {
    const [latest, digests] = await Promise.all([
      this.#redis.xrevrange(this.keys.pullEvents(id), '+', '-', 'COUNT', 1),
      this.blobs.missing(id),
    ]);
    const moved = await Promise.all(
      digests.map((digest) => this.#redis.hget(this.keys.blob(digest), 'at')),
    );
    // The id of an event begins with its time.
    const times = [latest[0]?.[0].split('-')[0], ...moved].map((at) => Number(at ?? 0));
    return new Date(Math.max(createdAt.getTime(), ...times));
  }

  /** Brings a pull's state in line with its facts. @returns the state */
  async settle(id: string): Promise<PullState | undefined> {
    return (await this.#settling(settleScript, id))?.state;
  }

  /** No further node begins until {@link resume}; those that are under way go on. @returns the state; undefined: no such pull */
  async pause(id: string): Promise<PullState | undefined> {
    const state = await this.state(id);
    if (state === undefined || isFinished(state)) return state;
    await this.#redis.hset(this.keys.pull(id), 'paused', 1);
    await this.changed(id);
    return state;
  }

  /** Nodes begin again. @returns as {@link pause} */
  async resume(id: string): Promise<PullState | undefined> {
    const state = await this.state(id);
    if (state !== undefined && !isFinished(state)) await this.#run(resumeScript, id, id);
    return state;
  }

  /** No further node begins, for good. The first reason stays. */
  async stop(id: string, error: unknown): Promise<void> {
    await this.#redis.hsetnx(this.keys.pull(id), 'stopped', JSON.stringify(encodeError(error)));
    await this.settle(id);
    await this.changed(id);
  }

  /** Wakes whoever follows the pull. */
  async changed(id: string): Promise<void> {
    await this.#run(changedScript, id);
  }

  async #settling(
    script: string,
    id: string,
    others: readonly string[] = [],
    ...args: (string | number)[]
  ): Promise<PullOutcome | undefined> {
    const now = Date.now();
    const keys = [...this.keys.ofPull(id), ...others];
    return outcomeOf(await runScript(this.#redis, script, keys, [id, now, ...args]), now);
  }

  async #run(script: string, id: string, ...args: (string | number)[]): Promise<unknown> {
    return await runScript(this.#redis, script, this.keys.ofPull(id), args);
  }
}
