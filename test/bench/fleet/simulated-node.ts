import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChainID, DiffID } from '../../../shared/image/digest.ts';
import type { NodeMeasures } from '../../../worker/agent/describe-node.ts';
import type { LayerSource } from '../../../worker/agent/layer/lane.ts';
import { Claims } from '../../../worker/agent/snapshot/claims.ts';
import type { Snapshot } from '../../../worker/agent/snapshot/snapshot.ts';
import type { HeldImage, HeldRecords } from '../../../worker/agent/unpack/held-images.ts';
import type { ImageServices } from '../../../worker/agent/unpack/image.ts';
import type { Applier, LayerSnapshots } from '../../../worker/agent/unpack/layer.ts';

/** What a node unpacks with, without a disk: layers are read and their diffIDs verified, snapshots are names. */
export function simulatedNode(options: { applyMs: number }): ImageServices {
  return { snapshots: namedSnapshots(), applier: readingApplier(options) };
}

/** What a node says of itself, made up. */
export function simulatedMeasures(): { measure: () => Promise<NodeMeasures>; held: HeldRecords } {
  const held = new Map<string, HeldImage>();
  return {
    measure: async () => ({
      capacity: { cpus: 1, memoryBytes: 2 ** 30 },
      disk: { snapshots: 0, bytes: 0, diskSize: 2 ** 30, diskFree: 2 ** 29 },
      ...{ containers: 0, problems: [] },
    }),
    held: {
      list: () => [...held.values()],
      put: (image) => void held.set(image.manifest, image),
      remove: (manifest) => void held.delete(manifest),
    },
  };
}

function namedSnapshots(): LayerSnapshots {
  const claims = new Claims();
  const committed = new Map<ChainID, Snapshot>();
  return {
    committed: (chainID) => committed.get(chainID),
    claim: (chainID, options) => claims.take(chainID, options),
    hold: () => ({ [Symbol.dispose]: () => {} }),
    lowerDirectories: () => [],
    freeBytes: async () => Number.MAX_SAFE_INTEGER,
    stage: async (chainID) => ({
      directory: '/nowhere',
      commit: async ({ diffID, bytes, entries }) => {
        const id = committed.size + 1;
        const createdAt = new Date();
        committed.set(chainID, {
          ...{ id, name: chainID, kind: 'committed', diffID, bytes, entries, createdAt },
          labels: {},
        });
        return 'committed';
      },
      [Symbol.asyncDispose]: async () => {},
    }),
  };
}

/** Takes as long for a layer as told, and says four times how far it is. */
function readingApplier({ applyMs }: { applyMs: number }): Applier {
  return {
    apply: async (source, _target, { signal, onProgress }) => {
      const hash = createHash('sha256');
      let tarBytes = 0;
      for await (const chunk of bytesOf(source)) {
        hash.update(chunk);
        tarBytes += chunk.length;
      }
      for (const part of [0.25, 0.5, 0.75, 1]) {
        await sleep(applyMs / 4, undefined, signal === undefined ? {} : { signal });
        onProgress?.(tarBytes * part);
      }
      const diffID = `sha256:${hash.digest('hex')}` as DiffID;
      const deferred = {
        ...{ folders: [], implied: [], inheriting: [], links: [], whiteouts: [] },
        opaqueRoot: false,
      };
      return { diffID, tarBytes, entries: 1, diskBytes: tarBytes, deferred };
    },
  };
}

async function* bytesOf(source: LayerSource): AsyncIterable<Uint8Array> {
  if ('file' in source) yield* createReadStream(source.file);
  else if ('ranges' in source) {
    for await (const { fd, position: start, length } of source.ranges) {
      yield* createReadStream('', { fd, start, end: start + length - 1, autoClose: false });
    }
  } else yield* source;
}
