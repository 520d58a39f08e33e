import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sweepExecFolders } from '../runtime/exec-folder.ts';
import { exitCodes } from '../runtime/exit-codes.ts';
import { isMonitorAlive } from '../runtime/monitor.ts';
import { removeBundle } from './bundle.ts';
import { type Container, isLive } from './container.ts';
import { readExit } from './exits.ts';
import { bundleOf } from './layout.ts';
import { describeEnd, ended, halt, knownToRuntime, withAttachment } from './lifecycle.ts';
import { sweepVolumes } from './named-volumes.ts';
import { planRestart } from './restarts.ts';
import { type ContainerServices, containerLabel } from './services.ts';

/**
 * Brings rows and node together after the agent before this one died, in whatever moment: containers that
 * run are kept, those that ended meanwhile get their exit code, and what was half made or half removed goes.
 */
export async function reconcile(
  services: ContainerServices,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const { rows, log } = services;
  for (const container of rows.list()) {
    options.signal?.throwIfAborted();
    try {
      await reconcileOne(services, container);
      await sweepExecFolders(bundleOf(services.layout, container.instance).bundle);
    } catch (error) {
      // One that can't be mended must not keep the agent from serving the others.
      log.error({ err: error, container: container.id }, 'a container could not be mended');
    }
  }
  await sweepRuntime(services);
  await sweepFolders(services);
  await sweepVolumes(services);
}

async function reconcileOne(services: ContainerServices, container: Container): Promise<void> {
  const { rows, log } = services;
  const { id, instance } = container;
  switch (container.state) {
    case 'creating':
    case 'removing':
      log.info({ container: id, state: container.state }, 'clearing a container away');
      await halt(services, instance);
      await removeBundle(services, instance);
      rows.delete(instance);
      return;
    case 'starting':
    case 'running':
    case 'paused': {
      const current = await observe(services, container);
      if (current === undefined) return;
      if (!isLive(current.state)) await halt(services, instance);
      rows.update(planRestart(current) ?? current);
    }
  }
}

/**
 * What became of a container that was running, or about to.
 * @returns undefined when it goes on as it was
 */
export async function observe(
  services: ContainerServices,
  container: Container,
): Promise<Container | undefined> {
  const { bundle, exit } = bundleOf(services.layout, container.instance);
  const isWatched = isMonitorAlive(bundle);
  // In this order: a monitor writes the code before it ends.
  const exitCode = readExit(exit);
  if (exitCode !== undefined) return await describeEnd(services, container, exitCode);
  const hasStarted = container.state !== 'starting';
  if (hasStarted && isWatched) return undefined;
  const isKnown = (await knownToRuntime(services)).has(container.instance);
  const state = isKnown ? await services.tools().runc.state(container.instance) : undefined;
  if (state?.status === 'running' || state?.status === 'paused') {
    if (hasStarted) return undefined;
    const attached = await services.bridge.attachmentOf(container.instance);
    return {
      ...withAttachment(container, attached),
      state: 'running',
      pid: state.pid,
      startedAt: new Date(),
    };
  }
  return !hasStarted
    ? ended(container, exitCodes.failed, 'The agent ended while the container was being started')
    : ended(
        container,
        exitCodes.unknown,
        'Its monitor ended, or the node did: no exit code is known',
      );
}

async function sweepRuntime(services: ContainerServices): Promise<void> {
  for (const instance of await knownToRuntime(services)) {
    const container = services.rows.byInstance(instance);
    if (container !== undefined && isLive(container.state)) continue;
    await halt(services, instance);
    // Of another runtime, which nobody knows the name of any more, only this is left.
    await rm(join(services.layout.runtime, instance), { recursive: true, force: true });
  }
}

async function sweepFolders(services: ContainerServices): Promise<void> {
  const { layout, rows, snapshots, bridge } = services;
  for (const instance of await readdir(layout.bundles)) {
    if (rows.byInstance(instance) === undefined) {
      await halt(services, instance);
      await removeBundle(services, instance);
    }
  }
  for (const { name, labels } of snapshots.list()) {
    const isOurs = labels[containerLabel] !== undefined;
    if (isOurs && rows.byInstance(name) === undefined) await snapshots.remove(name);
  }
  for (const instance of await bridge.attached()) {
    const container = rows.byInstance(instance);
    if (container === undefined || !isLive(container.state)) await bridge.detach(instance);
  }
  for (const name of await readdir(layout.exits)) {
    const container = rows.byInstance(name);
    if (container === undefined || !isLive(container.state)) {
      await rm(join(layout.exits, name), { force: true });
    }
  }
}
