import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Result } from 'ioredis';
import { DrayError } from '../../../shared/errors.ts';
import { rankOf } from '../../../shared/pull/priority.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { type Keys, keysOf } from '../../../shared/queue/names.ts';
import { type FleetLimits, RegistryLimits } from '../../../shared/registry/limits.ts';
import { throttles } from '../metrics.ts';
import type {
  Entered,
  EnterOptions,
  ExchangeBudget,
  Pace,
  Quota,
} from '../registry/exchange-budget.ts';
import { exhaustedMs } from '../registry/rate-limit.ts';
import { type Asking, whoAsks } from './asking.ts';
import {
  answeredScript,
  bytesScript,
  enterScript,
  leaveScript,
  pauseScript,
  renewScript,
} from './scripts.ts';

/**
 * Milliseconds for which a request is waited for here. Longer ones are the queue's to wait for: a job that waits
 * there holds no slot. One that has begun waits longer than it takes to put it back and take it up again.
 */
const patience = { outside: 30, inside: 500 };
/** Milliseconds after which the requests of a dead worker no longer count. */
const holderLife = 30_000;
const renewal = 10_000;
/** Milliseconds after which what a registry said of its quota is out of date, when it did not say until when it counts. */
const quotaAge = 5 * 60_000;
const longestQuotaAge = 24 * 3600_000;
/** Milliseconds for which limits are not read again while bytes flow. */
const limitsAge = 1_000;
/** Where they are not known there may be some. */
const unknownLimits: FleetLimits = { bytesPerSecond: 0 };
const mostSeen = 1_000;
/** Part of a second's bytes that is taken at once. */
const quantum = 0.1;

declare module 'ioredis' {
  interface RedisCommander<Context> {
    budgetEnter(
      ...keysAndArguments: (string | number)[]
    ): Result<[0 | 1, number, Reason | '', 0 | 1, string, string], Context>;
    budgetAnswered(...keysAndArguments: (string | number)[]): Result<null, Context>;
    budgetLeave(...keysAndArguments: (string | number)[]): Result<null, Context>;
    budgetRenew(...keysAndArguments: (string | number)[]): Result<null, Context>;
    budgetBytes(...keysAndArguments: (string | number)[]): Result<number, Context>;
    budgetPause(...keysAndArguments: (string | number)[]): Result<number, Context>;
  }
}

type Reason = 'paused' | 'rate' | 'concurrent' | 'bandwidth' | 'quota';

