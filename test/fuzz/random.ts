/** Numbers that follow from a seed, so that a finding can be had again (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to `end`, without it. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * end);
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(list: readonly T[]): T {
    const found = list[this.below(list.length)];
    if (found === undefined) throw new RangeError('nothing to pick from');
    return found;
  }
}

const edges = [0, 1, 0x20, 0x2d, 0x2f, 0x30, 0x37, 0x38, 0x7f, 0x80, 0xbf, 0xff];

/** A seed with some changes: bytes, stretches of it or of another seed, and words of the format. */
export function mutate(
  random: Random,
  seeds: readonly Buffer[],
  words: readonly Buffer[],
  maxSize: number,
): Buffer {
  let bytes = Buffer.from(random.pick(seeds));
  for (let changes = 1 + random.below(6); changes > 0; changes--) {
    const at = random.below(bytes.length + 1);
    const length = random.once(3) ? 512 * random.below(4) : random.below(40);
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
    switch (random.below(7)) {
      case 0:
        if (at < bytes.length) bytes[at] = random.below(256);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = random.pick(edges);
        break;
      case 2:
        bytes.set(random.pick(words).subarray(0, bytes.length - at), at);
        break;
      case 3:
        bytes = Buffer.concat([before, random.pick(words), after]);
        break;
      case 4:
        bytes = Buffer.concat([before, after.subarray(length)]);
        break;
      case 5: {
        const other = random.pick(seeds);
        const from = random.below(other.length);
        bytes = Buffer.concat([before, other.subarray(from, from + length), after]);
        break;
      }
      default:
        bytes = Buffer.concat([before, before.subarray(-length), after]);
    }
  }
  return bytes.subarray(0, maxSize);
}
