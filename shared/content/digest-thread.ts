/** A worker thread: writes and digests bytes in shared memory, in the order in which they are sent. */
import { createHash, type Hash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { errnoOf, messageOf } from '../errors.ts';
import { startWriteback } from '../linux/write-back.ts';
import type { DigestReply, DigestRequest } from './digester.ts';

/**
 * Bytes of a file after which the disk is asked to begin with them: where many blobs end together, nothing of them is
 * left to do at their commits.
 */
const writebackSize = 4 << 20;

if (parentPort === null) throw new Error('this module runs as a worker thread');
const port = parentPort;
const hashes = new Map<number, Hash>();
/** What failed for a digester fails for good: bytes behind a gap are none. */
const failures = new Map<number, DigestReply>();

port.on('message', (request: DigestRequest) => {
  const { id, end } = request;
  const reply = failures.get(id) ?? answer(request);
  if (reply.failure !== undefined) failures.set(id, reply);
  if (end === 'drop') {
    hashes.delete(id);
    failures.delete(id);
  }
  port.postMessage(reply);
});

function answer({ id, algorithm, bytes, file, end }: DigestRequest): DigestReply {
  let hash = hashes.get(id);
  if (hash === undefined) {
    hash = createHash(algorithm);
    hashes.set(id, hash);
  }
  try {
    if (bytes !== undefined && file !== undefined) write(bytes, file);
  } catch (error) {
    return { failure: { message: messageOf(error), code: errnoOf(error) ?? '' } };
  }
  if (bytes !== undefined) hash.update(bytes);
  return end === 'digest' ? { hex: hash.copy().digest('hex') } : {};
}

function write(
  bytes: Uint8Array,
  { descriptor, position }: NonNullable<DigestRequest['file']>,
): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done);
  }
  const begun = position - (position % writebackSize);
  const whole = position + bytes.length - begun;
  if (whole >= writebackSize) startWriteback(descriptor, begun, whole - (whole % writebackSize));
}
