import { once } from 'node:events';
import type { FastifyReply } from 'fastify';
import type { Pulls } from '../../shared/pull/pulls.ts';

/** Milliseconds between two signs of life on a stream, which proxies would cut otherwise. */
const heartbeat = 15_000;
/** Milliseconds after which a client that lost the stream shall come back. */
const comeBack = 1_000;
const changeId = /^\d{1,20}-\d{1,20}$/;

/**
 * Answers with a pull's states as server-sent events (HTML, section 9.2), until it has ended or the caller is gone: the
 * whole pull first, then what changes, with only the nodes that are new.
 */
export async function streamEvents(
  reply: FastifyReply,
  pulls: Pulls,
  id: string,
  options: { signal: AbortSignal; after: string | string[] | undefined },
): Promise<void> {
  const { signal } = options;
  const after =
    typeof options.after === 'string' && changeId.test(options.after) ? options.after : undefined;
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  raw.write(`retry: ${comeBack}\n\n`);
  const beating = setInterval(() => raw.write(': alive\n\n'), heartbeat);
  try {
    const changes = pulls.follow(id, { signal, ...(after === undefined ? {} : { after }) });
    for await (const { change, status, changed: nodes } of changes) {
      const [name, value] =
        nodes === undefined ? ['pull', status] : ['change', { ...status, nodes }];
      // A slow reader gets fewer states, not more memory.
      if (!raw.write(`id: ${change}\nevent: ${name}\ndata: ${JSON.stringify(value)}\n\n`)) {
        await once(raw, 'drain', { signal });
      }
    }
  } catch (error) {
    if (!signal.aborted)
      reply.request.log.warn({ err: error, pull: id }, 'a stream of events broke');
  } finally {
    clearInterval(beating);
    raw.end();
  }
}
