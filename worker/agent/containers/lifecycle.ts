import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asDrayError, DrayError, errnoOf } from '../../../shared/errors.ts';
import { exitCodes, refusedCommand } from '../runtime/exit-codes.ts';
import { createMonitored, findMonitors } from '../runtime/monitor.ts';
import type { Container } from './container.ts';
import { bundleOf } from './layout.ts';
import { openLog } from './log.ts';
import type { ContainerServices } from './services.ts';

/** Milliseconds for a monitor to write the exit code after the last process is gone. */
const exitBound = 5_000;

/** Makes the folders that all containers share. */
export async function makeFolders({ layout }: ContainerServices): Promise<void> {
  for (const folder of Object.values(layout).filter((value) => value !== layout.cgroupPrefix)) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
}

/**
 * Starts a container whose bundle is there, in state starting.
 * @returns the container as it runs
 * @throws RUNTIME_FAILED with `context.exitCode`; nothing of it runs then, or is mounted
 */
export async function launch(
  services: ContainerServices,
  container: Container,
): Promise<Container> {
  const { layout, rows, snapshots } = services;
  const { instance } = container;
  const files = bundleOf(layout, instance);
  try {
    const tools = await services.tools();
    await rm(files.exit, { force: true });
    await snapshots.mount(instance, files.rootfs);
    // From here on nothing is cancelled: a runtime that is cut off half-way leaves more behind.
    const pid = await createMonitored(tools, {
      id: instance,
      bundle: files.bundle,
      logFile: files.log,
      exitDirectory: layout.exits,
      socketDirectory: layout.sockets,
      terminal: container.options.terminal ?? false,
      stdin: container.options.stdin ?? false,
    });
    await tools.runc.start(instance);
    const running: Container = { ...container, state: 'running', pid, startedAt: new Date() };
    rows.update(running);
    return running;
  } catch (error) {
    const failure = asDrayError(error);
    const exitCode = Number(failure.context.exitCode ?? exitCodes.failed);
    await halt(services, instance);
    rows.update(ended(container, exitCode, failure.message));
    throw new DrayError(failure.code, forPeople(failure.message, container), {
      cause: error,
      ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      context: { ...failure.context, exitCode },
    });
  }
}

/** Ends whatever runs of a container, and unmounts it. What is not there is success. */
export async function halt(services: ContainerServices, instance: string): Promise<void> {
  const { layout, snapshots } = services;
  const { bundle, rootfs } = bundleOf(layout, instance);
  const isKnown = (await knownToRuntime(services)).has(instance);
  if (isKnown || (await findMonitors(bundle)).length > 0) {
    const { runc } = await services.tools();
    await runc.delete(instance);
    // The monitor of a container that ran writes the exit code and ends by itself.
    if (isKnown) await monitorsGone(bundle);
    for (const pid of await findMonitors(bundle)) killQuietly(pid);
    // One that was killed takes a runtime that was still creating with it.
    await monitorsGone(bundle);
    if ((await knownToRuntime(services)).has(instance)) await runc.delete(instance);
    await rm(join(layout.sockets, instance), { force: true });
  }
  await snapshots.unmount(rootfs);
}

async function monitorsGone(bundle: string): Promise<void> {
  const bound = Date.now() + exitBound;
  while (Date.now() < bound && (await findMonitors(bundle)).length > 0) await sleep(5);
}

/**
 * What is written of a container that ended by itself: its exit code, and why it did not run where the
 * kernel refused its command.
 */
export async function describeEnd(
  services: ContainerServices,
  container: Container,
  exitCode: number,
): Promise<Container> {
  if (exitCode === 1) {
    const { log } = bundleOf(services.layout, container.instance);
    let output = '';
    for await (const { stream, bytes } of (await openLog(log)).output) {
      output += stream === 'stderr' ? Buffer.from(bytes).toString() : '\n\n';
      if (output.length > 4096) break;
    }
    const line = output.trimEnd();
    const refused = refusedCommand(exitCode, line);
    if (refused !== undefined) {
      const [program = ''] = container.args;
      return ended(
        container,
        refused,
        `The kernel refused to run ${program}, the command of the container`,
      );
    }
  }
  return ended(container, exitCode);
}

/** A container in state exited. */
export function ended(container: Container, exitCode: number, error?: string): Container {
  const { pid: _pid, error: _error, ...rest } = container;
  return {
    ...rest,
    state: 'exited',
    exitCode,
    finishedAt: new Date(),
    ...(error === undefined ? {} : { error: forPeople(error, container) }),
  };
}

/** The instances that the runtime has a state of: looked up in its folder, since asking it takes a process. */
export async function knownToRuntime({ layout }: ContainerServices): Promise<Set<string>> {
  try {
    return new Set(await readdir(layout.runtime));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return new Set();
    throw error;
  }
}

/** Programs know a container by its instance, people by its id. */
function forPeople(message: string, { id, instance }: Pick<Container, 'id' | 'instance'>): string {
  return message.replaceAll(instance, id);
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}
