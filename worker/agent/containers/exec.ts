import { closeSync, constants } from 'node:fs';
import { posix } from 'node:path';
import type { ExecRequest } from '../../../shared/agent/exec.ts';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import { openInRoot } from '../linux/open-in-root.ts';
import { createCommand, mergeEnvironment } from '../runtime/environment.ts';
import { type ExecSession, startExec } from '../runtime/exec.ts';
import type { SpecProcess } from '../runtime/runtime-spec.ts';
import { consoleSizeOf } from '../runtime/spec.ts';
import { lookupUser } from '../runtime/user.ts';
import { readSpec } from './bundle.ts';
import type { Container } from './container.ts';
import { bundleOf } from './layout.ts';
import { openProcessRoot, type ProcessRoot } from './process-root.ts';
import type { ContainerServices } from './services.ts';

/**
 * Runs a further process in a container: with the environment, user, limits and rights of its first one, where
 * the request does not say otherwise.
 * @throws CONFLICT when the container does not run; CONFIG_INVALID, USER_UNKNOWN; RUNTIME_FAILED with
 * `context.exitCode`
 */
export async function execInContainer(
  services: ContainerServices,
  container: Container,
  request: ExecRequest,
  options: { signal?: AbortSignal } = {},
): Promise<ExecSession> {
  const { id, instance, state, pid } = container;
  if (state !== 'running' || pid === undefined) {
    throw new DrayError('CONFLICT', `Container ${id} is ${state}: nothing can be run in it`, {
      hint: state === 'paused' ? `Let it go on: dray unpause ${id}` : `Start it: dray start ${id}`,
    });
  }
  const { runc } = services.tools(container.options.runtime);
  const spec = await readSpec(services, instance);
  using root = openProcessRoot(pid, spec.linux.cgroupsPath);
  const process = await processOf(spec.process, request, root, options);
  return await startExec(runc, {
    id,
    instance,
    process,
    ...(request.terminal === undefined ? {} : { terminal: request.terminal }),
    stdin: request.stdin === true,
    detach: request.detach === true,
    bundle: bundleOf(services.layout, instance).bundle,
  });
}

async function processOf(
  first: SpecProcess,
  request: ExecRequest,
  root: ProcessRoot,
  options: { signal?: AbortSignal },
): Promise<SpecProcess> {
  const { args, env = [], user: userText, workingDirectory, terminal } = request;
  const user = userText === undefined ? undefined : await lookupUser(root.path, userText, options);
  const { consoleSize: _size, ...rest } = first;
  const { capabilities } = first;
  const own =
    user === undefined ? capabilities.effective : user.uid === 0 ? capabilities.bounding : [];
  return {
    ...rest,
    terminal: terminal !== undefined,
    // The runtime hands the size on by itself too, once the process may have asked for it.
    ...consoleSizeOf(terminal),
    args: createCommand({ entrypoint: [], cmd: [], args }),
    cwd: workingDirectory === undefined ? first.cwd : checkFolder(root, workingDirectory),
    env: mergeEnvironment(first.env, [
      ...(user === undefined ? [] : [`HOME=${user.home}`]),
      ...(terminal === undefined || hasVariable(first.env, 'TERM') ? [] : ['TERM=xterm']),
      ...env,
    ]),
    ...(user === undefined
      ? {}
      : {
          user: {
            uid: user.uid,
            gid: user.gid,
            additionalGids: user.additionalGids,
            umask: first.user.umask,
          },
          capabilities: { ...capabilities, effective: own, permitted: own },
        }),
  };
}

/** Where the process starts. One that leads to an open file of the runtime would let it out of its root. */
function checkFolder(root: ProcessRoot, wanted: string): string {
  const folder = posix.resolve('/', wanted);
  try {
    closeSync(openInRoot(root.fd, folder, constants.O_RDONLY | constants.O_DIRECTORY));
    return folder;
  } catch (error) {
    const errno = errnoOf(error);
    const why = errno === 'ENOENT' ? 'is not there' : errno === 'ELOOP' ? 'leads out of it' : errno;
    throw new DrayError('CONFIG_INVALID', `The folder ${folder} of the container: ${why}`, {
      hint: 'Choose another with --workdir.',
    });
  }
}

function hasVariable(env: readonly string[], name: string): boolean {
  return env.some((entry) => entry.startsWith(`${name}=`));
}
