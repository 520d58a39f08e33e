import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { FastifyInstance } from 'fastify';
import { listNodes } from '../../shared/node/registry.ts';
import { unpackQueue, workerQueues } from '../../shared/queue/names.ts';
import { boardCookie, boardPath } from './authorize.ts';
import { problemOf } from './problem.ts';
import type { Authorize } from './route.ts';
import type { ApiServices } from './services.ts';

/** Nodes whose queues are shown. The board asks each queue for all its counts every few seconds. */
const shownNodes = 50;

const contentPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** bull-board, the deep view of jobs, for who has the scope admin: by a cookie, since a browser opens it by itself. */
export async function serveBoard(
  server: FastifyInstance,
  authorize: Authorize,
  { config, redis, queues }: Pick<ApiServices, 'config' | 'redis' | 'queues'>,
): Promise<void> {
  const adapter = new FastifyAdapter();
  adapter.setBasePath(boardPath);
  const adapterOf = (name: string) => new BullMQAdapter(queues.queue(name));
  const { replaceQueues } = createBullBoard({
    queues: workerQueues.map(adapterOf),
    serverAdapter: adapter,
    options: { uiConfig: { boardTitle: 'drayage: jobs' } },
  });
  adapter.setErrorHandler((error) => {
    const answer = problemOf(error);
    return { status: answer.status as 500, body: answer };
  });
  let shown = '';
  const refresh = async () => {
    const nodes = await listNodes(redis, config.redis.prefix);
    const units = nodes.slice(0, shownNodes).map(({ name }) => unpackQueue(name));
    const names = [...workerQueues, ...units];
    if (names.join() === shown) return;
    replaceQueues(names.map(adapterOf));
    shown = names.join();
  };
  await server.register(
    async (scope) => {
      scope.addHook('onRequest', async (request, reply) => {
        try {
          await authorize(request, 'admin');
        } catch (error) {
          // The dashboard asks for the token, and sets the cookie.
          if (request.headers.accept?.includes('text/html')) return await reply.redirect('/');
          throw error;
        }
        void reply.header('content-security-policy', contentPolicy);
      });
      // Its page asks another company for a font.
      scope.addHook('onSend', async (_request, _reply, payload) =>
        typeof payload === 'string' ? payload.replace(/<link href="https:[^>]*>/, '') : payload,
      );
      scope.post('/session', async (request, reply) => {
        return await reply.header('set-cookie', boardCookie(request)).code(204).send();
      });
      await scope.register(async (board) => {
        board.addHook('preHandler', refresh);
        await board.register(adapter.registerPlugin());
      });
    },
    { prefix: boardPath },
  );
}