/** One budget for each registry, of the whole fleet: its state is in Redis. */
export class RegistryBudgets implements ExchangeBudget, Disposable {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #limits: RegistryLimits;
  /** Requests of this worker that count as under way, with their registries. */
  readonly #held = new Map<string, string>();
  readonly #seen = new Map<string, { limits: FleetLimits; at: number }>();
  /** When this worker may use the next bytes, by performance.now(). */
  readonly #nextBytes = new Map<string, number>();
  readonly #renewing: NodeJS.Timeout;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#keys = keysOf(prefix);
    this.#limits = new RegistryLimits(redis, prefix);
    redis.defineCommand('budgetEnter', { numberOfKeys: 8, lua: enterScript });
    redis.defineCommand('budgetAnswered', { numberOfKeys: 3, lua: answeredScript });
    redis.defineCommand('budgetLeave', { numberOfKeys: 3, lua: leaveScript });
    redis.defineCommand('budgetRenew', { numberOfKeys: 1, lua: renewScript });
    redis.defineCommand('budgetBytes', { numberOfKeys: 1, lua: bytesScript });
    redis.defineCommand('budgetPause', { numberOfKeys: 3, lua: pauseScript });
    this.#renewing = setInterval(() => this.#renew(), renewal);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#renewing);
  }

  async enter(registry: string, options: EnterOptions): Promise<Entered> {
    const { signal } = options;
    const asker = whoAsks() ?? nobody();
    const until = performance.now() + (asker.isInside ? patience.inside : patience.outside);
    const holder = randomUUID();
    const { state, paused, line, busy, used, quota, asked } = this.#keys.budget(registry);
    for (;;) {
      signal?.throwIfAborted();
      const [isIn, wait, why, counts, text, left] = await this.#redis.budgetEnter(
        ...[this.#keys.limits, state, paused, line, busy, used, quota, asked],
        ...[registry, asker.ticket],
        ...[rankOf(asker.priority), Number(options.follows), Number(asker.isInside)],
        ...[Number(asker.isPatient), Number(options.isBlob), holder, holderLife],
      );
      if (isIn === 1) {
        asker.isInside = true;
        return this.#entered(registry, options, counts === 1 ? holder : undefined);
      }
      if (performance.now() + wait > until) {
        throttles.inc({ limit: why || 'rate' });
        throw refused(registry, wait, why || 'rate', JSON.parse(text) as FleetLimits, left);
      }
      await sleep(wait, undefined, signal === undefined ? {} : { signal });
    }
  }

  async pause(registry: string, ms: number | undefined): Promise<number> {
    const { paused, refusals } = this.#keys.budget(registry);
    return await this.#redis.budgetPause(
      ...[paused, refusals, this.#keys.paused, registry, ms ?? ''],
    );
  }

  pace(registry: string, signal: AbortSignal | undefined): Pace {
    const options = signal === undefined ? {} : { signal };
    /** Bytes that were taken from the registry's and did not come yet. */
    let spare = 0;
    const slowly = async (bytes: number) => {
      const { bytesPerSecond, workerBytesPerSecond } = await this.#limitsOf(registry);
      let wait = 0;
      spare = bytesPerSecond === undefined ? 0 : spare - bytes;
      if (bytesPerSecond !== undefined && spare < 0) {
        const taken = Math.ceil(Math.max(-spare, bytesPerSecond * quantum));
        const { state } = this.#keys.budget(registry);
        wait = await this.#redis.budgetBytes(state, taken, bytesPerSecond);
        spare += taken;
      }
      if (workerBytesPerSecond !== undefined) {
        const now = performance.now();
        const from = Math.max(now, this.#nextBytes.get(registry) ?? 0);
        this.#nextBytes.set(registry, from + (bytes * 1000) / workerBytesPerSecond);
        wait = Math.max(wait, from - now);
      }
      if (wait > 0) await sleep(wait, undefined, options);
    };
    return (bytes) => {
      const { bytesPerSecond, workerBytesPerSecond } = this.#knownLimits(registry) ?? unknownLimits;
      if (bytesPerSecond !== undefined || workerBytesPerSecond !== undefined) return slowly(bytes);
      spare = 0;
      return undefined;
    };
  }

  /** The limits as they were a second ago at most, where they are known. */
  #knownLimits(registry: string): FleetLimits | undefined {
    const seen = this.#seen.get(registry);
    return seen !== undefined && performance.now() - seen.at < limitsAge ? seen.limits : undefined;
  }

  /** The same, read where they are not known. */
  async #limitsOf(registry: string): Promise<FleetLimits> {
    const known = this.#knownLimits(registry);
    if (known !== undefined) return known;
    const limits = await this.#limits.get(registry);
    if (this.#seen.size >= mostSeen) this.#seen.clear();
    this.#seen.set(registry, { limits, at: performance.now() });
    return limits;
  }

  /** @param holder undefined when nobody counts the request */
  #entered(registry: string, { isBlob }: EnterOptions, holder: string | undefined): Entered {
    const begun = performance.now();
    if (holder !== undefined) this.#held.set(holder, registry);
    return {
      answered: (quota) => this.#answered(registry, { isBlob, holder }, quota),
      [Symbol.dispose]: () => {
        if (holder === undefined || !this.#held.delete(holder)) return;
        const { state, busy, asked } = this.#keys.budget(registry);
        const took = Math.round(performance.now() - begun);
        this.#redis.budgetLeave(state, busy, asked, holder, took).catch(() => {
          // It counts until its time is over.
        });
      },
    };
  }

  async #answered(
    registry: string,
    { isBlob, holder }: { isBlob: boolean; holder: string | undefined },
    quota: Quota | undefined,
  ): Promise<void> {
    const until = exhaustedMs(quota);
    if (until !== undefined) await this.pause(registry, until);
    if (holder === undefined && quota === undefined) return;
    const keys = this.#keys.budget(registry);
    const { left = '', limit = '', resetMs, windowMs } = quota ?? {};
    // Of a window that moves along, as much comes back as went long ago: one at a time, as if they had come evenly.
    const every =
      quota?.limit && resetMs === undefined && windowMs !== undefined ? windowMs / quota.limit : '';
    const age = Math.min(
      longestQuotaAge,
      Math.max(1_000, resetMs ?? Math.max(windowMs ?? 0, quotaAge)),
    );
    await this.#redis.budgetAnswered(
      ...[keys.quota, keys.asked, this.#keys.quotas, registry, holder ?? '', Number(isBlob)],
      ...[left, limit, resetMs === undefined ? '' : age, every, Math.ceil(age)],
    );
  }

  #renew(): void {
    const byRegistry = Map.groupBy(this.#held, ([, registry]) => registry);
    for (const [registry, held] of byRegistry) {
      const holders = held.map(([holder]) => holder);
      this.#redis
        .budgetRenew(this.#keys.budget(registry).busy, holderLife, ...holders)
        .catch(() => {
          // One too many may be under way for a while.
        });
    }
  }
}

/** Who asks where no job does. */
function nobody(): Asking {
  return { ticket: randomUUID(), priority: 'normal', isPatient: false, isInside: false };
}

/** @param left what the registry says that is left of its quota, or '' */
function refused(
  registry: string,
  wait: number,
  why: Reason,
  limits: FleetLimits,
  left: string,
): DrayError {
  const { requestsPerSecond = 0, concurrent = 0, bytesPerSecond = 0 } = limits;
  const limit = {
    paused: `${registry} asked for a pause`,
    rate: `${registry} may be asked ${requestsPerSecond} times a second`,
    concurrent: `${registry} may be asked for ${concurrent} things at once`,
    bandwidth: `${registry} may send ${bytesPerSecond} bytes a second`,
    quota: `${registry} says that ${left || 'few'} more requests are left`,
  };
  const more = 'Registries allow more to those who log in.';
  const hint =
    why === 'paused'
      ? `It is asked again later. ${more}`
      : why === 'quota'
        ? `They are spread out, and pulls that somebody waits for go first. ${more}`
        : `The limit was set with: dray registry limits ${registry}`;
  return new DrayError('RATE_LIMITED', limit[why], {
    retryable: true,
    context: { host: registry, retryAfterMs: wait, waitsFor: why },
    hint,
  });
}
