import { z } from 'zod';
import { DrayError } from '../errors.ts';
import { mediaTypes } from './descriptor.ts';
import { type DiffID, isDigest } from './digest.ts';
import { checkDocument, parseDocument } from './document.ts';
import type { Manifest } from './manifest.ts';

/** The largest image configuration that is read. */
export const maxConfigBytes = 16 * 1024 * 1024;

const stringList = z.array(z.string()).nullish();
const configSchema = z.object({
  os: z.string().min(1),
  architecture: z.string().min(1),
  variant: z.string().optional(),
  'os.version': z.string().optional(),
  created: z.string().nullish(),
  config: z
    .object({
      User: z.string().nullish(),
      ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
      Env: stringList,
      Entrypoint: stringList,
      Cmd: stringList,
      Volumes: z.record(z.string(), z.unknown()).nullish(),
      WorkingDir: z.string().nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
      StopSignal: z.string().nullish(),
      /** Of Docker images; times in nanoseconds. */
      Healthcheck: z
        .object({
          Test: stringList,
          Interval: z.number().nullish(),
          Timeout: z.number().nullish(),
          StartPeriod: z.number().nullish(),
          Retries: z.number().nullish(),
        })
        .nullish(),
      ArgsEscaped: z.boolean().nullish(),
    })
    .nullish(),
  rootfs: z.object({
    type: z.literal('layers'),
    diff_ids: z.array(
      z.custom<DiffID>((v) => typeof v === 'string' && isDigest(v), 'not a digest'),
    ),
  }),
});

/** The image's JSON (image-spec, config.md). */
export type ImageConfig = z.infer<typeof configSchema>;

/** Whether a config descriptor is an image's. Anything else is an artifact: fetched, never unpacked. */
export function isImageConfigType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociConfig || mediaType === mediaTypes.dockerConfig;
}

/**
 * Parses an image configuration and checks it against its manifest: one diffID for each layer.
 * @throws CONFIG_INVALID
 */
export function parseImageConfig(
  bytes: Uint8Array,
  manifest: Manifest,
  source: string,
): ImageConfig {
  const invalid = (what: string, cause?: unknown) =>
    new DrayError('CONFIG_INVALID', what, {
      ...(cause === undefined ? {} : { cause }),
      hint: 'The image is broken. Build and push it again.',
    });
  if (bytes.length > maxConfigBytes) {
    throw invalid(
      `The configuration of ${source} has ${bytes.length} bytes, more than ${maxConfigBytes}`,
    );
  }
  const notValid = (why: string, cause?: unknown) =>
    invalid(`The configuration of ${source} is not valid: ${why}`, cause);
  const config = checkDocument(configSchema, parseDocument(bytes, notValid), notValid);
  const { diff_ids } = config.rootfs;
  if (diff_ids.length !== manifest.layers.length) {
    throw invalid(
      `${source} has ${manifest.layers.length} layers, but its configuration has ${diff_ids.length} diffIDs`,
    );
  }
  return config;
}
