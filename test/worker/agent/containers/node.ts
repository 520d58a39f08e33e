import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  realpath,
  rm,
  rmdir,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { pino } from 'pino';
import type { LogRequest, OutputChunk } from '../../../../shared/agent/containers.ts';
import { loadConfig } from '../../../../shared/config/load.ts';
import type { ImageConfig } from '../../../../shared/image/config.ts';
import { type ChainID, type DiffID, digestOf } from '../../../../shared/image/digest.ts';
import { Containers } from '../../../../worker/agent/containers/containers.ts';
import type { ContainerImage } from '../../../../worker/agent/containers/image.ts';
import { layoutOf } from '../../../../worker/agent/containers/layout.ts';
import { NodeDatabase } from '../../../../worker/agent/node-database.ts';
import { Snapshots } from '../../../../worker/agent/snapshot/snapshots.ts';
import { isInstalled, requireRoot, requireTool } from '../../../support/requirements.ts';

const busybox = '/bin/busybox';
const applets = [
  'sh',
  'ls',
  'cat',
  'printf',
  'sleep',
  'dd',
  'id',
  'env',
  'true',
  'pwd',
  'seq',
  'grep',
  'nc',
  'ip',
  'touch',
  'test',
  'rm',
];

/** Whether containers can run here; otherwise the test is skipped. */
export function requireContainers(t: TestContext): boolean {
  return requireRoot(t) && ['runc', 'conmon', 'busybox'].every((tool) => requireTool(t, tool));
}

/** The same, for what is set up before the tests. */
export function canRunContainers(): boolean {
  return process.getuid?.() === 0 && ['runc', 'conmon', 'busybox'].every(isInstalled);
}

export const imageName = 'localhost/library/tiny:latest';

const testDiffID = digestOf('the layer of the tiny image') as string as DiffID;

/** An image of busybox alone, with the given configuration. */
export function tinyImage(config: ImageConfig['config'] = {}): ContainerImage {
  return {
    name: imageName,
    manifest: digestOf('the manifest of the tiny image'),
    config: {
      os: 'linux',
      architecture: 'amd64',
      config,
      rootfs: { type: 'layers', diff_ids: [testDiffID] },
    },
    chainID: testDiffID as string as ChainID,
  };
}

/** A node whose root folder is temporary. */
export interface TestNode extends AsyncDisposable {
  root: string;
  containers: Containers;
  snapshots: Snapshots;
}

/** Opens a node's services on a root folder. Disposing them leaves the folder, and what runs. */
export async function openNode(
  root: string,
  image: (name: string) => ContainerImage = () => tinyImage(),
): Promise<TestNode> {
  await using undo = new AsyncDisposableStack();
  const database = undo.use(NodeDatabase.open(root));
  const snapshots = await Snapshots.open({ root, database });
  if (snapshots.committed(testDiffID as string as ChainID) === undefined) {
    await using staging = await snapshots.stage(testDiffID as string as ChainID);
    await fillTinyRoot(staging.directory);
    await staging.commit({ diffID: testDiffID, bytes: 0, entries: 0 });
  }
  const containers = undo.use(
    await Containers.open({
      root,
      database,
      snapshots,
      images: { find: async (name) => image(name) },
      network: { ...loadConfig().agent.network, default: 'host' },
      inContainer: loadConfig().agent.inContainer,
      log: pino({ level: 'silent' }),
    }),
  );
  const services = undo.move();
  return { root, containers, snapshots, [Symbol.asyncDispose]: () => services.disposeAsync() };
}

/** A node for one test, which at the end is left without container, mount and folder. */
export async function temporaryNode(image?: (name: string) => ContainerImage): Promise<TestNode> {
  const root = await temporaryRoot();
  const node = await openNode(root, image);
  return {
    ...node,
    [Symbol.asyncDispose]: async () => {
      for (const { id } of node.containers.list()) {
        await node.containers.remove(id, { force: true });
      }
      await node[Symbol.asyncDispose]();
      await removeRoot(root);
    },
  };
}

export async function temporaryRoot(): Promise<string> {
  return await realpath(await mkdtemp(path.join(tmpdir(), 'dray-containers-')));
}

/** Removes a root folder on which nothing runs any more. */
export async function removeRoot(root: string): Promise<void> {
  await rm(root, { recursive: true, force: true });
  await removeRun(root);
}

/** Removes what a root folder's containers had in /run, as a reboot does. */
export async function removeRun(root: string): Promise<void> {
  const { run } = layoutOf(root);
  await rm(run, { recursive: true, force: true });
  await rmdir(path.dirname(run)).catch(() => {});
}

async function fillTinyRoot(root: string): Promise<void> {
  for (const folder of ['bin', 'etc', 'tmp', 'root']) await mkdir(path.join(root, folder));
  await chmod(path.join(root, 'tmp'), 0o1777);
  await copyFile(busybox, path.join(root, 'bin/busybox'));
  await chmod(path.join(root, 'bin/busybox'), 0o755);
  for (const applet of applets) await symlink('busybox', path.join(root, 'bin', applet));
  await writeFile(path.join(root, 'bin/broken'), 'no program\n');
  await chmod(path.join(root, 'bin/broken'), 0o755);
  await writeFile(path.join(root, 'bin/script'), '#!/no/such/interpreter\n');
  await chmod(path.join(root, 'bin/script'), 0o755);
  await writeFile(
    path.join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nredis:x:999:998::/data:/bin/sh\n',
  );
  await writeFile(path.join(root, 'etc/group'), 'root:x:0:\nredis:x:998:\nextra:x:1500:redis\n');
}

/** All output of a container, by stream. */
export async function outputOf(
  containers: {
    logs: (id: string, options: LogRequest) => Promise<{ output: AsyncIterable<OutputChunk> }>;
  },
  id: string,
): Promise<{ stdout: Buffer; stderr: Buffer }> {
  const pieces = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  for await (const { stream, bytes } of (await containers.logs(id, { follow: true })).output) {
    pieces[stream].push(bytes);
  }
  return { stdout: Buffer.concat(pieces.stdout), stderr: Buffer.concat(pieces.stderr) };
}

/** Makes and runs a container to its end. */
export async function runToEnd(
  containers: Containers,
  id: string,
  args: string[],
  options: object = {},
): Promise<{ exitCode: number; stdout: Buffer; stderr: Buffer }> {
  await containers.create({ id, image: imageName, options: { args, ...options } });
  const output = outputOf(containers, id);
  await containers.start(id);
  return { ...(await output), exitCode: (await containers.wait(id)).exitCode };
}
