import { DrayError } from '../errors.ts';
import type { OutputChunk } from './containers.ts';

/**
 * The framing of a container's output over HTTP: one byte for the stream (1 stdout, 2 stderr), the length
 * in four bytes, big end first, then the bytes. Length 0 keeps the connection alive and says nothing.
 */
const headerBytes = 5;
/** The largest piece in one frame. */
export const maxFrameBytes = 1024 * 1024;

/** One frame. @param chunk with at most {@link maxFrameBytes} */
export function encodeFrame({ stream, bytes }: OutputChunk): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + bytes.length);
  frame.writeUInt8(stream === 'stdout' ? 1 : 2, 0);
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, headerBytes);
  return frame;
}

/** Takes frames apart, however the bytes were cut on the way. @throws AGENT_UNAVAILABLE when they end inside a frame */
export async function* decodeFrames(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<OutputChunk> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    while (rest.length >= headerBytes) {
      const length = rest.readUInt32BE(1);
      const kind = rest.readUInt8(0);
      if (length > maxFrameBytes || (kind !== 1 && kind !== 2)) {
        throw new DrayError('AGENT_UNAVAILABLE', 'The agent sent output in an unknown form', {
          hint: 'Run the same version of dray and of the agent.',
        });
      }
      if (rest.length < headerBytes + length) break;
      const bytes = rest.subarray(headerBytes, headerBytes + length);
      rest = rest.subarray(headerBytes + length);
      if (length > 0) yield { stream: kind === 1 ? 'stdout' : 'stderr', bytes };
    }
  }
  if (rest.length > 0) {
    throw new DrayError('AGENT_UNAVAILABLE', 'The agent ended in the middle of the output', {
      retryable: true,
    });
  }
}
