/** Thrown to a thread that waits on a ring which was cancelled. */
export class Cancelled extends Error {
  override readonly name = 'Cancelled';
  constructor() {
    super('The layer is no longer wanted');
  }
}

/** What a thread needs to take part in a ring. */
export interface RingMemory {
  control: SharedArrayBuffer;
  data: SharedArrayBuffer;
  slots: number;
  consumers: number;
}

const word = { epoch: 0, head: 1, ended: 2, cancelled: 3, tails: 4 } as const;

/** Shared memory for a ring of `slots` times `slotSize` bytes, every byte of which goes to every consumer. */
export function createRing(options: {
  slots: number;
  slotSize: number;
  consumers: number;
}): RingMemory {
  const { slots, slotSize, consumers } = options;
  return {
    control: new SharedArrayBuffer(4 * (word.tails + consumers + slots)),
    data: new SharedArrayBuffer(slots * slotSize),
    slots,
    consumers,
  };
}

/**
 * Bytes from one thread to others without a copy: the producer fills a slot and publishes it, each consumer
 * reads and releases it. Every change raises the epoch, on which all waiting happens, so that none is missed.
 */
export class Ring {
  readonly slotSize: number;
  readonly #control: Int32Array;
  readonly #slots: Buffer[];
  readonly #consumers: number;

  constructor({ control, data, slots, consumers }: RingMemory) {
    this.slotSize = data.byteLength / slots;
    this.#control = new Int32Array(control);
    this.#slots = Array.from({ length: slots }, (_, index) =>
      Buffer.from(data, index * this.slotSize, this.slotSize),
    );
    this.#consumers = consumers;
  }

  /** Makes it ready for another use. Only while no thread uses it. */
  reset(): void {
    for (let index = 0; index < word.tails + this.#consumers; index++) {
      Atomics.store(this.#control, index, 0);
    }
  }

  /** Producer: waits for an empty slot. @throws Cancelled */
  acquire(): Buffer {
    for (;;) {
      const epoch = this.#load(word.epoch);
      const slot = this.#free();
      if (slot !== undefined) return slot;
      Atomics.wait(this.#control, word.epoch, epoch);
    }
  }

  /** Producer on a thread that may not block: as {@link acquire}. */
  async acquireLater(): Promise<Buffer> {
    for (;;) {
      const epoch = this.#load(word.epoch);
      const slot = this.#free();
      if (slot !== undefined) return slot;
      await Atomics.waitAsync(this.#control, word.epoch, epoch).value;
    }
  }

  /** Producer on a thread that may not block: waits until every consumer is done with everything. @throws Cancelled */
  async drained(): Promise<void> {
    for (;;) {
      const epoch = this.#load(word.epoch);
      if (this.cancelled) throw new Cancelled();
      if (this.#held() === 0) return;
      await Atomics.waitAsync(this.#control, word.epoch, epoch).value;
    }
  }

  /** Producer: hands on the first bytes of the slot that was acquired. */
  publish(length: number): void {
    const head = this.#load(word.head);
    this.#control[this.#lengthAt(head)] = length;
    this.#change(word.head, head + 1);
  }

  /** Producer: there is no more. */
  end(): void {
    this.#change(word.ended, 1);
  }

  /** Anybody: lets everybody who waits, or will wait, fail. */
  cancel(): void {
    this.#change(word.cancelled, 1);
  }

  get cancelled(): boolean {
    return this.#load(word.cancelled) === 1;
  }

  /** Consumer: waits for the next bytes; undefined at the end. @throws Cancelled */
  next(consumer: number): Buffer | undefined {
    for (;;) {
      const epoch = this.#load(word.epoch);
      if (this.cancelled) throw new Cancelled();
      // The end is looked at before the head: what was published before it must not be missed.
      const ended = this.#load(word.ended) === 1;
      const tail = this.#load(word.tails + consumer);
      if (tail !== this.#load(word.head)) {
        const length = this.#control[this.#lengthAt(tail)] ?? 0;
        return this.#slot(tail).subarray(0, length);
      }
      if (ended) return undefined;
      Atomics.wait(this.#control, word.epoch, epoch);
    }
  }

  /** Consumer: is done with the bytes of the last {@link next}. */
  release(consumer: number): void {
    this.#change(word.tails + consumer, this.#load(word.tails + consumer) + 1);
  }

  #free(): Buffer | undefined {
    if (this.cancelled) throw new Cancelled();
    return this.#held() < this.#slots.length ? this.#slot(this.#load(word.head)) : undefined;
  }

  /** Slots that a consumer is not done with. */
  #held(): number {
    const head = this.#load(word.head);
    let most = 0;
    for (let consumer = 0; consumer < this.#consumers; consumer++) {
      most = Math.max(most, (head - this.#load(word.tails + consumer)) | 0);
    }
    return most;
  }

  #slot(count: number): Buffer {
    const slot = this.#slots[(count >>> 0) % this.#slots.length];
    if (slot === undefined) throw new RangeError('no such slot');
    return slot;
  }

  #lengthAt(count: number): number {
    return word.tails + this.#consumers + ((count >>> 0) % this.#slots.length);
  }

  #load(index: number): number {
    return Atomics.load(this.#control, index);
  }

  #change(index: number, value: number): void {
    Atomics.store(this.#control, index, value);
    Atomics.add(this.#control, word.epoch, 1);
    Atomics.notify(this.#control, word.epoch);
  }
}
