import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { type Answer, decodedBody, encodingOf, lengthOf, protocolError } from './answer.ts';
import type { Pace } from './exchange-budget.ts';
import { flow, type Take } from './flow.ts';
import { headerOf } from './header.ts';
import { networkError } from './network-error.ts';

/** A blob on its way. */
export interface BlobBody {
  /** Where the bytes begin: 0 when the registry did not go along with a range. */
  offset: number;
  /** Whether it is a range, as it was asked for, and not the whole blob. */
  ranged: boolean;
  /** Who sends it. */
  url: URL;
  /**
   * Gives all bytes to `take`, once. They may end early, or never: whoever takes them counts.
   * @throws what `take` threw; REGISTRY_UNAVAILABLE, REGISTRY_PROTOCOL, and the signal's reason
   */
  read(take: Take): Promise<void>;
  /** Breaks off what was not read. */
  [Symbol.dispose](): void;
}

/** Whether a range that was asked for can't be had: not satisfiable, or of a form that was encoded. */
export function restartNeeded(answer: Answer): boolean {
  return answer.status === 416 || (answer.status === 206 && encodingOf(answer) !== undefined);
}

/** The bytes of a blob that are asked for. */
export interface Asked {
  offset: number;
  /** Default: up to the last one. */
  end?: number | undefined;
}

/** The Range header that asks for them (RFC 9110, section 14.2); none for the whole blob. */
export function rangeHeader({ offset, end }: Asked): { range?: string } {
  if (offset === 0 && end === undefined) return {};
  return { range: `bytes=${offset}-${end === undefined ? '' : end - 1}` };
}

/**
 * Checks what the headers say of a blob, and gives its body.
 * @param options.pace says of so many bytes whether they are to be waited for, and how long
 * @throws REGISTRY_PROTOCOL, SIZE_MISMATCH
 */
export function toBlobBody(
  answer: Answer,
  descriptor: Descriptor,
  asked: Asked,
  options: { pace: Pace; signal: AbortSignal | undefined },
): BlobBody {
  try {
    const ranged = answer.status === 206;
    const offset = ranged ? asked.offset : 0;
    const expected = ranged ? rangeLength(answer, descriptor, asked) : descriptor.size;
    const announced = lengthOf(answer);
    if (answer.status === 416) throw protocolError(answer, 'without a range asked for');
    if (announced !== undefined && announced !== expected && encodingOf(answer) === undefined) {
      throw new DrayError(
        'SIZE_MISMATCH',
        `${answer.url.host} announces ${announced} bytes of ${descriptor.digest} where ${expected} are expected`,
        {
          retryable: true,
          context: { host: answer.url.host, digest: descriptor.digest },
          hint: 'The image or the registry is broken. Push the image again.',
        },
      );
    }
    return bodyOf(answer, descriptor, { offset, ranged, ...options });
  } catch (error) {
    answer.body.on('error', () => {}).destroy();
    throw error;
  }
}

function bodyOf(
  answer: Answer,
  { digest }: Descriptor,
  options: { offset: number; ranged: boolean; pace: Pace; signal: AbortSignal | undefined },
): BlobBody {
  const { offset, ranged, pace, signal } = options;
  const { url } = answer;
  const body = decodedBody(answer);
  let position = offset;
  return {
    ...{ offset, ranged, url },
    read: async (take) => {
      const failed = (error: unknown) =>
        networkError(error, `GET of ${digest}, at byte ${position}`, url, signal);
      const takeInTime: Take = (chunk) => {
        position += chunk.length;
        const waiting = pace(chunk.length);
        if (waiting === undefined) return take(chunk);
        return waiting.then(
          () => take(chunk),
          (error: unknown) => Promise.reject(failed(error)),
        );
      };
      // Not past a decoder.
      const straight = body === answer.body ? answer.straight : undefined;
      await flow(body, takeInTime, { failed, straight });
    },
    [Symbol.dispose]: () => {
      body.on('error', () => {}).destroy();
    },
  };
}

/** The bytes that a 206 holds, which begin where they shall (RFC 9110, section 14.4). */
function rangeLength(answer: Answer, descriptor: Descriptor, asked: Asked): number {
  const { offset, end = descriptor.size } = asked;
  const text = headerOf(answer.headers, 'content-range') ?? '';
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(text.trim());
  const [first, last, whole] = [Number(match?.[1]), Number(match?.[2]), match?.[3]];
  const fits =
    match !== null &&
    rangeHeader(asked).range !== undefined &&
    first === offset &&
    last >= first &&
    last < end &&
    (whole === '*' || Number(whole) === descriptor.size);
  if (fits) return last - first + 1;
  throw protocolError(
    answer,
    `with the Content-Range "${text.slice(0, 100)}" where bytes from ${offset} of ${descriptor.size} were asked for`,
  );
}
