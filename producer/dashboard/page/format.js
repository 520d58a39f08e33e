const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes as the command shows them. @param {number} bytes */
export function bytes(bytes) {
  let value = bytes;
  let unit = 0;
  // What would show as 1024.0 belongs to the next unit.
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** @param {number} seconds */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/** @param {string} time */
export function ago(time) {
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  return seconds < 2 ? 'just now' : `${duration(seconds)} ago`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** @param {number} value */
export function number(value) {
  return value.toLocaleString('en');
}

/** The first digits of a digest, by which people tell them apart. @param {string} digest */
export function short(digest) {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12);
}
