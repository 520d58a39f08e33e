import { invalid } from './limits.ts';

/** Numbers in tar headers, as Go's archive/tar reads them. */

/**
 * An octal field, or a base-256 one when its first bit is set. Blanks and NULs around an octal number are
 * ignored, and what stands behind a NUL too; an empty field is 0.
 * @throws LAYER_INVALID
 */
export function parseNumber(block: Buffer, start: number, length: number, field: string): number {
  const first = block[start] ?? 0;
  if ((first & 0x80) !== 0) return parseBase256(block.subarray(start, start + length), field);
  const end = start + length;
  let at = start;
  while (at < end && (block[at] === 0x20 || block[at] === 0)) at++;
  let value = 0;
  for (; at < end; at++) {
    const digit = (block[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  for (; at < end && block[at] !== 0; at++) {
    if (block[at] !== 0x20) throw invalid(`A header of the layer has a ${field} that is no number`);
  }
  return value;
}

/** Big-endian, two's complement, without its first bit. */
function parseBase256(bytes: Buffer, field: string): number {
  let value = 0n;
  const negative = ((bytes[0] ?? 0) & 0x40) !== 0;
  bytes.forEach((byte, index) => {
    let bits = negative ? ~byte & 0xff : byte;
    if (index === 0) bits &= 0x7f;
    value = (value << 8n) | BigInt(bits);
  });
  if (value >= 1n << 63n) throw invalid(`A header of the layer has a ${field} beyond 64 bits`);
  return Number(negative ? -value - 1n : value);
}

/** A decimal number of a PAX record. @throws LAYER_INVALID */
export function parseDecimal(text: string, field: string): number {
  if (!/^[+-]?[0-9]{1,19}$/.test(text)) {
    throw invalid(`A PAX record of the layer has a ${field} that is no number`);
  }
  return Number(text);
}

const timeForm = /^([+-]?)([0-9]{1,19})(?:\.([0-9]*))?$/;

/** Seconds with a fraction, of a PAX record; digits below a nanosecond are cut. @throws LAYER_INVALID */
export function parseTime(text: string): { seconds: number; nanoseconds: number } {
  const match = timeForm.exec(text);
  if (match === null) throw invalid('A PAX record of the layer has a time that is no number');
  const [, sign, seconds = '', fraction = ''] = match;
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  return sign === '-'
    ? { seconds: -Number(seconds) - (nanoseconds > 0 ? 1 : 0), nanoseconds: 0 }
    : { seconds: Number(seconds), nanoseconds };
}

/** Seconds of the year 2262, where 64 bits of nanoseconds end. */
const latest = 9_223_372_036;

/** Times before 1970 and beyond 2262 become 1970, as containerd has it. */
export function clampTime(time: { seconds: number; nanoseconds: number }) {
  return time.seconds >= 0 && time.seconds < latest ? time : { seconds: 0, nanoseconds: 0 };
}
