import { Readable } from 'node:stream';
import type { MountStatus, SnapshotStatus, VolumeStatus } from '../../shared/agent/containers.ts';
import type { PullHereRequest } from '../../shared/agent/pulls.ts';
import type { Digest } from '../../shared/image/digest.ts';
import type { PullStatus } from '../../shared/pull/status.ts';
import { AgentConnection, type CallOptions, linesOf } from './connection.ts';
import { AgentContainers } from './containers.ts';
import type { AgentEndpoint } from './endpoint.ts';

/** The typed client of one agent's API. */
export class AgentClient {
  readonly containers: AgentContainers;
  readonly #agent: AgentConnection;

  constructor(endpoint: AgentEndpoint) {
    this.#agent = new AgentConnection(endpoint);
    this.containers = new AgentContainers(this.#agent);
  }

  health(options: CallOptions = {}): Promise<{ status: string; node: string; version: string }> {
    return this.#agent.json('GET', '/v1/health', undefined, options);
  }

  /** Accepts a pull to the agent's node, as enqueuePull does. */
  async pull(request: PullHereRequest, options: CallOptions = {}): Promise<void> {
    await this.#agent.json('POST', '/v1/pulls', request, options);
  }

  /** A pull each time that it has changed, until it has ended or the agent can't say more. */
  async *watchPull(id: string, options: CallOptions = {}): AsyncGenerator<PullStatus> {
    const { body } = await this.#agent.open('GET', `/v1/pulls/${id}/events`, undefined, options);
    yield* linesOf<PullStatus>(body, asDate);
  }

  /** The volumes with a name. */
  async listVolumes(options: CallOptions = {}): Promise<VolumeStatus[]> {
    type Answer = { volumes: VolumeStatus[] };
    return (await this.#agent.json<Answer>('GET', '/v1/volumes', undefined, options)).volumes;
  }

  /** Makes one; one that is there is success. @throws CONFIG_INVALID */
  createVolume(name: string, options: CallOptions = {}): Promise<VolumeStatus> {
    const path = `/v1/volumes/${encodeURIComponent(name)}`;
    return this.#agent.json('PUT', path, undefined, options);
  }

  /** Removes one with all that is in it. @throws NOT_FOUND, CONFLICT when a container has it */
  async removeVolume(name: string, options: CallOptions = {}): Promise<void> {
    const path = `/v1/volumes/${encodeURIComponent(name)}`;
    await this.#agent.json('DELETE', path, undefined, options);
  }

  async listSnapshots(options: CallOptions = {}): Promise<SnapshotStatus[]> {
    type Answer = { snapshots: SnapshotStatus[] };
    return (await this.#agent.json<Answer>('GET', '/v1/snapshots', undefined, options)).snapshots;
  }

  async removeSnapshot(name: string, options: CallOptions = {}): Promise<void> {
    const path = `/v1/snapshots/${encodeURIComponent(name)}`;
    await this.#agent.json('DELETE', path, undefined, options);
  }

  /** Opens a writable snapshot of an image. */
  prepareSnapshot(
    request: { key: string; image: string },
    options: CallOptions = {},
  ): Promise<{ key: string; mounts: MountStatus[] }> {
    return this.#agent.json('POST', '/v1/snapshots', request, options);
  }

  /** Unpacks an image whose manifest is in the store. */
  unpack(digest: Digest, options: CallOptions = {}): Promise<{ chainID?: string }> {
    return this.#agent.json('POST', '/v1/unpack', { digest }, options);
  }

  /** Applies a layer to a folder of the node. @param target an absolute path */
  apply(
    layer: AsyncIterable<Uint8Array>,
    target: string,
    options: CallOptions = {},
  ): Promise<{ diffID: string }> {
    const path = `/v1/apply?${new URLSearchParams({ target })}`;
    return this.#agent.json('POST', path, Readable.from(layer), options);
  }
}

/** The times of a PullStatus. */
function asDate(key: string, value: unknown): unknown {
  return /^(created|finished|asked)At$/.test(key) ? new Date(String(value)) : value;
}
