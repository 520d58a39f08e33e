import dns from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { TestContext } from 'node:test';
import type { ErrorCode } from '../../../../shared/errors.ts';
import { DrayError } from '../../../../shared/errors.ts';
import type { Descriptor } from '../../../../shared/image/descriptor.ts';
import { digestOf } from '../../../../shared/image/digest.ts';
import {
  RegistryClient,
  type RegistryClientOptions,
} from '../../../../worker/fleet/registry/client.ts';
import type { BlobSink } from '../../../../worker/fleet/registry/sink.ts';

/** A client that is quick to give up, and is closed after the test. */
export function createClient(
  t: TestContext,
  options: Partial<RegistryClientOptions> = {},
): RegistryClient {
  const client = new RegistryClient({
    plainHttp: () => false,
    credentials: async () => undefined,
    ...options,
    limits: {
      headersMs: 2_000,
      silenceMs: 1_000,
      documentMs: 5_000,
      backoffMs: 5,
      ...options.limits,
    },
  });
  t.after(() => client.close());
  return client;
}

/** Leads every name under `.test` to an address. */
export function testNames(addressOf: (hostname: string) => string): LookupFunction {
  return (hostname, options, callback) => {
    if (!hostname.endsWith('.test')) return dns.lookup(hostname, options, callback);
    const address = addressOf(hostname);
    callback(null, [{ address, family: address.includes(':') ? 6 : 4 }]);
  };
}

/** Keeps what comes, and knows how often it had to start again. */
export class MemorySink implements BlobSink {
  chunks: Uint8Array[] = [];
  offset = 0;
  resets = 0;

  async write(chunk: Uint8Array): Promise<void> {
    this.chunks.push(Buffer.from(chunk));
    this.offset += chunk.length;
  }

  async reset(): Promise<void> {
    this.chunks = [];
    this.offset = 0;
    this.resets++;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

export function descriptorOf(
  bytes: Uint8Array,
  mediaType = 'application/vnd.oci.image.layer.v1.tar',
): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

/** Asserts what is thrown by `assert.rejects`. */
export function failure(
  code: ErrorCode,
  expected: { retryable?: boolean; message?: RegExp; hint?: RegExp } = {},
): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof DrayError) || error.code !== code) throw error;
    const { retryable = error.retryable, message = /./, hint = /./ } = expected;
    if (error.retryable !== retryable)
      throw new Error(`retryable is ${error.retryable}`, { cause: error });
    if (!message.test(error.message)) throw new Error('another message', { cause: error });
    if (!hint.test(error.hint ?? ''))
      throw new Error(`another hint: ${error.hint}`, { cause: error });
    return true;
  };
}
