import { parseSetName } from '../../shared/desired/set-name.ts';
import { asDrayError } from '../../shared/errors.ts';
import { formatReference, parseReference } from '../../shared/image/reference.ts';
import { parseSelector } from '../../shared/node/selector.ts';
import { newPullId } from '../../shared/pull/id.ts';
import type { Pace } from '../../shared/pull/pace.ts';
import { parsePullPolicy } from '../../shared/pull/policy.ts';
import type { Priority } from '../../shared/pull/priority.ts';
import type { PullRequest, PullStatus, Want } from '../../shared/pull/status.ts';
import { parseCredentialName } from '../../shared/registry/credential-name.ts';
import { startTracing, traced } from '../../shared/telemetry/trace.ts';
import type { AgentClient } from '../agent/client.ts';
import type { Keeping } from '../keep.ts';
import type { Context, QueueConnection } from './context.ts';
import { failureOf, followPull } from './follow-pull.ts';
import type { ProgressForm } from './progress/view.ts';
import { fromAgent, fromQueue, type PullSource } from './pull-source.ts';

export interface PullImageOptions {
  reference: string;
  platform?: string;
  /** Default: the node of this machine, where there is one. */
  nodes?: string[];
  /** The name of a credential of the workers. */
  credential?: string;
  want?: Want;
  /** Default: high while somebody waits, else normal. */
  priority?: Priority;
  policy?: string;
  /** Instead of `nodes`: those that fulfil it; empty: all. */
  selector?: string;
  pace?: Pace;
  /** The nodes shall hold it from now on. */
  keeping?: Keeping;
  progress?: ProgressForm;
}

/**
 * Pulls an image and shows how it goes on.
 * @returns the pull, which is ready
 * @throws why it failed; CANCELLED when the person stops looking
 */
export async function pullImage(context: Context, options: PullImageOptions): Promise<PullStatus> {
  const begun = performance.now();
  check(options);
  await using _tracing = await startTracing(context.config, 'cli');
  return await traced('dray pull', {}, async () => {
    await using accepted = await accept(context, { priority: 'high', ...options });
    const { id, source } = accepted;
    const { progress = 'auto' } = options;
    const status = await followPull(context, source, id, { progress, begun });
    const failure = failureOf(status);
    if (failure !== undefined) throw failure;
    return status;
  });
}

/** Accepts a pull and does not wait for it. @returns its id */
export async function pullDetached(context: Context, options: PullImageOptions): Promise<string> {
  check(options);
  await using _tracing = await startTracing(context.config, 'cli');
  return await traced('dray pull', {}, async () => {
    await using accepted = await accept(context, options);
    return accepted.id;
  });
}

interface Accepted extends AsyncDisposable {
  id: string;
  source: PullSource;
}

async function accept(context: Context, options: PullImageOptions): Promise<Accepted> {
  const id = newPullId();
  const agent = await acceptHere(context, options, id);
  if (agent !== undefined) {
    return { id, source: fromAgent(context, agent), [Symbol.asyncDispose]: async () => {} };
  }
  const queue = await context.openQueue();
  try {
    return {
      id: await enqueue(context, queue, options, id),
      source: fromQueue(context, queue),
      [Symbol.asyncDispose]: () => queue[Symbol.asyncDispose](),
    };
  } catch (error) {
    await queue[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * A pull to this machine's node by way of its agent, which has loaded and connected what that needs.
 * @returns undefined where there is none, or it can't: a request that it may have carried out can be made again
 */
async function acceptHere(
  context: Context,
  options: PullImageOptions,
  id: string,
): Promise<AgentClient | undefined> {
  const { reference, platform, credential, priority, policy, pace } = options;
  const { nodes, selector, want, keeping } = options;
  const isOther = [nodes, selector, want, keeping].some((option) => option !== undefined);
  // A trace begins with who enqueues.
  if (isOther || context.config.traces.endpoint !== undefined) return undefined;
  const agent = await context.agentHere();
  try {
    await agent?.pull({ id, reference, platform, credential, priority, policy, pace });
    return agent;
  } catch (error) {
    const { code } = asDrayError(error);
    // An older agent knows no pulls.
    if (code === 'AGENT_UNAVAILABLE' || code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** Nothing is started for a reference or a name that is none. @throws REFERENCE_INVALID, USAGE */
function check(options: PullImageOptions): void {
  const { reference, credential, policy, selector, keeping } = options;
  parseReference(reference);
  if (selector !== undefined) parseSelector(selector);
  if (credential !== undefined) parseCredentialName(credential);
  if (policy !== undefined) parsePullPolicy(policy);
  if (keeping?.name !== undefined) parseSetName(keeping.name);
}

async function enqueue(
  context: Context,
  queue: QueueConnection,
  options: PullImageOptions,
  id: string,
): Promise<string> {
  const { enqueuePull } = await import('../../shared/pull/accept.ts');
  const { reference, platform, credential, want, priority, policy, selector, pace } = options;
  const request: PullRequest = {
    reference,
    nodes: options.nodes ?? (selector === undefined ? await defaultNodes(context) : []),
    ...(platform === undefined ? {} : { platform }),
    ...(credential === undefined ? {} : { credential }),
    ...(want === undefined ? {} : { want }),
    ...(priority === undefined ? {} : { priority }),
    ...(policy === undefined ? {} : { policy }),
    ...(selector === undefined ? {} : { selector }),
    ...(pace === undefined ? {} : { pace }),
  };
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const { config } = context;
  const { redis } = queue;
  if (options.keeping === undefined) {
    return await enqueuePull(config, redis, request, { say, id });
  }
  const { keepImage } = await import('../keep.ts');
  await using store = await context.openStore();
  const { name, pull } = await keepImage(
    request,
    options.keeping,
    { config, redis, store },
    { say },
  );
  say(`kept as the desired set ${name}; dray desired shows how nodes are with it`);
  return pull;
}

async function defaultNodes(context: Context): Promise<string[]> {
  if (context.config.embedded) return [context.config.agent.node];
  const agent = await context.agentIfAny();
  if (agent !== undefined) return [(await agent.health()).node];
  process.stderr.write(
    'no --node was given, and this machine has no agent: fetching into the content store only\n',
  );
  return [];
}

/** What a pull has made of its reference: the name with the digest behind it. */
export function pinnedReference({ reference, target }: PullStatus): string {
  if (target === undefined) return reference;
  const { digest: _, ...named } = parseReference(reference);
  return `${formatReference(named)}@${target.digest}`;
}
