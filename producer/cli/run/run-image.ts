import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import type { ContainerStatus, CreateContainerRequest } from '../../../shared/agent/containers.ts';
import { asDrayError, DrayError, decodeError } from '../../../shared/errors.ts';
import { isDigest } from '../../../shared/image/digest.ts';
import { formatPlatform, parsePlatform } from '../../../shared/image/platform.ts';
import { formatReference, parseReference } from '../../../shared/image/reference.ts';
import { parsePullPolicy } from '../../../shared/pull/policy.ts';
import { type Context, openContext } from '../context.ts';
import { exitCodes } from '../errors.ts';
import { followOutput, passSignals, waitForEnd, writeOut } from '../foreground.ts';
import { pullImage } from '../pull.ts';
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
    return await runInForeground(context, id);
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
  const options = await runOptionsOf(request, args, process.env);
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
  const pull = await pullImage(context, {
    reference,
    policy,
    ...(platform === undefined ? {} : { platform }),
  });
  if (pull.error !== undefined) throw decodeError(pull.error);
  const image = pull.manifest?.digest ?? create.image;
  return await (await context.agent()).createContainer({ ...create, image });
}

async function runInForeground(context: Context, id: string): Promise<number> {
  const follow = {
    connect: () => context.agent(),
    say: (message: string) => process.stderr.write(`${message}\n`),
  };
  const output = followOutput(id, follow);
  // The log is open before the container runs: one that is removed at once is read all the same.
  await output.next();
  await (await context.agent()).startContainer(id);
  using _signals = passSignals(id, {
    ...follow,
    onError: (error) => process.stderr.write(`${asDrayError(error).message}\n`),
  });
  for await (const chunk of output) {
    if (chunk === undefined) continue;
    const isRead = await writeOut(process[chunk.stream], chunk.bytes).catch((error: unknown) => {
      process.stderr.write(`Container ${id} runs on: dray logs -f ${id}\n`);
      throw error;
    });
    if (!isRead) {
      process.stderr.write(
        `Nobody reads the output; container ${id} runs on: dray logs -f ${id}\n`,
      );
      await output.return(undefined);
      return exitCodes.brokenPipe;
    }
  }
  const { exitCode, error } = await waitForEnd(id, follow);
  if (error !== undefined) process.stderr.write(`${error}\n`);
  return exitCode;
}
