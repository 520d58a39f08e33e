import { mkdir, realpath } from 'node:fs/promises';
import type { NetworkMode } from '../../../shared/agent/run-options.ts';
import type { NodeNetworkConfig } from '../../../shared/config/config.ts';
import type { Logger } from '../../../shared/logging.ts';
import { BridgeNetwork } from '../network/bridge.ts';
import type { NodeDatabase } from '../node-database.ts';
import { goAside } from '../runtime/go-aside.ts';
import { Runc } from '../runtime/runc.ts';
import { findRuntime, findTool } from '../runtime/tools.ts';
import { ContainerRows } from './container-rows.ts';
import type { ImageSource } from './image.ts';
import { layoutOf } from './layout.ts';
import { makeFolders } from './lifecycle.ts';
import type { ContainerServices, RootSnapshots } from './services.ts';

export interface OpenContainersOptions {
  /** The agent's root folder. */
  root: string;
  /** A folder that a reboot empties; default: one below /run that belongs to this root. */
  run?: string;
  database: NodeDatabase;
  snapshots: RootSnapshots;
  images: ImageSource;
  network: NodeNetworkConfig;
  /** Of the agent: monitors have to leave its control group. Default false. */
  inContainer?: boolean;
  log: Logger;
  signal?: AbortSignal;
}

/** Opens what containers stand on in an agent's root folder. */
export async function openServices(options: OpenContainersOptions): Promise<ContainerServices> {
  await mkdir(options.root, { recursive: true, mode: 0o700 });
  const layout = layoutOf(await realpath(options.root), options.run);
  await makeFolders(layout);
  const bridge = await BridgeNetwork.open({
    ...options.network,
    folder: layout.networks,
    addresses: layout.addresses,
  });
  return {
    layout,
    rows: new ContainerRows(options.database),
    snapshots: options.snapshots,
    images: options.images,
    tools: (runtime = 'runc') => ({
      conmon: [...(options.inContainer ? goAside : []), findTool('conmon')],
      runc: new Runc({ path: findRuntime(runtime), root: layout.runtime }),
    }),
    bridge,
    defaultNetwork: options.network.default ?? (await usualNetwork(bridge)),
    log: options.log,
  };
}

/** bridge where the node has what it takes, else host. */
async function usualNetwork(bridge: BridgeNetwork): Promise<NetworkMode> {
  return await bridge.requireTools().then(
    () => 'bridge',
    () => 'host',
  );
}
