/** A worker thread: the digest of the uncompressed bytes, off the thread that writes them. */
import { createHash } from 'node:crypto';
import { serveThread } from './serve-thread.ts';
import { consumer } from './thread-protocol.ts';

serveThread(({ algorithm }, output) => {
  const digest = createHash(algorithm);
  for (let bytes = output.next(consumer.digest); bytes; bytes = output.next(consumer.digest)) {
    digest.update(bytes);
    output.release(consumer.digest);
  }
  return { digest: `${algorithm}:${digest.digest('hex')}` };
});
