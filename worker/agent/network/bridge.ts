import { readFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PortMapping, PortRequest } from '../../../shared/agent/run-options.ts';
import { errnoOf } from '../../../shared/errors.ts';
import { findTool } from '../runtime/tools.ts';
import {
  type Attachment,
  addNetwork,
  type CniResult,
  deleteNetwork,
  findPlugin,
  type NetworkList,
} from './cni.ts';
import { holdNamespace, isNamespaceHeld, releaseNamespace } from './namespace.ts';
import { PortTable } from './ports.ts';

export interface BridgeOptions {
  /** The name of the bridge's device. */
  bridge: string;
  /** IPv4, in CIDR notation; its first address is the bridge's. */
  subnet: string;
  /** Folders of CNI plugins. */
  plugins: readonly string[];
  /** What is attached: a folder that a reboot empties, as it does the kernel's devices and rules. */
  folder: string;
  /** The addresses in use, shared by all that use this bridge; a reboot empties it too. */
  addresses: string;
}

/** What a container has on the bridge. */
export interface BridgeAttachment {
  addresses: string[];
  ports: PortMapping[];
  /** The bridge's own address. */
  gateway?: string;
}

const interfaceName = 'eth0';

/** What was asked of the plugins, and what they answered: kept so that DEL is as ADD was, after a crash too. */
interface AttachmentRecord {
  list: NetworkList;
  ports: PortMapping[];
  result?: CniResult;
}

/**
 * The network `bridge`: a device of the node with an address for each container, by the CNI plugins bridge,
 * host-local and portmap. The loopback device of a new network namespace is the runtime's business.
 */
export class BridgeNetwork {
  readonly #options: BridgeOptions;
  readonly #ports = new PortTable();

  private constructor(options: BridgeOptions) {
    this.#options = options;
  }

  /** Opens the network with what is attached already. */
  static async open(options: BridgeOptions): Promise<BridgeNetwork> {
    await mkdir(options.folder, { recursive: true, mode: 0o700 });
    const network = new BridgeNetwork(options);
    for (const owner of await network.attached()) {
      const record = network.#read(owner);
      if (record !== undefined) network.#ports.take(owner, record.ports);
    }
    return network;
  }

  /** Whether this node has what the network needs. @throws TOOL_MISSING saying what is missing */
  async requireTools(): Promise<void> {
    for (const type of ['bridge', 'host-local', 'portmap']) {
      await findPlugin(type, this.#options.plugins);
    }
    findTool('iptables');
  }

  /**
   * Gives the network namespace of a container's process an address, and lets ports of the node lead there.
   * @param requests those without a port of the node get one that is free
   * @param former the ports that it had before
   * @returns its addresses and the bridge's
   * @throws CONFLICT for a port that is taken, RUNTIME_FAILED, TOOL_MISSING; nothing is left then
   */
  async attach(
    owner: string,
    pid: number,
    requests: readonly PortRequest[],
    former: readonly PortMapping[] = [],
  ): Promise<BridgeAttachment> {
    await this.requireTools();
    try {
      const ports = await this.#ports.assign(owner, requests, former);
      const record: AttachmentRecord = { list: this.#list(ports), ports: [...ports] };
      // Before the first plugin does anything: what a crash leaves is known.
      await this.#write(owner, record);
      await holdNamespace(pid, this.#namespace(owner));
      const result = await addNetwork(record.list, this.#attachment(owner, record, true));
      await this.#write(owner, { ...record, result });
      const gateway = result.ips?.[0]?.gateway;
      return {
        addresses: addressesIn(result),
        ports,
        ...(gateway === undefined ? {} : { gateway }),
      };
    } catch (error) {
      await this.detach(owner);
      throw error;
    }
  }

  /** Frees the addresses and ports of a container. What is not there is success. @throws RUNTIME_FAILED */
  async detach(owner: string): Promise<void> {
    const record = this.#read(owner);
    // Nothing of it is here without its record, which is written first and removed last.
    if (record === undefined) return this.#ports.release(owner);
    const isHeld = await isNamespaceHeld(this.#namespace(owner));
    await deleteNetwork(record.list, this.#attachment(owner, record, isHeld), record.result);
    await releaseNamespace(this.#namespace(owner));
    await rm(this.#file(owner), { force: true });
    this.#ports.release(owner);
  }

  /** What a container has here. */
  async attachmentOf(owner: string): Promise<BridgeAttachment> {
    const record = this.#read(owner);
    return { addresses: addressesIn(record?.result), ports: record?.ports ?? [] };
  }

  /** Who is attached, or was when an agent died. */
  async attached(): Promise<string[]> {
    const names = await readdir(this.#options.folder);
    return names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5));
  }

  #list(ports: readonly PortMapping[]): NetworkList {
    const { bridge, subnet, addresses } = this.#options;
    return {
      name: bridge,
      plugins: [
        {
          type: 'bridge',
          bridge,
          isGateway: true,
          ipMasq: true,
          // So that a container reaches itself by a port of the node.
          hairpinMode: true,
          ipam: {
            type: 'host-local',
            dataDir: addresses,
            ranges: [[{ subnet }]],
            routes: [{ dst: '0.0.0.0/0' }],
          },
        },
        ...(ports.length === 0
          ? []
          : [{ type: 'portmap', snat: true, capabilities: { portMappings: true as const } }]),
      ],
    };
  }

  #attachment(owner: string, { ports }: AttachmentRecord, isHeld: boolean): Attachment {
    return {
      containerID: owner,
      netns: isHeld ? this.#namespace(owner) : '',
      interfaceName,
      path: this.#options.plugins,
      capabilities: { portMappings: ports },
    };
  }

  #file(owner: string): string {
    return join(this.#options.folder, `${owner}.json`);
  }

  #namespace(owner: string): string {
    return join(this.#options.folder, `${owner}.netns`);
  }

  #read(owner: string): AttachmentRecord | undefined {
    try {
      return JSON.parse(readFileSync(this.#file(owner), 'utf8')) as AttachmentRecord;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async #write(owner: string, record: AttachmentRecord): Promise<void> {
    const file = this.#file(owner);
    await writeFile(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${file}.new`, file);
  }
}

/** Without the length of the prefix. */
function addressesIn(result: CniResult | undefined): string[] {
  return (result?.ips ?? []).map(({ address }) => address.replace(/\/\d+$/, ''));
}
