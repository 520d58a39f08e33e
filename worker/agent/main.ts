/** The program `dray agent`: makes one node hold images unpacked, and runs containers on it. Needs root. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { compactHeap } from '../../shared/compact-heap.ts';
import { loadConfig } from '../../shared/config/load.ts';
import { openStore } from '../../shared/content/open.ts';
import {
  artifactError,
  findManifest,
  readImage,
  requireLayers,
} from '../../shared/content/stored-image.ts';
import { DrayError } from '../../shared/errors.ts';
import type { Digest } from '../../shared/image/digest.ts';
import { formatPlatform, hostPlatform } from '../../shared/image/platform.ts';
import { runcWarning } from '../../shared/node/runc-version.ts';
import { runProgram } from '../../shared/program.ts';
import { connectRedis } from '../../shared/queue/connection.ts';
import { isConsuming } from '../../shared/queue/consume.ts';
import { JobQueues } from '../../shared/queue/jobs.ts';
import { listenForOthers } from './api/remote.ts';
import { type AgentServices, createAgentServer, listenOnSocket } from './api/server.ts';
import { Containers } from './containers/containers.ts';
import { imagesOf } from './containers/image.ts';
import { measureNodeNow } from './describe-node.ts';
import { ImageRows, usedImages } from './gc/image-rows.ts';
import { collectGarbage } from './gc/job.ts';
import { LayerApplier } from './layer/apply.ts';
import { applyToFolder } from './layer/apply-to-folder.ts';
import { rehearse } from './layer/rehearsal.ts';
import { measureNode } from './metrics.ts';
import { NodeDatabase } from './node-database.ts';
import { Snapshots } from './snapshot/snapshots.ts';
import { takeJobs } from './take-jobs.ts';
import { heldRecords } from './unpack/held-images.ts';
import { unpackImage } from './unpack/image.ts';

const config = loadConfig();
const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };

await runProgram(config, 'agent', async ({ log, stopping, cleanUp }) => {
  if (process.getuid?.() !== 0) {
    throw new DrayError('NOT_ROOT', 'The agent mounts file systems and runs containers as root', {
      hint: 'Start it with sudo, or as a systemd service.',
    });
  }
  // Layers say what the mode of each file is.
  process.umask(0);
  const { node, labels, root, socket, applyThreads, limits, network, inContainer } = config.agent;

  const database = cleanUp.use(NodeDatabase.open(root));
  const snapshots = await Snapshots.open({ root, database, signal: stopping });
  const store = cleanUp.use(await openStore(config.store, { signal: stopping }));
  const nodeImages = new ImageRows(database);
  const held = heldRecords(database);
  const isHeld = (digest: Digest) => held.list().some(({ manifest }) => manifest === digest);
  const images = usedImages(imagesOf(store, isHeld), nodeImages);
  const containers = cleanUp.use(
    await Containers.open({
      ...{ root, database, snapshots, images, network, inContainer, log, signal: stopping },
    }),
  );
  await snapshots.sweep({
    isClaimed: (target) => containers.isClaimed(target),
    signal: stopping,
  });
  const applier = cleanUp.use(new LayerApplier({ threads: applyThreads, limits }));

  const redis = connectRedis(config.redis, { name: `agent-${node}`, patient: true });
  cleanUp.defer(() => redis.disconnect());
  const queues = cleanUp.use(new JobQueues(redis, config.redis.prefix));
  const api: AgentServices = {
    node,
    version,
    containers,
    snapshots,
    images,
    log,
    pulls: { config, redis, queues },
    unpack: async (digest, options) => {
      const descriptor = await findManifest(store.content, digest, options);
      const { manifest, config: image } = await readImage(store.content, descriptor, options);
      if (image === undefined) {
        throw artifactError(digest);
      }
      const content = store.content;
      await requireLayers(content, manifest, options);
      const chainID = await unpackImage(
        { snapshots, applier, content, manifest, config: image },
        options,
      );
      held.put({ manifest: descriptor.digest, chainID });
      return { chainID };
    },
    apply: (layer, target, options) => applyToFolder(applier, layer, target, options),
  };
  const server = createAgentServer(api);
  cleanUp.defer(() => server.close());
  await listenOnSocket(server, socket);
  const remote = await listenForOthers(config, api);
  if (remote !== undefined) cleanUp.use(remote);

  const escapes = runcWarning(await containers.runtimeVersion().catch(() => ''));
  if (escapes !== undefined) log.warn(escapes);
  const problems = escapes === undefined ? [] : [escapes];
  const unpacking = await takeJobs(
    {
      ...{ name: node, platform: formatPlatform(hostPlatform()), version, labels },
      ...(remote === undefined ? {} : { address: remote.address }),
    },
    {
      ...{ redis, prefix: config.redis.prefix, store, snapshots, applier },
      held,
      measure: () => {
        const running = containers.list().filter(({ state }) => state === 'running').length;
        return measureNodeNow({ root, snapshots, containers: running, problems });
      },
      used: (image) => nodeImages.used(image),
      log,
      stopping,
      cleanUp,
    },
  );
  await collectGarbage(config.gc, {
    ...{ root, images: nodeImages, snapshots, containers, store, node },
    ...{ redis, prefix: config.redis.prefix, log, stopping, cleanUp },
    queues,
  });
  measureNode({ root, snapshots, containers });
  log.info({ node, root, socket, store: store.describe() }, 'agent takes jobs');
  // The first pull need not wait for code that is compiled when it is needed first.
  rehearse(
    applier,
    { folder: path.join(root, 'rehearsal'), layersAtOnce: applyThreads },
    { signal: stopping },
  )
    .finally(compactHeap)
    .catch((error: unknown) => log.debug({ err: error }, 'no rehearsal'));
  return { isAlive: () => isConsuming(unpacking, redis), isReady: () => redis.status === 'ready' };
});
