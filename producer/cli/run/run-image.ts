import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import type { ContainerStatus, CreateContainerRequest } from '../../../shared/agent/containers.ts';
import type { RunOptions } from '../../../shared/agent/run-options.ts';
import { asDrayError, DrayError, decodeError } from '../../../shared/errors.ts';
import { isDigest } from '../../../shared/image/digest.ts';
import { formatPlatform, parsePlatform } from '../../../shared/image/platform.ts';
import { formatReference, parseReference } from '../../../shared/image/reference.ts';
import { parsePullPolicy } from '../../../shared/pull/policy.ts';
import { attachTo } from '../attach.ts';
import { type Context, openContext } from '../context.ts';
import { ownTerminalSize } from '../terminal.ts';
import type { RunFlags } from './flags.ts';
import { runOptionsOf } from './options.ts';

export interface RunRequest extends RunFlags {
  reference: string;
  args: string[];
  /** When the registry is asked for a tag that is there: `always`, `missing` or `if-stale=DURATION`. */
  pull: string;
  name?: string;
  platform?: string;
  rm?: boolean;
  detach?: boolean;
}

/** What dray itself ends with when it could not run the container. */
const drayFailed = 125;

/** `dray run`. @returns the exit code of the command, see its help */
export async function runImage(command: Command, request: RunRequest): Promise<number> {
  try {
    parsePullPolicy(request.pull);
    const create = await createRequest(request);
    const context = await openContext(command);
    const { id, warnings = [] } = await createContainer(context, request, create);
    for (const warning of warnings) process.stderr.write(`dray: warning: ${warning}\n`);
    if (request.detach === true) {
      await (await context.agent()).startContainer(id);
      process.stdout.write(`${id}\n`);
      return 0;
    }
    return await attachTo(id, {
      connect: () => context.agent(),
      say: (message: string) => process.stderr.write(`${message}\n`),
      terminal: create.options?.terminal === true,
      stdin: create.options?.stdin === true,
      signals: true,
      start: async () => {
        await (await context.agent()).startContainer(id);
      },
    });
  } catch (error) {
    const failure = asDrayError(error);
    throw new DrayError(failure.code, failure.message, {
      cause: error,
      retryable: failure.retryable,
      ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      context: { exitCode: drayFailed, ...failure.context },
    });
  }
}

async function createRequest(request: RunRequest): Promise<CreateContainerRequest> {
  const { reference, args, name: id = randomID(), platform, rm = false } = request;
  const options: RunOptions = {
    ...(await runOptionsOf(request, args, process.env)),
    ...(request.detach === true ? {} : streamsOf(request)),
  };
  if (rm && options.restart !== undefined) {
    throw new DrayError(
      'USAGE',
      '--rm and --restart are at odds: what is removed is not restarted',
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

/** An id for a container that was given none: twelve hex digits. */
function randomID(): string {
  return randomBytes(6).toString('hex');
}

/** Pulls the image when the store or the node does not have it, or the policy wants the registry to be asked. */
async function createContainer(
  context: Context,
  { reference, platform, pull: policy }: RunRequest,
  create: CreateContainerRequest,
): Promise<ContainerStatus> {
  if (policy === 'missing' || isDigest(reference)) {
    try {
      return await (await context.agent()).createContainer(create);
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
    ...(platform === undefined ? {} : { platform }),
    ...(context.node === undefined ? {} : { nodes: [context.node] }),
  });
  if (pull.error !== undefined) throw decodeError(pull.error);
  const image = pull.manifest?.digest ?? create.image;
  return await (await context.agent()).createContainer({ ...create, image });
}
