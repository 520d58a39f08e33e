import type { BenchImage } from './images.ts';

/** One line of the result, as `--json` writes it. */
export interface Row {
  image: string;
  tool: string;
  /** Seconds, the median. */
  wall_s: number;
  cpu_s: number;
  /** Proportional set sizes of all processes together, at their largest. */
  peak_mib: number;
  /** Wall time over the peer's. */
  ratio_to_peer: number;
  /** Wall time over the floor's. */
  ratio_to_floor: number;
}

const columns = ['image', 'tool', 'wall s', 'CPU s', 'peak MiB', 'to peer', 'to floor'];

/** The rows as a table for people. */
export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.image,
    row.tool,
    row.wall_s.toFixed(2),
    row.cpu_s.toFixed(2),
    row.peak_mib.toFixed(0),
    row.ratio_to_peer.toFixed(2),
    row.ratio_to_floor.toFixed(2),
  ]);
  const all = [columns, ...cells];
  const widths = columns.map((_, n) => Math.max(...all.map((line) => line[n]?.length ?? 0)));
  const format = (line: string[]) =>
    line
      .map((cell, n) => (n < 2 ? cell.padEnd(widths[n] ?? 0) : cell.padStart(widths[n] ?? 0)))
      .join('  ');
  return all.map(format).join('\n');
}

/** What an image is, in one line. */
export function caption({ name, layers, size, tarSize, entries }: BenchImage): string {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  return `${name}: ${layers} layers, ${megabytes(size)}, unpacked ${megabytes(tarSize)}, ${entries} entries`;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = Number.NaN, high = low] = [
    sorted[sorted.length % 2 ? middle : middle - 1],
    sorted[middle],
  ];
  return (low + high) / 2;
}
