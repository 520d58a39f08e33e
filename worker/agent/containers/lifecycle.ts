import { existsSync, rmdirSync, rmSync } from 'node:fs';
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PortMapping } from '../../../shared/agent/run-options.ts';
import { allDone } from '../../../shared/all-done.ts';
import { asDrayError, DrayError, errnoOf } from '../../../shared/errors.ts';
import type { BridgeAttachment } from '../network/bridge.ts';
import { exitCodes, refusedCommand } from '../runtime/exit-codes.ts';
import { createMonitored, findMonitors, isMonitorAlive } from '../runtime/monitor.ts';
import { writeNetworkFiles } from '../runtime/network-files.ts';
import { bootFile, forgetBootBefore } from './boot.ts';
import { makeRootFolder, networkFilesOf, writeBundle } from './bundle.ts';
import type { Container } from './container.ts';
import { bundleOf, type Layout } from './layout.ts';
import { openLog } from './log.ts';
import type { ContainerServices } from './services.ts';
import { portRequests } from './settings.ts';

/** Milliseconds for a monitor to write the exit code after the last process is gone. */
const exitBound = 5_000;

/** Makes the folders that all containers share. */
export async function makeFolders(layout: Layout): Promise<void> {
  await forgetBootBefore(layout.run);
  const { cgroupPrefix: _prefix, addresses: _addresses, ...folders } = layout;
  for (const folder of Object.values(folders)) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  // The way to the roots of containers with ids of their own; what else lies beside them stays closed.
  for (const folder of [layout.shared, layout.run, layout.roots]) await chmod(folder, 0o711);
}

/** Removes those of them that a reboot empties, unless a container needs them. */
export function removeRunFolders({ run, runtime, sockets, networks, roots }: Layout): void {
  try {
    for (const folder of [runtime, sockets, networks, roots]) rmdirSync(folder);
    rmSync(bootFile(run));
    rmdirSync(run);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ENOTEMPTY' && errno !== 'ENOENT') throw error;
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
  const { instance, options, settings } = container;
  const files = bundleOf(layout, instance);
  try {
    const tools = services.tools(options.runtime);
    for (const file of [files.exit, files.oom]) rmSync(file, { force: true });
    writeBundle(services, container);
    makeRootFolder(files.rootfs, options.userMapping);
    await allDone([services.bridge.detach(instance), snapshots.mount(instance, files.rootfs)]);
    // From here on nothing is cancelled: a runtime that is cut off half-way leaves more behind.
    const pid = await createMonitored(tools, {
      id: instance,
      bundle: files.bundle,
      logFile: files.log,
      exitDirectory: layout.exits,
      socketDirectory: layout.sockets,
      terminal: options.terminal ?? false,
      stdin: options.stdin ?? false,
      stdinOnce: options.stdinOnce ?? false,
      ...(options.ulimits === undefined ? {} : { ulimits: options.ulimits }),
    });
    const attached =
      settings.network === 'bridge' ? await attach(services, container, pid) : { addresses: [] };
    await tools.runc.start(instance);
    const running: Container = {
      ...withAttachment(container, attached),
      state: 'running',
      pid,
      oomKilled: false,
      startedAt: new Date(),
    };
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

/** Gives it an address on the bridge, which its /etc/hosts then has. */
async function attach(
  services: ContainerServices,
  container: Container,
  pid: number,
): Promise<BridgeAttachment> {
  const { instance, options, settings } = container;
  const ports = portRequests(options, settings);
  const attached = await services.bridge.attach(instance, pid, ports, settings.ports);
  const { bundle } = bundleOf(services.layout, instance);
  const { addresses, gateway } = attached;
  writeNetworkFiles({
    ...networkFilesOf(container, bundle),
    addresses,
    ...(gateway === undefined ? {} : { gateway }),
  });
  return attached;
}

/** A container with the addresses that it has on the bridge, and the ports that lead there. */
export function withAttachment(
  container: Container,
  { addresses, ports }: { addresses: string[]; ports?: PortMapping[] },
): Container {
  if (ports === undefined || ports.length === 0) return { ...container, addresses };
  return { ...container, addresses, settings: { ...container.settings, ports } };
}

/**
 * Ends whatever runs of a container, unmounts it and frees its addresses. What is not there is success.
 */
export async function halt(services: ContainerServices, instance: string): Promise<void> {
  await endProcesses(services, instance, services.rows.byInstance(instance)?.options.runtime);
  await takeDown(services, instance);
}

/** The same of one whose processes have all ended: the runtime's end of it and ours need not wait for each other. */
export async function haltEnded(
  services: ContainerServices,
  { instance, options: { runtime } }: Container,
): Promise<void> {
  await allDone([endProcesses(services, instance, runtime), takeDown(services, instance)]);
}

async function takeDown(
  { layout, snapshots, bridge }: ContainerServices,
  instance: string,
): Promise<void> {
  await snapshots.unmount(bundleOf(layout, instance).rootfs);
  await bridge.detach(instance);
}

/** @param runtime what it was made by */
async function endProcesses(
  services: ContainerServices,
  instance: string,
  runtime: string | undefined,
): Promise<void> {
  const { layout } = services;
  const { bundle } = bundleOf(layout, instance);
  const isKnown = (await knownToRuntime(services)).has(instance);
  if (isKnown || findMonitors(bundle).length > 0) {
    const { runc } = services.tools(runtime);
    await runc.delete(instance);
    // The monitor of a container that ran writes the exit code and ends by itself.
    if (isKnown) await until(() => !isMonitorAlive(bundle));
    const left = findMonitors(bundle);
    for (const pid of left) killQuietly(pid);
    // One that was killed takes a runtime that was still creating with it.
    if (left.length > 0) await until(() => findMonitors(bundle).length === 0);
    if ((await knownToRuntime(services)).has(instance)) await runc.delete(instance);
    await rm(join(layout.sockets, instance), { force: true });
  }
}

/** Waits for the end of a monitor, within a bound. */
async function until(isGone: () => boolean): Promise<void> {
  const bound = Date.now() + exitBound;
  while (Date.now() < bound && !isGone()) await sleep(5);
}

/**
 * What is written of a container that ended by itself: its exit code, whether its memory was not enough, and
 * why it did not run where the kernel refused its command.
 */
export async function describeEnd(
  services: ContainerServices,
  container: Container,
  exitCode: number,
): Promise<Container> {
  const { oom } = bundleOf(services.layout, container.instance);
  const oomKilled = existsSync(oom);
  if (oomKilled) {
    const limit = container.options.resources?.memory;
    const what = limit === undefined ? 'there was' : `its limit of ${limit / 2 ** 20} MiB`;
    const message = `It needed more memory than ${what}: the kernel ended a process of it (OOM)`;
    return { ...ended(container, exitCode, message), oomKilled };
  }
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
        refused === exitCodes.notFound
          ? `The command of the container, ${program}, is not in its image, or the interpreter that it names is not`
          : `The kernel refused to run ${program}, the command of the container`,
      );
    }
  }
  return ended(container, exitCode);
}

/** A container in state exited. */
export function ended(container: Container, exitCode: number, error?: string): Container {
  const { pid: _pid, error: _error, killAt: _killAt, ...rest } = container;
  return {
    ...rest,
    state: 'exited',
    addresses: [],
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
