import type { RequestListener } from 'node:http';
import { mediaTypes } from '../../shared/image/descriptor.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { hostPlatform } from '../../shared/image/platform.ts';
import { type HostileRegistry, startHostileRegistry } from './hostile-registry.ts';

/** A registry of one repository, `image`, which allows so many requests in any second and refuses those beyond. */
export interface LimitedRegistry extends AsyncDisposable {
  registry: HostileRegistry;
  /** References of different manifests; their config and layer are the same. */
  references: string[];
  /** When each request came, in milliseconds, and whether it was refused. */
  asked: { at: number; refused: boolean; path: string }[];
  /** Requests of the second that had most. */
  most: () => number;
}

export async function startLimitedRegistry(options: {
  tags: number;
  perSecond: number;
  /** Milliseconds: it counts in windows of this length, each of which begins anew, and not in any second. */
  windowMs?: number;
  /** Of a refusal; default: Retry-After of a second. */
  refusal?: Record<string, string>;
  /** Headers of each answer that say how many more are allowed now. */
  quota?: (left: number, resetMs: number) => Record<string, string>;
  layer?: Buffer;
}): Promise<LimitedRegistry> {
  const {
    perSecond,
    windowMs,
    refusal = { 'retry-after': '1' },
    layer = Buffer.from('layer'),
  } = options;
  const { quota = () => ({}) } = options;
  const registry = await startHostileRegistry();
  const asked: LimitedRegistry['asked'] = [];
  const begun = performance.now();
  const limited = (answer: RequestListener): RequestListener => {
    return (request, response) => {
      const at = performance.now();
      const past = windowMs === undefined ? 1_000 : (at - begun) % windowMs;
      const before = asked.filter((other) => other.at > at - past).length;
      const refused = before >= perSecond;
      asked.push({ at, refused, path: request.url ?? '' });
      const said = Object.entries<string>(
        quota(Math.max(0, perSecond - before - 1), (windowMs ?? 2_000) - past),
      );
      for (const [name, value] of said) response.setHeader(name, value);
      if (!refused) return answer(request, response);
      response.writeHead(429, { 'content-type': 'application/json', ...refusal });
      response.end('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}');
    };
  };
  const serve = (path: string, bytes: Buffer, type: string) => {
    const headers = { 'content-type': type, 'content-length': bytes.length };
    registry.on(
      `/v2/image/${path}`,
      limited((_request, response) => void response.writeHead(200, headers).end(bytes)),
    );
  };
  const layers = [{ mediaType: layerType, digest: digestOf(layer), size: layer.length }];
  const config = Buffer.from(
    JSON.stringify({
      ...hostPlatform(),
      rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
    }),
  );
  serve(`blobs/${digestOf(config)}`, config, 'application/octet-stream');
  serve(`blobs/${digestOf(layer)}`, layer, 'application/octet-stream');
  const references: string[] = [];
  for (let tag = 0; tag < options.tags; tag++) {
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length },
        layers,
        annotations: { tag: String(tag) },
      }),
    );
    for (const name of [`t${tag}`, digestOf(manifest)]) {
      serve(`manifests/${name}`, manifest, mediaTypes.ociManifest);
    }
    references.push(`${registry.host}/image:t${tag}`);
  }
  return {
    registry,
    references,
    asked,
    most: () =>
      Math.max(
        0,
        ...asked.map(
          ({ at }) => asked.filter((other) => other.at >= at && other.at < at + 1_000).length,
        ),
      ),
    [Symbol.asyncDispose]: () => registry.stop(),
  };
}

const layerType = 'application/vnd.oci.image.layer.v1.tar';
