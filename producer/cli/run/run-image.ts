import type { Command } from 'commander';
import type { CreateContainerRequest } from '../../../shared/agent/containers.ts';
import type { RunOptions } from '../../../shared/agent/run-options.ts';
import { DrayError, decodeError } from '../../../shared/errors.ts';
import { isDigest } from '../../../shared/image/digest.ts';
import { formatPlatform, parsePlatform } from '../../../shared/image/platform.ts';
import { formatReference, parseReference } from '../../../shared/image/reference.ts';
import { parsePullPolicy } from '../../../shared/pull/policy.ts';
import { randomHex } from '../../../shared/random-hex.ts';
import type { AgentClient } from '../../agent/client.ts';
import { isShortDigest } from '../../short-digest.ts';
import { type Context, openContext } from '../context.ts';
import { commandFailed } from '../errors.ts';
import { ownTerminalSize } from '../terminal.ts';
import type { RunFlags } from './flags.ts';
import { HeldSignals } from './held-signals.ts';
import { runOptionsOf } from './options.ts';

export interface RunRequest extends RunFlags {
  reference: string;
  args: string[];
  /** When the registry is asked for a tag that is there: `always`, `missing`, `if-stale=DURATION` or `never`. */
  pull: string;
  name?: string;
  /** A file for its id. */
  cidfile?: string;
  /** No progress of a pull is shown. */
  quiet?: boolean;
  platform?: string;
  rm?: boolean;
  detach?: boolean;
}

/** Of `--pull`: what is not there is an error. */
const never = 'never';

/** `dray run`. @returns the exit code of the command, see its help */
export async function runImage(command: Command, asked: RunRequest): Promise<number> {
  try {
    if (asked.pull !== never) parsePullPolicy(asked.pull);
    const context = await openContext(command);
    const request = await withWholeDigest(asked, context);
    const create = await createRequest(request);
    using held = request.detach === true ? undefined : new HeldSignals();
    const leave = new AbortController();
    const starting = withImage(context, request, create, (agent, create) =>
      agent.containers.run(create, { signal: leave.signal }),
    );
    if (request.detach === true) {
      const { id, warnings } = await starting;
      // It runs on; nobody reads its output here.
      leave.abort();
      warn(warnings);
      process.stdout.write(`${id}\n`);
      return 0;
    }
    // What is needed once it runs is loaded while the agent starts it.
    const [started, { attachTo }] = await Promise.all([starting, import('../attach.ts')]);
    warn(started.warnings);
    const { terminal = false, stdin = false } = create.options ?? {};
    return await attachTo(started.id, {
      started,
      leave,
      connect: () => context.agent(),
      say: (message: string) => process.stderr.write(`${message}\n`),
      terminal,
      stdin,
      signals: true,
      onListening: () => held?.pass({ keys: terminal && stdin }),
    });
  } catch (error) {
    throw commandFailed(error);
  }
}

/** `dray create`: prints the id of a container that does not run yet. */
export async function createFromImage(command: Command, asked: RunRequest): Promise<void> {
  if (asked.pull !== never) parsePullPolicy(asked.pull);
  const context = await openContext(command);
  const request = await withWholeDigest({ ...asked, detach: true }, context);
  const { options = {}, ...rest } = await createRequest(request);
  // It ends with the first who attaches, as that of dray run.
  const create = { ...rest, options: { ...options, stdinOnce: options.stdin === true } };
  const { id, warnings } = await withImage(context, request, create, (agent, create) =>
    agent.containers.create(create),
  );
  warn(warnings ?? []);
  process.stdout.write(`${id}\n`);
}

/** Of a digest, the first digits are enough where the image is there. */
async function withWholeDigest(request: RunRequest, context: Context): Promise<RunRequest> {
  const { reference } = request;
  if (!isShortDigest(reference) || isDigest(reference)) return request;
  // Loaded only where it is needed.
  const { imageArgument } = await import('../../image-names.ts');
  return { ...request, reference: await imageArgument(reference, context) };
}

async function createRequest(request: RunRequest): Promise<CreateContainerRequest> {
  const { reference, args, name: id = randomHex(6), platform, rm = false } = request;
  const options: RunOptions = {
    ...(await runOptionsOf(request, args, process.env)),
    ...(request.detach === true ? {} : streamsOf(request)),
  };
  if (rm && options.restart !== undefined) {
    throw new DrayError(
      'USAGE',
      '--rm and --restart are at odds: what is removed is not restarted',
      { hint: 'Leave out one of them.' },
    );
  }
  const image = isDigest(reference) ? reference : formatReference(parseReference(reference));
  return {
    id,
    image,
    options,
    ...(platform === undefined ? {} : { platform: formatPlatform(parsePlatform(platform)) }),
    autoRemove: rm,
  };
}

/** What a container has of this command's own streams. @throws USAGE */
function streamsOf({ tty, interactive }: RunRequest): RunOptions {
  return {
    ...(interactive === true ? { stdinOnce: true } : {}),
    ...(tty === true ? { terminalSize: ownTerminalSize() } : {}),
  };
}

function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`dray: warning: ${warning}\n`);
}

/** Pulls the image when the store or the node does not have it, or the policy wants the registry to be asked. */
async function withImage<T>(
  context: Context,
  request: RunRequest,
  create: CreateContainerRequest,
  use: (agent: AgentClient, create: CreateContainerRequest) => Promise<T>,
): Promise<T> {
  const { cidfile: file } = request;
  const make = () => withPull(context, request, create, use);
  if (file === undefined) return await make();
  // Loaded only where it is needed.
  const { withCidFile } = await import('./cid-file.ts');
  return await withCidFile({ file, id: create.id, connect: () => context.agent() }, make);
}

async function withPull<T>(
  context: Context,
  { reference, platform, pull: policy, quiet = false }: RunRequest,
  create: CreateContainerRequest,
  use: (agent: AgentClient, create: CreateContainerRequest) => Promise<T>,
): Promise<T> {
  if (policy === never) return await use(await context.agent(), create);
  if (policy === 'missing' || isDigest(reference)) {
    try {
      return await use(await context.agent(), create);
    } catch (error) {
      const isAbsent =
        error instanceof DrayError &&
        (error.code === 'IMAGE_UNKNOWN' || error.code === 'NOT_FOUND');
      if (!isAbsent || isDigest(reference)) throw error;
    }
  }
  // Loaded only where it is needed: most runs find their image.
  const { pullImage } = await import('../pull.ts');
  const pull = await pullImage(context, {
    reference,
    policy,
    ...(quiet ? { progress: 'none' as const } : {}),
    ...(platform === undefined ? {} : { platform }),
    ...(context.node === undefined ? {} : { nodes: [context.node] }),
  });
  if (pull.error !== undefined) throw decodeError(pull.error);
  const image = pull.manifest?.digest ?? create.image;
  return await use(await context.agent(), { ...create, image });
}
