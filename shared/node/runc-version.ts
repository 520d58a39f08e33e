/**
 * Escapes from containers that upstream's runc had, with the versions that fixed them: the first of each line of
 * releases. A line that is older than all of them was never fixed.
 */
const escapes: readonly { names: readonly string[]; fixed: readonly string[] }[] = [
  { names: ['CVE-2024-21626'], fixed: ['1.1.12'] },
  {
    names: ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881'],
    fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
  },
];

/**
 * What to tell an operator of a runc with known escapes; undefined where none is known. A warning only:
 * distributions mend older versions without changing the number.
 * @param output of `runc --version`, or a version alone
 */
export function runcWarning(output: string): string | undefined {
  const version = /(?:^|\brunc version )v?(\d+\.\d+\.\d+(?:-rc\.?\d+)?)/.exec(output)?.[1];
  if (version === undefined) return undefined;
  const open = escapes.filter(({ fixed }) => !isFixed(version, fixed));
  if (open.length === 0) return undefined;
  const list = open.map(({ names, fixed }) => `${names.join(', ')} (fixed in ${fixed.join(', ')})`);
  return `runc ${version} has known escapes from containers, unless its distribution mended them: ${list.join('; ')}`;
}

/** Releases of one line share major and minor number; a line that is newer than all that are named began mended. */
function isFixed(version: string, fixed: readonly string[]): boolean {
  const line = (text: string) => numbers(text).slice(0, 2);
  const own = fixed.find((candidate) => compare(line(candidate), line(version)) === 0);
  if (own !== undefined) return compare(numbers(version), numbers(own)) >= 0;
  return fixed.every((candidate) => compare(line(candidate), line(version)) < 0);
}

/** A release candidate comes before its release. */
function numbers(version: string): number[] {
  const [release = '', candidate] = version.split(/-rc\.?/);
  return [
    ...release.split('.').map(Number),
    candidate === undefined ? Infinity : Number(candidate),
  ];
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((part, i) => part !== b[i]);
  return at === -1 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}
