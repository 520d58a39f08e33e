import { addAbortSignal, type Readable } from 'node:stream';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { DrayError } from '../../errors.ts';
import type { CallOptions } from '../store.ts';
import { Conditions, copySource, send } from './conditions.ts';
import { s3Error, s3Failure } from './errors.ts';
import { MultipartUploads } from './uploads.ts';

export interface BucketPlace {
  bucket: string;
  /** Default: AWS. */
  endpoint?: string;
  region?: string;
  /** The bucket in the path, not in the host's name: most servers other than AWS want it. */
  forcePathStyle?: boolean;
}

export interface StoredObject {
  key: string;
  /** Bytes. */
  size: number;
  etag: string;
  modifiedAt: Date;
}

/** Milliseconds. */
const connectTimeout = 5_000;
const silenceTimeout = 30_000;

/** One bucket, and what a content store asks of it. Errors are DrayErrors that name the endpoint and the bucket. */
export class Bucket {
  /** For messages: which bucket, and where. */
  readonly place: string;
  readonly endpoint: string;
  readonly uploads: MultipartUploads;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #conditions = new Conditions();

  constructor({ bucket, endpoint, region, forcePathStyle }: BucketPlace) {
    this.#bucket = bucket;
    this.endpoint = endpoint === undefined ? 'AWS' : withoutUser(endpoint);
    this.place = `bucket ${bucket} at ${this.endpoint}`;
    // Servers other than AWS do not care which region signs, but the SDK wants one.
    const signing = region ?? (endpoint === undefined ? undefined : 'us-east-1');
    this.#client = new S3Client({
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(signing === undefined ? {} : { region: signing }),
      ...(forcePathStyle === undefined ? {} : { forcePathStyle }),
      // Otherwise servers other than AWS answer 411 or ignore them; digests are verified by us.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: connectTimeout,
        socketTimeout: silenceTimeout,
        httpAgent: { keepAlive: true, maxSockets: 128 },
        httpsAgent: { keepAlive: true, maxSockets: 128 },
      },
    });
    this.uploads = new MultipartUploads({
      ...{ client: this.#client, bucket, place: this.place, conditions: this.#conditions },
    });
  }

  close(): void {
    this.#client.destroy();
  }

  /** @throws STORE_UNAVAILABLE when there is no such bucket, UNAUTHORIZED, DENIED */
  async check({ signal }: CallOptions): Promise<void> {
    try {
      await this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket }), send(signal));
    } catch (error) {
      const missing = s3Failure(error).status === 404 && !signal?.aborted;
      if (missing && error instanceof Error) error.name = 'NoSuchBucket';
      throw s3Error(error, this.place, { signal });
    }
  }

  async head(key: string, { signal }: CallOptions): Promise<StoredObject | undefined> {
    try {
      const found = await this.#client.send(
        new HeadObjectCommand({ Bucket: this.#bucket, Key: key }),
        send(signal),
      );
      return {
        key,
        size: found.ContentLength ?? 0,
        etag: found.ETag ?? '',
        modifiedAt: found.LastModified ?? new Date(0),
      };
    } catch (error) {
      const told = s3Error(error, this.place, { key, signal });
      if (told instanceof DrayError && told.code === 'NOT_FOUND') return undefined;
      throw told;
    }
  }

  /**
   * The bytes from `start` up to `end`, and the size of the whole object. With `etag` only if it is still that.
   * @throws NOT_FOUND
   */
  async get(
    key: string,
    options: CallOptions & { start: number; end: number; etag?: string },
  ): Promise<{ body: Readable; size: number } | 'past-the-end'> {
    const { signal, start, end, etag } = options;
    try {
      const answer = await this.#client.send(
        new GetObjectCommand({
          Bucket: this.#bucket,
          Key: key,
          Range: `bytes=${start}-${end - 1}`,
          ...(etag === undefined ? {} : { IfMatch: etag }),
        }),
        send(signal),
      );
      const body = answer.Body as Readable;
      if (signal !== undefined) addAbortSignal(signal, body);
      const total = /\/(\d+)$/.exec(answer.ContentRange ?? '')?.[1];
      const size = Number(total ?? answer.ContentLength ?? 0);
      // Some answer with the whole object where the range is the whole.
      if (total === undefined && (start > 0 || size > end)) {
        body.on('error', () => {}).destroy();
        throw new DrayError('STORE_UNAVAILABLE', `${this.place} ignores ranges`, {
          hint: 'Use an S3 server that supports Range requests.',
        });
      }
      return { body, size };
    } catch (error) {
      if (s3Failure(error).status === 416) return 'past-the-end';
      throw s3Error(error, this.place, { key, signal });
    }
  }

  /**
   * Puts an object at once; with `ifAbsent` only when there is none, with `ifStill` only in the place of the one with
   * that ETag.
   * @returns its ETag, or undefined when the condition did not hold
   */
  async put(
    key: string,
    bytes: Uint8Array | string,
    options: CallOptions & { ifAbsent?: boolean; ifStill?: string },
  ): Promise<string | undefined> {
    const { signal, ifAbsent = false, ifStill } = options;
    // Without quotes: Ceph compares it with its own, which has none; others take both.
    const etag = ifStill?.replaceAll('"', '');
    const put = async (condition: { IfNoneMatch?: string; IfMatch?: string }) =>
      await this.#client.send(
        // The SDK signs the body's sha256: a server does not store other bytes than were sent.
        new PutObjectCommand({ Bucket: this.#bucket, Key: key, Body: bytes, ...condition }),
        send(signal),
      );
    try {
      const answer = ifAbsent
        ? await this.#conditions.ask('put', { IfNoneMatch: '*' }, put)
        : etag !== undefined
          ? await this.#conditions.ask('replace', { IfMatch: etag }, put)
          : await put({});
      return answer.ETag ?? '';
    } catch (error) {
      const { name, status } = s3Failure(error);
      if (ifAbsent && status === 412) return undefined;
      // 404: removed meanwhile; 409: somebody else writes it at this moment.
      const isOther = status === 412 || status === 409 || (status === 404 && name === 'NoSuchKey');
      if (etag !== undefined && isOther) return undefined;
      throw s3Error(error, this.place, { key, signal });
    }
  }

  /** Copies an object, of 5 GiB at most, if it still has the ETag. @throws NOT_FOUND */
  async copy(source: { key: string; etag: string }, key: string, options: CallOptions) {
    const { signal } = options;
    await this.#call(key, signal, () =>
      this.#client.send(
        new CopyObjectCommand({
          Bucket: this.#bucket,
          Key: key,
          CopySource: copySource(this.#bucket, source.key),
          CopySourceIfMatch: source.etag,
        }),
        send(signal),
      ),
    );
  }

  /** What is not there is success. With `etag` only that object, where the server can tell. */
  async remove(key: string, { signal, etag }: CallOptions & { etag?: string }): Promise<void> {
    const remove = async (condition: { IfMatch?: string }) =>
      await this.#client.send(
        new DeleteObjectCommand({ Bucket: this.#bucket, Key: key, ...condition }),
        send(signal),
      );
    try {
      if (etag === undefined) await remove({});
      else await this.#conditions.ask('remove', { IfMatch: etag }, remove);
    } catch (error) {
      const { status } = s3Failure(error);
      if (status === 404 || (etag !== undefined && status === 412)) return;
      throw s3Error(error, this.place, { key, signal });
    }
  }

  async *list(prefix: string, { signal }: CallOptions): AsyncIterable<StoredObject> {
    let token: string | undefined;
    do {
      const page = await this.#call(prefix, signal, () =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: prefix,
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
          send(signal),
        ),
      );
      for (const { Key, Size, ETag, LastModified } of page.Contents ?? []) {
        if (Key === undefined) continue;
        yield {
          key: Key,
          size: Size ?? 0,
          etag: ETag ?? '',
          modifiedAt: LastModified ?? new Date(0),
        };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async #call<T>(key: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw s3Error(error, this.place, { key, signal });
    }
  }
}

/** An endpoint as it may be shown: whoever put a password in it did not mean it to be. */
function withoutUser(endpoint: string): string {
  return endpoint.replace(/\/\/[^/@]*@/, '//');
}
