/** What a registry may be asked, and when: the fleet's limits, seen from one client. */
export interface ExchangeBudget {
  /**
   * Resolves when a request may be sent. What is got must be disposed when the answer is over.
   * @throws RATE_LIMITED with context.retryAfterMs when that is not soon
   */
  enter(registry: string, options: EnterOptions): Promise<Disposable>;
  /**
   * The registry asked for a pause: nobody asks it anything before.
   * @param ms undefined when it did not say for how long
   * @returns milliseconds until it may be asked again
   */
  pause(registry: string, ms: number | undefined): Promise<number>;
  /** Gives the bytes of a blob no faster than they may come. */
  throttled(
    registry: string,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): AsyncIterable<Uint8Array>;
}

export interface EnterOptions {
  /** The request goes on with one that was let in: it counts, and does not wait. */
  follows: boolean;
  /** A blob comes back: its bytes count too. */
  isBlob: boolean;
  signal: AbortSignal | undefined;
}

/** For programs that are no part of a fleet. */
export const noBudget: ExchangeBudget = {
  enter: async () => ({ [Symbol.dispose]: () => {} }),
  pause: async (_registry, ms = 1_000) => ms,
  throttled: (_registry, body) => body,
};
