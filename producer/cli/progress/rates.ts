/** The window over which a rate is measured, in milliseconds. */
const window = 3_000;

/** How fast numbers grow: bytes a second of each transfer. */
export class Rates {
  readonly #samples = new Map<string, { at: number; value: number }[]>();

  /** Takes a sample. @param now milliseconds @returns per second, over the last seconds */
  rate(key: string, value: number, now: number): number {
    const samples = this.#samples.get(key) ?? [];
    this.#samples.set(key, samples);
    // What was begun anew starts a new measurement.
    if ((samples.at(-1)?.value ?? 0) > value) samples.length = 0;
    if (samples.at(-1)?.value !== value || samples.length < 2) samples.push({ at: now, value });
    while ((samples[1]?.at ?? now) < now - window) samples.shift();
    const [first] = samples;
    if (first === undefined || now <= first.at) return 0;
    return ((value - first.value) * 1000) / (now - first.at);
  }
}
