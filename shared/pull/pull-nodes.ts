import { encodeError } from '../errors.ts';
import { byName } from '../node/registry.ts';
import type { Redis } from '../queue/connection.ts';
import type { Keys } from '../queue/names.ts';
import { runScript } from '../queue/script.ts';
import { decodeNode, encodeNode, failedNode, type NodeRecord } from './node-record.ts';
import { imageFor, isOfSeveral, type PullRecord } from './record.ts';
import { admitScript, atWorkScript, nodeScript, withdrawScript } from './scripts.ts';
import { outcomeOf, type PullOutcome } from './settle.ts';
import { isFinished, type NodeStatus, type PullState } from './status.ts';

/** Milliseconds after which a node that has not said that it is at work is looked after. */
const lookAfter = 15_000;
/** The same, for one that was looked after. */
const lookAgain = 30_000;
/** Nodes that one look takes at most. */
const batch = 200;

/** What a node needs to know of a pull that it is a part of. */
export interface Assignment {
  /** Nodes of the pull: the more, the less often each tells how far it is. */
  nodeCount: number;
  noProgressMs?: number;
}

/**
 * The nodes of pulls: those that wait for their turn (pending), those that are under way (active), and how each is
 * that has begun. Every method can run twice and at the same time as itself.
 */
export class PullNodes {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Lets the next nodes of a planned pull begin, as its pace has it. They are under way from now on: their jobs are
   * the caller's to enqueue, and if it dies before, they are among the {@link overdue} soon.
   */
  async admit(id: string): Promise<string[]> {
    const admitted: string[] = [];
    for (;;) {
      const args = [Date.now() + lookAfter, batch];
      const some = (await this.#run(admitScript, id, args)) as string[];
      admitted.push(...some);
      if (some.length < batch) return admitted;
    }
  }

  /** What a node is to do for a pull; undefined when it is not, or not any more, under way there. */
  async assignment(id: string, node: string): Promise<Assignment | undefined> {
    const [fields, score] = await Promise.all([
      this.#redis.hmget(this.#keys.pull(id), 'state', 'total', 'noProgressMs'),
      this.#redis.zscore(this.#keys.pullActive(id), node),
    ]);
    const [state, total, noProgressMs] = fields;
    if (score === null || state === undefined || state === null) return undefined;
    if (isFinished(state as PullState)) return undefined;
    return {
      nodeCount: Number(total ?? 1),
      ...(noProgressMs === undefined || noProgressMs === null
        ? {}
        : { noProgressMs: Number(noProgressMs) }),
    };
  }

  /** A node says that it is at work. @returns whether that is still wanted */
  async atWork(id: string, node: string): Promise<boolean> {
    return (await this.#run(atWorkScript, id, [node, Date.now() + lookAfter])) === 1;
  }

  /**
   * Writes how a node that is under way is. Its first end counts.
   * @returns undefined when it is not under way (any more): nothing was changed
   */
  async set(id: string, node: string, record: NodeRecord): Promise<PullOutcome | undefined> {
    const now = Date.now();
    const value = encodeNode(record);
    return await this.#settling(nodeScript, id, now, node, record.state, value, now + lookAfter);
  }

  /**
   * A node that is under way has failed. What it has said of its layers stays.
   * @returns as {@link set}
   */
  async fail(id: string, node: string, error: unknown): Promise<PullOutcome | undefined> {
    const known = await this.#redis.hget(this.#keys.pullNodes(id), node);
    const record = failedNode(known, encodeError(error));
    const now = Date.now();
    return await this.#settling(nodeScript, id, now, node, 'failed', record, now + lookAfter);
  }

  /**
   * Ends what a pull wants of a node, begun or not, as failed.
   * @returns undefined when it wants nothing of it (any more)
   */
  async withdraw(id: string, node: string, error: unknown): Promise<PullOutcome | undefined> {
    const known = await this.#redis.hget(this.#keys.pullNodes(id), node);
    const record = failedNode(known, encodeError(error));
    const outcome = await this.#settling(withdrawScript, id, Date.now(), node, record);
    // An agent that is at work on it looks.
    await this.#redis.publish(this.#keys.ended, id);
    return outcome;
  }

  async #settling(
    script: string,
    id: string,
    now: number,
    ...args: (string | number)[]
  ): Promise<PullOutcome | undefined> {
    return outcomeOf(await this.#run(script, id, [id, now, ...args]), now);
  }

  async #run(script: string, id: string, args: readonly (string | number)[]): Promise<unknown> {
    return await runScript(this.#redis, script, this.#keys.ofPull(id), args);
  }

  /**
   * Nodes under way that have not said for a while that they are at work: their jobs may be lost, or they are. They
   * are not among the next ones for half a minute.
   */
  async overdue(id: string): Promise<string[]> {
    const key = this.#keys.pullActive(id);
    const now = Date.now();
    const names = await this.#redis.zrangebyscore(key, 0, now, 'LIMIT', 0, batch);
    if (names.length > 0) {
      const scored = names.flatMap((name) => [now + lookAgain, name]);
      await this.#redis.zadd(key, 'XX', ...scored);
    }
    return names;
  }

  /** The nodes that have not got ready. */
  async unready(record: PullRecord): Promise<string[]> {
    const nodes = await this.all(record);
    return nodes.filter(({ state }) => state !== 'ready').map(({ name }) => name);
  }

  /** All that have not ended: they wait for their turn, or are under way. */
  async underWay(id: string): Promise<string[]> {
    const waiting = await this.#redis.lrange(this.#keys.pullPending(id), 0, -1);
    return [...waiting, ...(await this.active(id))];
  }

  /** All that are under way. */
  async active(id: string): Promise<string[]> {
    return await this.#redis.zrange(this.#keys.pullActive(id), '0', '-1');
  }

  /** How many have begun, whether they have ended or not. */
  async begun(id: string): Promise<number> {
    return await this.#redis.hlen(this.#keys.pullNodes(id));
  }

  /** Of some nodes the platform whose image each gets; empty where the pull brings one only. */
  async platforms(
    record: Pick<PullRecord, 'id' | 'platform'>,
    names: readonly string[],
  ): Promise<Map<string, string>> {
    if (names.length === 0 || !isOfSeveral(record)) return new Map();
    const found = await this.#redis.hmget(this.#keys.pullPlatforms(record.id), ...names);
    return new Map(names.flatMap((name, at) => (found[at] ? [[name, found[at]]] : [])));
  }

  /** The platforms that the nodes of a pull get, where it brings more than one. */
  async allPlatforms(id: string): Promise<string[]> {
    return [...new Set(await this.#redis.hvals(this.#keys.pullPlatforms(id)))].toSorted();
  }

  /** Every node of a pull as it stands, by name. */
  async all(
    record: Pick<PullRecord, 'id' | 'platform' | 'images' | 'state'>,
  ): Promise<NodeStatus[]> {
    const keys = this.#keys;
    const { id } = record;
    const isOver = isFinished(record.state);
    const [begun, pending, active, platformOf] = await Promise.all([
      this.#redis.hgetall(keys.pullNodes(id)),
      this.#redis.lrange(keys.pullPending(id), 0, -1),
      this.#redis.zrange(keys.pullActive(id), '0', '-1'),
      isOfSeveral(record) ? this.#redis.hgetall(keys.pullPlatforms(id)) : {},
    ]);
    const nodes = new Map<string, NodeStatus>();
    for (const node of waitingNodes([...pending, ...active], platformOf)) {
      nodes.set(node.name, node);
    }
    for (const [name, text] of Object.entries(begun)) {
      const node = nodeOf(name, platformOf);
      nodes.set(name, decodeNode(node, text, imageFor(record, node)?.layers ?? []));
    }
    return [...nodes.values()].map((node) => (isOver ? stopped(node) : node)).sort(byName);
  }
}

/** Nodes that have not begun, by name. @param platformOf whose image each gets, where the pull brings more than one */
export function waitingNodes(
  names: readonly string[],
  platformOf: Readonly<Record<string, string>> = {},
): NodeStatus[] {
  return names
    .map((name): NodeStatus => ({ ...nodeOf(name, platformOf), state: 'waiting', layers: [] }))
    .sort(byName);
}

function nodeOf(
  name: string,
  platformOf: Readonly<Record<string, string>>,
): Pick<NodeStatus, 'name' | 'platform'> {
  const platform = platformOf[name];
  return platform === undefined ? { name } : { name, platform };
}

/** A node that had not ended when its pull did. */
export function stopped(node: NodeStatus): NodeStatus {
  return node.state === 'ready' || node.state === 'failed' ? node : { ...node, state: 'stopped' };
}
