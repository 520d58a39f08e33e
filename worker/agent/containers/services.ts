import type { NetworkMode } from '../../../shared/agent/run-options.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { BridgeNetwork } from '../network/bridge.ts';
import type { Runc } from '../runtime/runc.ts';
import type { Snapshots } from '../snapshot/snapshots.ts';
import type { ContainerRows } from './container-rows.ts';
import type { ImageSource } from './image.ts';
import type { Layout } from './layout.ts';

/** What of the node's snapshots containers use. */
export type RootSnapshots = Pick<
  Snapshots,
  'prepare' | 'mount' | 'unmount' | 'remove' | 'committed' | 'list'
>;

export interface RuntimeTools {
  /** The beginning of its command line. */
  conmon: readonly string[];
  runc: Runc;
}

/** What the work on containers stands on. */
export interface ContainerServices {
  layout: Layout;
  rows: ContainerRows;
  snapshots: RootSnapshots;
  images: ImageSource;
  /**
   * Looks the programs up when they are needed, so that an agent without them still unpacks.
   * @param runtime the name or path of an OCI runtime; default: runc
   * @throws TOOL_MISSING
   */
  tools: (runtime?: string) => RuntimeTools;
  bridge: BridgeNetwork;
  /** Of containers that ask for none. */
  defaultNetwork: NetworkMode;
  log: Logger;
}

/** The label of a snapshot that belongs to a container: its id. */
export const containerLabel = 'container';
