import { PassThrough } from 'node:stream';
import { z } from 'zod';
import type { ExecRequest, ExitMessage } from '../../../shared/agent/exec.ts';
import { encodeControl, encodeFrames, type Frame } from '../../../shared/agent/frames.ts';
import { DrayError } from '../../../shared/errors.ts';
import { agentTimeout, askAgent } from '../agents.ts';
import { type Route, route } from '../route.ts';
import { containerExit, containerId, execRequest, execResult } from '../schemas/container.ts';
import { nodeName } from '../schemas/node.ts';
import type { ApiServices } from '../services.ts';

const byId = z.strictObject({ name: nodeName, id: containerId });
/** Milliseconds: proxies on the way hold a request for a minute. */
const usualWait = 30_000;
const longestWait = 55_000;
const patience = z.strictObject({
  timeoutMs: z.coerce
    .number()
    .int()
    .min(100)
    .max(longestWait)
    .optional()
    .meta({ description: `How long to wait. Default: ${usualWait}` }),
});

/** Bytes of each stream of a command that are kept. */
const maxOutput = 1024 * 1024;

/** What waits for processes of containers: for their end, or for that of a further command. */
export function containerExecRoutes(services: Pick<ApiServices, 'config' | 'redis'>): Route[] {
  const path = '/v1/nodes/{name}/containers/{id}';
  return [
    route({
      id: 'waitContainer',
      method: 'GET',
      path: `${path}/wait`,
      summary: 'Wait until a container has ended',
      description: 'An answer TIMEOUT says that it has not yet: ask again.',
      scope: 'read',
      ...{ asksAgent: true, needsToken: true },
      params: byId,
      query: patience,
      answer: { status: 200, description: 'How it ended', schema: containerExit },
      async handle({ params: { name, id }, query: { timeoutMs = usualWait }, signal }) {
        const end = AbortSignal.timeout(timeoutMs);
        try {
          return await askAgent(services, name, (agent) =>
            agent.containers.wait(id, { signal: AbortSignal.any([signal, end]) }),
          );
        } catch (error) {
          if (!end.aborted) throw error;
          throw new DrayError('TIMEOUT', `Container ${id} has not ended yet`, {
            retryable: true,
            hint: 'Ask again, or ask it to end: POST …/stop',
          });
        }
      },
    }),
    route({
      id: 'execInContainer',
      method: 'POST',
      path: `${path}/exec`,
      summary: 'Run a command in a container that runs, and get what it wrote',
      description:
        'For what ends within a minute: what takes longer is answered TIMEOUT, and runs on. Of each stream the first MiB is kept, read as UTF-8. A command that fails is no error: its exit code says so.',
      scope: 'run',
      ...{ asksAgent: true, needsToken: true },
      params: byId,
      body: execRequest,
      answer: { status: 200, description: 'How it ended, and its output', schema: execResult },
      async handle({ params: { name, id }, body: { input, ...rest }, signal }) {
        const request: ExecRequest = {
          // Of JSON: what is optional is there, or it is not.
          ...(rest as Omit<ExecRequest, 'stdin'>),
          ...(input === undefined ? {} : { stdin: true }),
        };
        const sent = new PassThrough();
        const bound = AbortSignal.any([signal, AbortSignal.timeout(agentTimeout)]);
        const frames = await askAgent(services, name, (agent) =>
          agent.containers.exec(id, request, sent, { signal: bound }),
        );
        if (input !== undefined) {
          for (const frame of encodeFrames('stdin', Buffer.from(input))) sent.write(frame);
          sent.write(encodeControl({ endInput: true }));
        }
        try {
          return await resultOf(frames);
        } finally {
          sent.end();
        }
      },
    }),
  ];
}

/** @throws AGENT_UNAVAILABLE when its end is not told */
async function resultOf(frames: AsyncIterable<Frame>): Promise<z.input<typeof execResult>> {
  const kept = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const room = { stdout: maxOutput, stderr: maxOutput };
  let truncated = false;
  for await (const { kind, bytes } of frames) {
    if (kind === 'control') {
      const { exit } = JSON.parse(Buffer.from(bytes).toString()) as ExitMessage;
      const text = (of: keyof typeof kept) => Buffer.concat(kept[of]).toString();
      const { exitCode } = exit;
      return { exitCode, stdout: text('stdout'), stderr: text('stderr'), truncated };
    }
    if (kind === 'stdin') continue;
    truncated ||= bytes.length > room[kind];
    // A copy: a piece holds the whole that it was cut from.
    kept[kind].push(Buffer.from(bytes.subarray(0, room[kind])));
    room[kind] -= Math.min(room[kind], bytes.length);
  }
  throw new DrayError('AGENT_UNAVAILABLE', 'The agent ended the connection before the command did');
}
