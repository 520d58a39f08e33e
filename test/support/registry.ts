import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, fetch } from 'undici';
import { type Descriptor, mediaTypes } from '../../shared/image/descriptor.ts';
import { type DigestAlgorithm, digestOf } from '../../shared/image/digest.ts';
import { freePort } from './ports.ts';

/** The one user of a registry with a password. The line comes from `htpasswd -nbB -C 4 reader …`. */
export const registryUser = { username: 'reader', password: 'canary-5w0rd' };
const htpasswdLine = 'reader:$2b$04$4tUnbdqhxnbiuQEsQfW.rON7SGVWbZV3KQNFkGFPFe8JxUaqf5tti\n';

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

export interface AccessLogEntry {
  method: string;
  path: string;
  status: number;
  /** Of the body. */
  bytes: number;
}

export interface PushedImage {
  manifest: Descriptor;
  config: Descriptor;
  layers: Descriptor[];
}

export interface TestRegistry extends AsyncDisposable {
  /** `localhost:PORT`. */
  host: string;
  pid: number;
  /** What was asked of it, in order. */
  accessLog(): Promise<AccessLogEntry[]>;
  putBlob(
    repository: string,
    bytes: Uint8Array,
    mediaType?: string,
    algorithm?: DigestAlgorithm,
  ): Promise<Descriptor>;
  /** @param reference a tag or a digest */
  putManifest(
    repository: string,
    reference: string,
    document: object | Uint8Array,
    mediaType?: string,
  ): Promise<Descriptor>;
  /** Pushes an image of layers as they are; without a `config`, one that names their own digests as diffIDs. */
  push(
    repository: string,
    tag: string,
    image: { layers: (Uint8Array | { bytes: Uint8Array; mediaType: string })[]; config?: object },
  ): Promise<PushedImage>;
  stop(): Promise<void>;
}

/** PEM. Its certificate is for localhost. */
export interface RegistryTls {
  certificate: string;
  key: string;
  /** Who trusts it. */
  ca: string;
  /** Clients must have a certificate of this authority; this pair is for what the test itself asks. */
  clients?: { ca: string; certificate: string; key: string };
}

/**
 * Debian's docker-registry on a free port of loopback, on a temporary folder.
 * @param options.data where the images are instead; it stays
 */
