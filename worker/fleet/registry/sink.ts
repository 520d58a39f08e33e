/** Where the bytes of a blob go: an ingest of the content store. */
export interface BlobSink {
  /** Bytes that it has. */
  readonly offset: number;
  write(chunk: Uint8Array): Promise<void>;
  /** Starts again at 0. */
  reset(): Promise<void>;
}
