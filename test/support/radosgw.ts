import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from './ports.ts';
import { type AccessLogEntry, parseAccess } from './registry.ts';

const run = promisify(execFile);

/** A Ceph cluster of one monitor and one OSD in memory, with its S3 gateway, in a temporary folder on loopback. */
export interface TestRadosgw extends AsyncDisposable {
  endpoint: string;
  accessKey: string;
  secretKey: string;
  /** Makes a bucket with a new name. */
  createBucket: () => Promise<string>;
  /** The environment of a program whose content store is that bucket. */
  storeEnv: (bucket: string) => NodeJS.ProcessEnv;
  /** What was asked of it, in order. */
  accessLog: () => Promise<AccessLogEntry[]>;
  /** Stops only the gateway, as an outage does. */
  stopGateway: () => Promise<void>;
  /** Starts it again on the same port. */
  startGateway: () => Promise<void>;
  stop: () => Promise<void>;
}

/** The programs that {@link startRadosgw} needs. */
export const radosgwTools = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph'];

/** Starts the cluster; takes a few seconds. Everything ends, and the folder goes, with `stop`. */
export async function startRadosgw(options: { address?: string } = {}): Promise<TestRadosgw> {
  const { address = '127.0.0.1' } = options;
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-ceph-'));
  const children: ChildProcess[] = [];
  const stop = async () => {
    for (const child of children.reverse()) await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const [monitorPort, port] = await Promise.all([freePort(), freePort()]);
    const conf = path.join(folder, 'ceph.conf');
    const admin = path.join(folder, 'keyring');
    const ceph = async (...args: string[]) => {
      return (await run('ceph', ['-c', conf, '--connect-timeout', '20', ...args])).stdout;
    };
    const daemon = (name: string, command: string, args: string[]) => {
      const child = spawn(command, ['-c', conf, '--foreground', ...args], { stdio: 'ignore' });
      child.on('error', () => {});
      children.push(child);
      return { name, child };
    };
    const fsid = crypto.randomUUID();
    for (const name of ['mon', 'osd', 'rgw', 'run']) await mkdir(path.join(folder, name));
    await writeFile(conf, configuration({ folder, fsid, monitorPort, address, port }));
    await run('ceph-authtool', ['--create-keyring', admin, '--gen-key', '-n', 'mon.']);
    const map = path.join(folder, 'monmap');
    await run('monmaptool', [
      ...['--create', '--fsid', fsid, '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, map],
    ]);
    await run('ceph-mon', ['-c', conf, '--mkfs', '-i', 'a', '--monmap', map, '--keyring', admin]);
    daemon('mon', 'ceph-mon', ['-i', 'a']);
    const osdId = (await ceph('osd', 'new', fsid)).trim();
    await run('ceph-osd', ['-c', conf, '--mkfs', '-i', osdId, '--osd-uuid', fsid]);
    await ceph('osd', 'crush', 'add', `osd.${osdId}`, '1', 'root=default', 'host=test');
    await ceph('osd', 'crush', 'rule', 'create-simple', 'single', 'default', 'osd');
    daemon('osd', 'ceph-osd', ['-i', osdId]);
    const endpoint = `http://${address}:${port}`;
    let gateway: ChildProcess | undefined;
    const startGateway = async () => {
      gateway = daemon('rgw', 'radosgw', ['-n', 'client.rgw']).child;
      await answers(endpoint, gateway);
    };
    await startGateway();
    const accessKey = 'drayage-test';
    const secretKey = crypto.randomUUID();
    await run('radosgw-admin', [
      ...['-c', conf, 'user', 'create', '--uid', 'test', '--display-name', 'test'],
      ...['--access-key', accessKey, '--secret-key', secretKey],
    ]);
    return {
      endpoint,
      accessKey,
      secretKey,
      createBucket: async () => {
        const { S3Client, CreateBucketCommand } = await import('@aws-sdk/client-s3');
        const client = new S3Client({
          endpoint,
          region: 'us-east-1',
          forcePathStyle: true,
          credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
        });
        const bucket = `test-${crypto.randomUUID()}`;
        await client.send(new CreateBucketCommand({ Bucket: bucket }));
        client.destroy();
        return bucket;
      },
      storeEnv: (bucket) => ({
        ...{ DRAY_STORE: `s3://${bucket}/dray`, AWS_ENDPOINT_URL_S3: endpoint },
        ...{ AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey },
        AWS_REGION: 'us-east-1',
      }),
      accessLog: async () => {
        const log = await readFile(path.join(folder, 'client.rgw.log'), 'utf8');
        return log
          .split('\n')
          .filter((line) => line.includes(' beast: '))
          .flatMap(parseAccess);
      },
      stopGateway: async () => {
        if (gateway !== undefined) await end(gateway);
      },
      startGateway,
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    const log = await readFile(path.join(folder, 'log'), 'utf8').catch(() => '');
    await stop();
    throw new Error(`radosgw did not start\n${log.slice(-2000)}`, { cause: error });
  }
}

function configuration(options: {
  folder: string;
  fsid: string;
  monitorPort: number;
  address: string;
  port: number;
}): string {
  const { folder, fsid, monitorPort, address, port } = options;
  return `[global]
fsid = ${fsid}
mon host = [v2:127.0.0.1:${monitorPort}]
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
run dir = ${folder}/run
admin socket = ${folder}/run/$name.asok
pid file =
log file = ${folder}/$name.log
keyring = ${folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd class update on start = false
osd crush update on start = false
ms mon client mode = crc
mon allow pool size one = true
mon max pg per osd = 1000
[mon]
mon data = ${folder}/mon
mon data avail crit = 1
[osd]
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
[client.rgw]
rgw data = ${folder}/rgw
rgw frontends = beast endpoint=${address}:${port}
rgw enable usage log = false
rgw enable gc threads = true
rgw gc obj min wait = 1
rgw thread pool size = 64
`;
}

async function answers(endpoint: string, gateway: ChildProcess): Promise<void> {
  const until = performance.now() + 60_000;
  for (;;) {
    try {
      const response = await fetch(endpoint);
      await response.arrayBuffer();
      if (response.status < 500) return;
    } catch {
      // Not yet.
    }
    if (gateway.exitCode !== null) throw new Error(`radosgw ended with ${gateway.exitCode}`);
    if (performance.now() > until) throw new Error('radosgw does not answer');
    await sleep(50);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
