import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { ContainerStatus, CreateContainerRequest } from '../../../shared/agent/containers.ts';
import type { RunOptions } from '../../../shared/agent/run-options.ts';
import { isDigest } from '../../../shared/image/digest.ts';
import { formatPlatform, parsePlatform } from '../../../shared/image/platform.ts';
import { formatReference, parseReference } from '../../../shared/image/reference.ts';
import type { AgentClient } from '../../agent/client.ts';
import { agentTimeout, askAgent } from '../agents.ts';
import { type Route, route } from '../route.ts';
import {
  container,
  containerExit,
  containerId,
  containerList,
  killRequest,
  runRequest,
  stopRequest,
} from '../schemas/container.ts';
import { nodeName } from '../schemas/node.ts';
import type { ApiServices } from '../services.ts';

const onNode = z.strictObject({ name: nodeName });
const byId = onNode.extend({ id: containerId });
const force = z.strictObject({
  force: z.stringbool().optional().meta({ description: 'Also one that runs' }),
});
const path = '/v1/nodes/{name}/containers';

/** What every operation on containers has: it asks an agent, which makes its holder root on the node. */
const asking = { asksAgent: true, needsToken: true } as const;

/** The containers of a node: list, run, get, start, stop, kill, pause, unpause, remove. */
export function containerRoutes(services: Pick<ApiServices, 'config' | 'redis'>): Route[] {
  const changing = (
    verb: 'start' | 'pause' | 'unpause',
    summary: string,
    change: (agent: AgentClient, id: string, options: CallOptions) => Promise<ContainerStatus>,
  ) =>
    route({
      id: `${verb}Container`,
      method: 'POST',
      path: `${path}/{id}/${verb}`,
      summary,
      scope: 'run',
      ...asking,
      params: byId,
      answer: { status: 200, description: 'The container', schema: container },
      handle: ({ params: { name, id }, signal }) =>
        askAgent(services, name, (agent) => change(agent, id, inTime(signal))),
    });
  return [
    route({
      id: 'listNodeContainers',
      method: 'GET',
      path,
      summary: 'List the containers of a node, in whatever state',
      scope: 'read',
      ...asking,
      params: onNode,
      answer: { status: 200, description: 'All of them, oldest first', schema: containerList },
      handle: async ({ params: { name }, signal }) => ({
        items: await askAgent(services, name, (agent) => agent.containers.list(inTime(signal))),
      }),
    }),
    route({
      id: 'runContainer',
      method: 'POST',
      path,
      summary: 'Make a container on a node, and start it',
      description:
        'The node must hold the image: pull it first. A container that was made, and did not start, stays, and says why.',
      scope: 'run',
      ...asking,
      params: onNode,
      body: runRequest,
      answer: {
        status: 201,
        description: 'The container; Location leads to it',
        schema: container,
      },
      async handle({ params: { name }, body, reply, signal }) {
        const { start = true } = body;
        const request = createRequest(body);
        const made = await askAgent(services, name, async (agent) => {
          const created = await agent.containers.create(request, inTime(signal));
          if (!start) return created;
          const { warnings } = created;
          const started = await agent.containers.start(request.id, inTime(signal));
          return warnings === undefined ? started : { ...started, warnings };
        });
        void reply.header('location', `/v1/nodes/${name}/containers/${request.id}`);
        return made;
      },
    }),
    route({
      id: 'getContainer',
      method: 'GET',
      path: `${path}/{id}`,
      summary: 'Get a container of a node',
      scope: 'read',
      ...asking,
      params: byId,
      answer: { status: 200, description: 'The container', schema: container },
      handle: ({ params: { name, id }, signal }) =>
        askAgent(services, name, (agent) => agent.containers.inspect(id, inTime(signal))),
    }),
    changing('start', 'Start a container, for the first time or again', (agent, ...call) =>
      agent.containers.start(...call),
    ),
    changing('pause', 'Freeze a container', (agent, ...call) => agent.containers.pause(...call)),
    changing('unpause', 'Let a frozen container go on', (agent, ...call) =>
      agent.containers.unpause(...call),
    ),
    route({
      id: 'stopContainer',
      method: 'POST',
      path: `${path}/{id}/stop`,
      summary: 'Ask a container to end, and kill it when it has not after its time',
      description:
        'One that does not run is no error. An answer TIMEOUT says that it still has time left: ask again.',
      scope: 'run',
      ...asking,
      params: byId,
      body: stopRequest,
      answer: { status: 200, description: 'How it ended', schema: containerExit },
      // Not bound in time: what was begun goes on, whether anybody still waits or not.
      handle: ({ params: { name, id }, body: { timeoutMs } }) =>
        askAgent(services, name, (agent) =>
          agent.containers.stop(id, timeoutMs === undefined ? {} : { timeout: timeoutMs }),
        ),
    }),
    route({
      id: 'killContainer',
      method: 'POST',
      path: `${path}/{id}/kill`,
      summary: 'Send a signal to the first process of a container',
      scope: 'run',
      ...asking,
      params: byId,
      body: killRequest,
      answer: { status: 204, description: 'It was sent' },
      handle: ({ params: { name, id }, body, signal }) =>
        askAgent(services, name, (agent) =>
          agent.containers.kill(id, body.signal ?? 'SIGKILL', inTime(signal)),
        ),
    }),
    route({
      id: 'removeContainer',
      method: 'DELETE',
      path: `${path}/{id}`,
      summary: 'Remove a container, and what it wrote',
      scope: 'run',
      ...asking,
      params: byId,
      query: force,
      answer: { status: 204, description: 'It is gone' },
      handle: ({ params: { name, id }, query, signal }) =>
        askAgent(services, name, (agent) =>
          agent.containers.remove(id, { force: query.force ?? false, ...inTime(signal) }),
        ),
    }),
  ];
}

interface CallOptions {
  signal: AbortSignal;
}

/** No agent is waited for once its answer would come too late. */
function inTime(signal: AbortSignal): CallOptions {
  return { signal: AbortSignal.any([signal, AbortSignal.timeout(agentTimeout)]) };
}

/** @throws REFERENCE_INVALID, PLATFORM_INVALID */
function createRequest(body: z.output<typeof runRequest>): CreateContainerRequest {
  const { image, id = randomBytes(6).toString('hex'), options, platform, autoRemove } = body;
  return {
    id,
    image: isDigest(image) ? image : formatReference(parseReference(image)),
    // Of JSON: what is optional is there, or it is not.
    ...(options === undefined ? {} : { options: options as RunOptions }),
    ...(platform === undefined ? {} : { platform: formatPlatform(parsePlatform(platform)) }),
    ...(autoRemove === undefined ? {} : { autoRemove }),
  };
}
