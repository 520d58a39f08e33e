import { DrayError } from '../../../shared/errors.ts';

const sizeUnits: Record<string, number> = {
  '': 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};

/** Bytes of `512`, `64m`, `1.5g`, `64MB` or `64MiB`, all by 1024, as docker has it. @throws USAGE */
export function parseBytes(option: string, text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?) ?(?:b|([kmgt])(?:i?b)?)?$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(digits) * (sizeUnits[unit.toLowerCase()] ?? 1));
  if (digits !== undefined && bytes <= Number.MAX_SAFE_INTEGER) return bytes;
  throw new DrayError('USAGE', `${option} "${text}" is not a size`, {
    hint: `Write bytes, or a number with k, m, g or t behind it: ${option}${option.endsWith('=') ? '' : ' '}64m`,
  });
}

const timeUnits: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `500ms`, `30s` or `1m30s`, as Go writes durations. @throws USAGE */
export function parseTime(option: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const milliseconds = parts.reduce(
    (sum, [, digits, unit = '']) => sum + Number(digits) * (timeUnits[unit] ?? 0),
    0,
  );
  const isWhole = parts.map(([whole]) => whole).join('') === text && parts.length > 0;
  if (isWhole && milliseconds <= 2 ** 31 - 1) return Math.round(milliseconds);
  throw new DrayError('USAGE', `${option} "${text}" is not a time`, {
    hint: `Write a number with its unit: ${option} 30s, 500ms or 1m30s`,
  });
}

/** A whole number within bounds. @throws USAGE */
export function parseWhole(
  option: string,
  text: string,
  { least = 0, most = Number.MAX_SAFE_INTEGER }: { least?: number; most?: number } = {},
): number {
  const number = Number(text);
  if (/^-?\d+$/.test(text) && number >= least && number <= most) return number;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  throw new DrayError('USAGE', `${option} "${text}" is not a whole number ${range}`);
}
