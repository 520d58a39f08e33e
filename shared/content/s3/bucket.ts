import { addAbortSignal, type Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { DrayError } from '../../errors.ts';
import type { CallOptions } from '../store.ts';
import { s3Error, s3Failure } from './errors.ts';

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
  readonly #client: S3Client;
  readonly #bucket: string;

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
    options: CallOptions & { start?: number; end?: number; etag?: string },
  ): Promise<{ body: Readable; size: number } | 'past-the-end'> {
    const { signal, start = 0, end, etag } = options;
    const whole = start === 0 && end === undefined;
    try {
      const answer = await this.#client.send(
        new GetObjectCommand({
          Bucket: this.#bucket,
          Key: key,
          ...(whole ? {} : { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` }),
          ...(etag === undefined ? {} : { IfMatch: etag }),
        }),
        send(signal),
      );
      const body = answer.Body as Readable;
      if (signal !== undefined) addAbortSignal(signal, body);
      const total = /\/(\d+)$/.exec(answer.ContentRange ?? '')?.[1];
      if (total === undefined && start > 0) {
        body.on('error', () => {}).destroy();
        throw new DrayError('STORE_UNAVAILABLE', `${this.place} ignores ranges`, {
          hint: 'Use an S3 server that supports Range requests.',
        });
      }
      return { body, size: total === undefined ? (answer.ContentLength ?? 0) : Number(total) };
    } catch (error) {
      if (s3Failure(error).status === 416) return 'past-the-end';
      throw s3Error(error, this.place, { key, signal });
    }
  }

  /** Puts an object at once; with `ifAbsent` only when there is none. @returns its ETag, or undefined when there was one */
  async put(
    key: string,
    bytes: Uint8Array | string,
    options: CallOptions & { ifAbsent?: boolean },
  ): Promise<string | undefined> {
    const { signal, ifAbsent = false } = options;
    try {
      const answer = await this.#client.send(
        new PutObjectCommand({
          Bucket: this.#bucket,
          Key: key,
          Body: bytes,
          ...(ifAbsent ? { IfNoneMatch: '*' } : {}),
        }),
        send(signal),
      );
      return answer.ETag ?? '';
    } catch (error) {
      const { name, status } = s3Failure(error);
      if (ifAbsent && status === 412) return undefined;
      // The bytes are those of the digest, whoever puts them: without conditions the last writer changes nothing.
      if (ifAbsent && (status === 501 || name === 'NotImplemented')) {
        return await this.put(key, bytes, { ...options, ifAbsent: false });
      }
      throw s3Error(error, this.place, { key, signal });
    }
  }

  /** What is not there is success. */
  async remove(key: string, { signal }: CallOptions): Promise<void> {
    try {
      await this.#client.send(
        new DeleteObjectCommand({ Bucket: this.#bucket, Key: key }),
        send(signal),
      );
    } catch (error) {
      if (s3Failure(error).status === 404) return;
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

  /** Begins a multipart upload. @returns its id */
  async begin(key: string, { signal }: CallOptions): Promise<string> {
    const answer = await this.#call(key, signal, () =>
      this.#client.send(
        new CreateMultipartUploadCommand({ Bucket: this.#bucket, Key: key }),
        send(signal),
      ),
    );
    return answer.UploadId ?? '';
  }

  /** Makes an object a part of a multipart upload, if it still has the ETag. @returns the part's ETag */
  async copyPart(
    target: { key: string; uploadId: string; number: number },
    source: { key: string; etag: string },
    { signal }: CallOptions,
  ): Promise<string> {
    const path = [this.#bucket, ...source.key.split('/')].map(encodeURIComponent).join('/');
    const answer = await this.#call(source.key, signal, () =>
      this.#client.send(
        new UploadPartCopyCommand({
          Bucket: this.#bucket,
          Key: target.key,
          UploadId: target.uploadId,
          PartNumber: target.number,
          CopySource: path,
          CopySourceIfMatch: source.etag,
        }),
        send(signal),
      ),
    );
    const etag = answer.CopyPartResult?.ETag;
    if (etag !== undefined) return etag;
    throw new DrayError('STORE_UNAVAILABLE', `${this.place} did not copy a part`, {
      retryable: true,
      context: { key: source.key },
    });
  }

  /** Publishes a multipart upload. An error that comes inside a 200 is thrown like any other. */
  async complete(
    target: { key: string; uploadId: string },
    etags: string[],
    { signal }: CallOptions,
  ): Promise<void> {
    const answer = await this.#call(target.key, signal, () =>
      this.#client.send(
        new CompleteMultipartUploadCommand({
          Bucket: this.#bucket,
          Key: target.key,
          UploadId: target.uploadId,
          MultipartUpload: { Parts: etags.map((ETag, i) => ({ ETag, PartNumber: i + 1 })) },
        }),
        send(signal),
      ),
    );
    if (answer.ETag === undefined) {
      throw new DrayError('STORE_UNAVAILABLE', `${this.place} did not complete an upload`, {
        retryable: true,
        context: { key: target.key },
      });
    }
  }

  async abort(target: { key: string; uploadId: string }, { signal }: CallOptions): Promise<void> {
    try {
      await this.#client.send(
        new AbortMultipartUploadCommand({
          Bucket: this.#bucket,
          Key: target.key,
          UploadId: target.uploadId,
        }),
        send(signal),
      );
    } catch (error) {
      if (s3Failure(error).status === 404) return;
      throw s3Error(error, this.place, { key: target.key, signal });
    }
  }

  /** Multipart uploads that were begun and neither completed nor aborted. */
  async *uploads(
    prefix: string,
    { signal }: CallOptions,
  ): AsyncIterable<{ key: string; uploadId: string; begunAt: Date }> {
    let marker: { KeyMarker: string; UploadIdMarker: string } | undefined;
    do {
      const page = await this.#call(prefix, signal, () =>
        this.#client.send(
          new ListMultipartUploadsCommand({ Bucket: this.#bucket, Prefix: prefix, ...marker }),
          send(signal),
        ),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key === undefined || UploadId === undefined) continue;
        yield { key: Key, uploadId: UploadId, begunAt: Initiated ?? new Date() };
      }
      marker = page.IsTruncated
        ? { KeyMarker: page.NextKeyMarker ?? '', UploadIdMarker: page.NextUploadIdMarker ?? '' }
        : undefined;
    } while (marker !== undefined);
  }

  async #call<T>(key: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw s3Error(error, this.place, { key, signal });
    }
  }
}

function send(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  signal?.throwIfAborted();
  return signal === undefined ? {} : { abortSignal: signal };
}

/** An endpoint as it may be shown: whoever put a password in it did not mean it to be. */
function withoutUser(endpoint: string): string {
  return endpoint.replace(/\/\/[^/@]*@/, '//');
}
