import { DrayError } from '../../../shared/errors.ts';

export interface MinRate {
  bytesPerSecond: number;
  windowMs: number;
}

/** Notices a sender that trickles. The time before it begins, and while it is held back, does not count. */
export class RateWatch implements Disposable {
  readonly #min: MinRate;
  readonly #what: string;
  readonly #stop = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #waited = 0;
  #waitingSince: number | undefined;
  #bytes = 0;

  /** @param what who sends what, for the message */
  constructor(min: MinRate, what: string) {
    this.#min = min;
    this.#what = what;
    this.#timer = setInterval(() => this.#check(), Math.max(10, min.windowMs / 4));
  }

  /** Aborts, with the error as its reason, when a window brought too little. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  begin(): void {
    this.#waitingSince = performance.now();
  }

  received(bytes: number): void {
    this.#bytes += bytes;
  }

  /** While `work` lasts, the sender is held back. */
  async pausedFor(work: Promise<void>): Promise<void> {
    this.#count(performance.now());
    this.#waitingSince = undefined;
    try {
      await work;
    } finally {
      this.#waitingSince = performance.now();
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #count(now: number): void {
    if (this.#waitingSince === undefined) return;
    this.#waited += now - this.#waitingSince;
    this.#waitingSince = now;
  }

  #check(): void {
    const { bytesPerSecond, windowMs } = this.#min;
    this.#count(performance.now());
    if (this.#waited < windowMs) return;
    if (this.#bytes >= (bytesPerSecond * this.#waited) / 1000) {
      this.#waited = 0;
      this.#bytes = 0;
      return;
    }
    const seconds = Math.round(this.#waited / 1000);
    this.#stop.abort(
      new DrayError(
        'REGISTRY_UNAVAILABLE',
        `${this.#what} too slowly: ${this.#bytes} bytes in ${seconds} s, fewer than ${bytesPerSecond} a second`,
        { retryable: true, hint: 'The registry or the way to it is overloaded.' },
      ),
    );
  }
}
