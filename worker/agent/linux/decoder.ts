/**
 * A streaming decompressor of one format. One frame is a gzip member or a zstd frame; checksums are verified.
 * All calls are synchronous and belong on a thread of their own.
 */
export interface Decoder extends Disposable {
  /**
   * Takes from `input` and puts into `output` as much as there is and fits. With an empty input, what is
   * still held back comes out. `ended` means that a frame is complete; the next call begins another.
   * @throws an Error that says what is wrong with the data
   */
  decode(input: Uint8Array, output: Uint8Array): Decoded;
}

export interface Decoded {
  consumed: number;
  produced: number;
  ended: boolean;
}
