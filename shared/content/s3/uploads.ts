import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { DrayError } from '../../errors.ts';
import type { CallOptions } from '../store.ts';
import { type Conditions, copySource, send } from './conditions.ts';
import { s3Error, s3Failure } from './errors.ts';

export interface Upload {
  key: string;
  uploadId: string;
}

/** The multipart uploads of one bucket. */
export class MultipartUploads {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #place: string;
  readonly #conditions: Conditions;

  constructor(options: {
    client: S3Client;
    bucket: string;
    place: string;
    conditions: Conditions;
  }) {
    this.#client = options.client;
    this.#bucket = options.bucket;
    this.#place = options.place;
    this.#conditions = options.conditions;
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
    target: Upload & { number: number },
    source: { key: string; etag: string },
    { signal }: CallOptions,
  ): Promise<string> {
    const answer = await this.#call(source.key, signal, () =>
      this.#client.send(
        new UploadPartCopyCommand({
          Bucket: this.#bucket,
          Key: target.key,
          UploadId: target.uploadId,
          PartNumber: target.number,
          CopySource: copySource(this.#bucket, source.key),
          CopySourceIfMatch: source.etag,
        }),
        send(signal),
      ),
    );
    const etag = answer.CopyPartResult?.ETag;
    if (etag !== undefined) return etag;
    throw new DrayError('STORE_UNAVAILABLE', `${this.#place} did not copy a part`, {
      retryable: true,
      context: { key: source.key },
    });
  }

  /**
   * Publishes a multipart upload, where the server can tell only when there is no object yet. An error that comes
   * inside a 200 is thrown like any other.
   * @returns false when there was one
   */
  async complete(
    target: Upload,
    etags: string[],
    { signal, ifAbsent }: CallOptions & { ifAbsent: boolean },
  ): Promise<boolean> {
    const complete = async (condition: { IfNoneMatch?: string }) =>
      await this.#client.send(
        new CompleteMultipartUploadCommand({
          Bucket: this.#bucket,
          Key: target.key,
          UploadId: target.uploadId,
          MultipartUpload: { Parts: etags.map((ETag, i) => ({ ETag, PartNumber: i + 1 })) },
          ...condition,
        }),
        send(signal),
      );
    try {
      const answer = ifAbsent
        ? await this.#conditions.ask('complete', { IfNoneMatch: '*' }, complete)
        : await complete({});
      if (answer.ETag !== undefined) return true;
    } catch (error) {
      if (ifAbsent && s3Failure(error).status === 412) return false;
      throw s3Error(error, this.#place, { key: target.key, signal });
    }
    throw new DrayError('STORE_UNAVAILABLE', `${this.#place} did not complete an upload`, {
      retryable: true,
      context: { key: target.key },
    });
  }

  async abort(target: Upload, { signal }: CallOptions): Promise<void> {
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
      throw s3Error(error, this.#place, { key: target.key, signal });
    }
  }

  /** Multipart uploads that were begun and neither completed nor aborted. */
  async *list(prefix: string, { signal }: CallOptions): AsyncIterable<Upload & { begunAt: Date }> {
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
      throw s3Error(error, this.#place, { key, signal });
    }
  }
}
