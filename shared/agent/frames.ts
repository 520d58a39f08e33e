import { DrayError } from '../errors.ts';
import type { OutputChunk } from './containers.ts';

/**
 * The framing of streams over HTTP, both ways: one byte for the kind, the length in four bytes, big end first,
 * then the bytes. Length 0 keeps the connection alive and says nothing.
 */
const headerBytes = 5;
/** The largest piece in one frame. */
const maxFrameBytes = 1024 * 1024;

const kinds = ['stdout', 'stderr', 'stdin', 'control'] as const;

/** A piece of a stream, or a message in JSON beside the streams. */
export interface Frame {
  kind: (typeof kinds)[number];
  bytes: Uint8Array;
}

/** Says nothing. With it the headers leave. */
export const emptyFrame = encodeOne('control', Buffer.alloc(0));

/** A stream's bytes as frames. */
export function* encodeFrames(kind: Frame['kind'], bytes: Uint8Array): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += maxFrameBytes) {
    yield encodeOne(kind, bytes.subarray(at, at + maxFrameBytes));
  }
}

/** A message beside the streams. @param message less than {@link maxFrameBytes} as JSON */
export function encodeControl(message: object): Buffer {
  return encodeOne('control', Buffer.from(JSON.stringify(message)));
}

function encodeOne(kind: Frame['kind'], bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + bytes.length);
  frame.writeUInt8(kinds.indexOf(kind) + 1, 0);
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, headerBytes);
  return frame;
}

/** Takes frames apart, however the bytes were cut on the way. @throws AGENT_UNAVAILABLE when they end inside a frame */
export async function* decodeFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    while (rest.length >= headerBytes) {
      const length = rest.readUInt32BE(1);
      const kind = kinds[rest.readUInt8(0) - 1];
      if (length > maxFrameBytes || kind === undefined) {
        throw new DrayError(
          'AGENT_UNAVAILABLE',
          'The other side sent a stream in an unknown form',
          {
            hint: 'Run the same version of dray and of the agent.',
          },
        );
      }
      if (rest.length < headerBytes + length) break;
      const bytes = rest.subarray(headerBytes, headerBytes + length);
      rest = rest.subarray(headerBytes + length);
      if (length > 0) yield { kind, bytes };
    }
  }
  if (rest.length > 0) {
    throw new DrayError('AGENT_UNAVAILABLE', 'The connection ended in the middle of a stream', {
      retryable: true,
    });
  }
}

/** The output among frames. */
export async function* outputOf(frames: AsyncIterable<Frame>): AsyncGenerator<OutputChunk> {
  for await (const { kind, bytes } of frames) {
    if (kind === 'stdout' || kind === 'stderr') yield { stream: kind, bytes };
  }
}
