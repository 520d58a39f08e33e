import { constants } from 'node:os';
import { DrayError } from '../../../shared/errors.ts';

const firstRealTime = 34;
const lastSignal = 64;

/**
 * A signal by its number, or by its name with or without SIG, as image configurations and people write
 * them; real-time ones as RTMIN+n and RTMAX-n.
 * @throws CONFIG_INVALID, or USAGE where a caller asks for it instead
 */
export function parseSignal(
  text: string,
  options: { code?: 'CONFIG_INVALID' | 'USAGE' } = {},
): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const number = /^\d{1,2}$/.test(name) ? Number(name) : signalNumber(name);
  if (number !== undefined && number >= 1 && number <= lastSignal) return number;
  throw new DrayError(options.code ?? 'CONFIG_INVALID', `"${text.slice(0, 40)}" is not a signal`, {
    hint: 'A signal is a name as in SIGTERM, or a number from 1 to 64.',
  });
}

function signalNumber(name: string): number | undefined {
  const known = (constants.signals as Record<string, number | undefined>)[`SIG${name}`];
  if (known !== undefined) return known;
  const [, end, sign, distance = '0'] = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name) ?? [];
  if (end === 'MIN' && sign !== '-') return firstRealTime + Number(distance);
  if (end === 'MAX' && sign !== '+') {
    const number = lastSignal - Number(distance);
    return number >= firstRealTime ? number : undefined;
  }
  return undefined;
}
