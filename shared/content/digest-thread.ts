/** A worker thread: digests of bytes in shared memory, in the order in which they are sent. */
import { createHash, type Hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import type { DigestReply, DigestRequest } from './digester.ts';

if (parentPort === null) throw new Error('this module runs as a worker thread');
const port = parentPort;
const hashes = new Map<number, Hash>();

port.on('message', ({ id, algorithm, bytes, end }: DigestRequest) => {
  let hash = hashes.get(id);
  if (hash === undefined) {
    hash = createHash(algorithm);
    hashes.set(id, hash);
  }
  if (bytes !== undefined) hash.update(bytes);
  const reply: DigestReply = end === 'digest' ? { hex: hash.copy().digest('hex') } : {};
  if (end === 'drop') hashes.delete(id);
  port.postMessage(reply);
});
