import { finished, Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';

/**
 * Answers with the bytes that a generator gives. What it reads from is closed with the answer, also when the caller had
 * gone before it began to read.
 */
export function streamAnswer(
  reply: FastifyReply,
  bytes: AsyncGenerator<Buffer>,
  held: AsyncDisposable | Disposable,
): FastifyReply {
  const stack = new AsyncDisposableStack();
  stack.use(held);
  const stream = Readable.from(bytes, { objectMode: false });
  finished(stream, () => {
    stack.disposeAsync().catch((error: unknown) => reply.log.error({ err: error }, 'an answer'));
  });
  return reply.type('application/octet-stream').send(stream);
}
