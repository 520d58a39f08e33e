/** Where the bytes of a blob go: an ingest of the content store. */
export interface BlobSink {
  /** Bytes that it has. */
  readonly offset: number;
  /** A promise says when the next one may come, and that the chunk is in use until then. */
  write(chunk: Uint8Array): Promise<void> | undefined;
  /** Starts again at 0. */
  reset(): Promise<void>;
}