export async function startRegistry(
  options: {
    htpasswd?: boolean;
    port?: number;
    data?: string;
    tls?: RegistryTls;
    /** Makes it a pull-through cache of the registry at this URL. */
    cacheOf?: string;
    /** Who hands out its tokens, and the certificate (PEM) that they are signed with. */
    tokens?: { realm: string; service: string; issuer: string; certificate: string };
  } = {},
): Promise<TestRegistry> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-registry-'));
  const port = options.port ?? (await freePort('localhost'));
  const host = `localhost:${port}`;
  await writeFile(path.join(folder, 'htpasswd'), htpasswdLine);
  const { tls, tokens } = options;
  const files = {
    certificate: tls?.certificate,
    key: tls?.key,
    clientca: tls?.clients?.ca,
    signer: tokens?.certificate,
  };
  for (const [name, pem] of Object.entries(files)) {
    if (pem !== undefined) await writeFile(path.join(folder, `${name}.pem`), pem);
  }
  const config = {
    version: '0.1',
    log: { level: 'error' },
    storage: {
      filesystem: { rootdirectory: options.data ?? path.join(folder, 'data') },
      delete: { enabled: true },
    },
    http: {
      addr: host,
      secret: 'only-for-tests',
      ...(tls === undefined
        ? {}
        : {
            tls: {
              certificate: path.join(folder, 'certificate.pem'),
              key: path.join(folder, 'key.pem'),
              ...(tls.clients ? { clientcas: [path.join(folder, 'clientca.pem')] } : {}),
            },
          }),
    },
    ...(tokens === undefined
      ? {}
      : {
          auth: {
            token: {
              realm: tokens.realm,
              service: tokens.service,
              issuer: tokens.issuer,
              rootcertbundle: path.join(folder, 'signer.pem'),
            },
          },
        }),
    ...(options.cacheOf === undefined ? {} : { proxy: { remoteurl: options.cacheOf } }),
    ...(options.htpasswd
      ? { auth: { htpasswd: { realm: 'tests', path: path.join(folder, 'htpasswd') } } }
      : {}),
  };
  // JSON is YAML.
  const file = path.join(folder, 'config.yml');
  await writeFile(file, JSON.stringify(config));
  const child = spawn('docker-registry', ['serve', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  await once(child, 'spawn');
  let output = '';
  let complaints = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints = (complaints + text).slice(-4000);
  });

  const authorization: Record<string, string> = options.htpasswd
    ? {
        authorization: `Basic ${Buffer.from(`${registryUser.username}:${registryUser.password}`).toString('base64')}`,
      }
    : {};
  const origin = `${tls === undefined ? 'http' : 'https'}://${host}`;
  const dispatcher = new Agent({
    ...(tls === undefined
      ? {}
      : { connect: { ca: tls.ca, cert: tls.clients?.certificate, key: tls.clients?.key } }),
  });
  const call = async (method: string, url: string, body?: Uint8Array, type?: string) => {
    const answer = await fetch(new URL(url, origin), {
      method,
      dispatcher,
      headers: { ...authorization, ...(type === undefined ? {} : { 'content-type': type }) },
      ...(body === undefined ? {} : { body: Uint8Array.from(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${text}`);
    return answer;
  };

  const registry: TestRegistry = {
    host,
    pid: child.pid ?? 0,
    async accessLog() {
      // A line follows its answer.
      for (let before = -1; before !== output.length; ) {
        before = output.length;
        await sleep(50);
      }
      return output.split('\n').flatMap(parseAccess);
    },
    async putBlob(repository, bytes, mediaType = layerType, algorithm = 'sha256') {
      const digest = digestOf(bytes, algorithm);
      const begun = await call('POST', `/v2/${repository}/blobs/uploads/`);
      const place = new URL(begun.headers.get('location') ?? '', origin);
      place.searchParams.set('digest', digest);
      await call('PUT', place.href, bytes, 'application/octet-stream');
      return { mediaType, digest, size: bytes.length };
    },
    async putManifest(repository, reference, document, mediaType = mediaTypes.ociManifest) {
      const bytes =
        document instanceof Uint8Array ? document : Buffer.from(JSON.stringify(document));
      await call('PUT', `/v2/${repository}/manifests/${reference}`, bytes, mediaType);
      return { mediaType, digest: digestOf(bytes), size: bytes.length };
    },
    async push(repository, tag, image) {
      const layers: Descriptor[] = [];
      for (const layer of image.layers) {
        const { bytes, mediaType } =
          layer instanceof Uint8Array ? { bytes: layer, mediaType: layerType } : layer;
        layers.push(await registry.putBlob(repository, bytes, mediaType));
      }
      const config = await registry.putBlob(
        repository,
        Buffer.from(
          JSON.stringify(
            image.config ?? {
              os: 'linux',
              architecture: 'amd64',
              rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
            },
          ),
        ),
        mediaTypes.ociConfig,
      );
      const mediaType = mediaTypes.ociManifest;
      const manifest = await registry.putManifest(repository, tag, {
        ...{ schemaVersion: 2, mediaType, config, layers },
      });
      return { manifest, config, layers };
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }
      await dispatcher.destroy();
      await rm(folder, { recursive: true, force: true });
    },
    async [Symbol.asyncDispose]() {
      await registry.stop();
    },
  };

  for (let tries = 0; ; tries++) {
    const up = await fetch(`${origin}/v2/`, { dispatcher }).catch(() => undefined);
    await up?.body?.cancel();
    if (up !== undefined) return registry;
    if (tries === 1200 || child.exitCode !== null) {
      await registry.stop();
      throw new Error(`docker-registry does not start: ${complaints}`);
    }
    await sleep(50);
  }
}

/** A line of an access log; what is none is nothing. */
export function parseAccess(line: string): AccessLogEntry[] {
  const match = /"([A-Z]+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+)/.exec(line);
  if (match === null) return [];
  const [, method = '', target = '', status, bytes] = match;
  return [{ method, path: target, status: Number(status), bytes: Number(bytes) }];
}
