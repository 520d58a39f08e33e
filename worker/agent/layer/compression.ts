import { DrayError, messageOf } from '../../../shared/errors.ts';
import type { Decoder } from '../linux/decoder.ts';
import { IsalDecoder } from '../linux/isal.ts';
import { ZlibDecoder } from '../linux/libz.ts';
import { ZstdDecoder } from '../linux/libzstd.ts';
import { invalid } from './limits.ts';

/** The bytes by which {@link detectCompression} decides. */
export const magicSize = 6;

export type Compression = 'gzip' | 'zstd' | 'none';

/**
 * How a layer is compressed, by its first bytes: the media type may say anything (hostile or merely wrong).
 * @throws LAYER_INVALID for an empty layer and for compressions that are not supported
 */
export function detectCompression(start: Uint8Array): Compression {
  const bytes = Buffer.from(start).toString('hex');
  if (bytes === '') throw invalid('The layer has no bytes');
  if (bytes.startsWith('1f8b08')) return 'gzip';
  // A frame, or a skippable frame (RFC 8878, 3.1).
  if (/^(28b52ffd|5.2a4d18)/.test(bytes)) return 'zstd';
  // "BZh", a digit, and the start of a block: an archive's first name may begin with the three letters.
  if (/^425a683[1-9]3141/.test(bytes)) throw unsupported('bzip2');
  if (bytes.startsWith('fd377a585a00')) throw unsupported('xz');
  return 'none';
}

/** The fastest decoder of the machine. @throws TOOL_MISSING */
export function openDecoder(compression: 'gzip' | 'zstd'): Decoder {
  try {
    return compression === 'zstd' ? new ZstdDecoder() : (IsalDecoder.open() ?? new ZlibDecoder());
  } catch (error) {
    const library = compression === 'zstd' ? 'libzstd.so.1' : 'libz.so.1';
    throw new DrayError('TOOL_MISSING', `${library} can't be used: ${messageOf(error)}`, {
      hint: `Install the package with ${library} on the node (libisal.so.2 for fast gzip).`,
      cause: error,
    });
  }
}

function unsupported(name: string): DrayError {
  return invalid(`The layer is compressed with ${name}; supported are gzip, zstd and none`);
}
