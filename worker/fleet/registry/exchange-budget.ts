/** What a registry says that it still answers. */
export interface Quota {
  /** Requests. */
  left: number;
  /** Requests of a whole window. */
  limit?: number;
  /** Milliseconds until there are as many again. */
  resetMs?: number;
  /** Milliseconds of a window. Without a reset it moves along, and what went out of it comes back. */
  windowMs?: number;
}

/** A request that was let in. It must be disposed when its answer is over. */
export interface Entered extends Disposable {
  /** Its answer has begun. @param quota what the registry says in it */
  answered(quota: Quota | undefined): Promise<void>;
}

/** What a registry may be asked, and when: the fleet's limits, seen from one client. */
export interface ExchangeBudget {
  /**
   * Resolves when a request may be sent.
   * @throws RATE_LIMITED with context.retryAfterMs when that is not soon
   */
  enter(registry: string, options: EnterOptions): Promise<Entered>;
  /**
   * The registry asked for a pause: nobody asks it anything before.
   * @param ms undefined when it did not say for how long
   * @returns milliseconds until it may be asked again
   */
  pause(registry: string, ms: number | undefined): Promise<number>;
  /** For the bytes of one blob. @throws what a pace throws: the signal's reason */
  pace(registry: string, signal: AbortSignal | undefined): Pace;
}

/** Takes into account that so many bytes have come. A promise says when they may be used, and more may come. */
export type Pace = (bytes: number) => Promise<void> | undefined;

export interface EnterOptions {
  /** The request goes on with one that was let in: it counts, and does not wait. */
  follows: boolean;
  /** A blob comes back: its bytes count too. */
  isBlob: boolean;
  signal: AbortSignal | undefined;
}

/** For programs that are no part of a fleet. */
export const noBudget: ExchangeBudget = {
  enter: async () => ({ answered: async () => {}, [Symbol.dispose]: () => {} }),
  pause: async (_registry, ms = 1_000) => ms,
  pace: () => () => undefined,
};
