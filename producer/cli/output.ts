/** How `dray` prints: tables, sizes and times for people, JSON and YAML for programs. */

import { createRequire } from 'node:module';
import { ageOf } from '../../shared/duration.ts';

/** `wide` is a table with every column, and nothing in it shortened. */
export const outputForms = ['table', 'wide', 'json', 'yaml'] as const;
export type OutputForm = (typeof outputForms)[number];

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes as `0 B`, `1.2 KiB`, `58.0 MiB`. */
export function formatBytes(bytes: number): string {
  const { value, unit } = scale(bytes, bytes);
  return `${value} ${unit}`;
}

/** `12.3/58.0 MiB`: both in the unit of the whole. */
export function formatBytesOf(done: number, total: number): string {
  const part = scale(done, total);
  const whole = scale(total, total);
  return `${part.value}/${whole.value} ${whole.unit}`;
}

function scale(bytes: number, reference: number): { value: string; unit: string } {
  let power = 0;
  // What would print as 1024.0 belongs to the next unit.
  while (reference / 1024 ** power >= 1023.95 && power < units.length - 1) power++;
  const value = bytes / 1024 ** power;
  return {
    value: power === 0 ? String(Math.round(value)) : value.toFixed(1),
    unit: units[power] ?? 'B',
  };
}

/** Milliseconds as `0.4s`, `12.3s`, `3m07s`, `2h05m`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
}

/** The time since then in its largest whole unit: `3 min ago`. */
export function formatAge(since: Date, now: Date): string {
  return `${ageOf(since, now)} ago`;
}

/** Text from outside without what a terminal would obey. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, (c) => (c === '\n' || c === '\t' ? ' ' : '?'));
}

/** What a cell becomes where a table is too wide for the terminal: still enough to tell one from the other. */
const shortForms: [RegExp, string][] = [
  [/\b(sha256|sha512):([0-9a-f]{12})[0-9a-f]{52,}/g, '$1:$2'],
  [/^application\/vnd\.(.+)\.v[12]\+json$/, '$1'],
];

/**
 * A table that has short digests and media types if it does not fit into `width` columns otherwise, and then the cells
 * of one column cut to what is left.
 * @param elastic heading of that column
 */
export function fitTable(
  headings: readonly string[],
  rows: readonly string[][],
  width: number | undefined,
  elastic?: string,
): string {
  const table = formatTable(headings, rows);
  if (width === undefined || overhang(table, width) <= 0) return table;
  const shorten = (cell: string) =>
    shortForms.reduce((text, [long, short]) => text.replace(long, short), cell);
  const short = rows.map((row) => row.map(shorten));
  const fitted = formatTable(headings, short, '  ');
  const over = overhang(fitted, width);
  const column = elastic === undefined ? -1 : headings.indexOf(elastic);
  if (over <= 0 || column < 0) return fitted;
  const widest = Math.max(...short.map((row) => row[column]?.length ?? 0));
  const left = Math.max(widest - over, leastElastic);
  const cut = short.map((row) => row.map((cell, i) => (i === column ? cutText(cell, left) : cell)));
  return formatTable(headings, cut, '  ');
}

/** Columns that a cell keeps however narrow the terminal is. */
const leastElastic = 12;

/** Text that takes at most `width` columns; what is left out at its end is shown as `…`. */
export function cutText(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
}

/** Text in lines of at most `width` columns, parted at blanks; a longer word, or a room too narrow, stays as it is. */
export function wrapText(text: string, width: number): string[] {
  if (width < leastElastic) return [text];
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}

/** Columns by which the widest line of a table goes beyond `width`. */
function overhang(table: string, width: number): number {
  return Math.max(...table.split('\n').map((line) => line.length)) - width;
}

/** Columns of the terminal that standard output is; undefined where it is none: programs get whole digests. */
export function outputWidth(): number | undefined {
  return process.stdout.isTTY ? process.stdout.columns : undefined;
}

/** Rows below their headings, the columns aligned; the last column has no padding. */
export function formatTable(
  headings: readonly string[],
  rows: readonly string[][],
  gap = '   ',
): string {
  const table = [headings, ...rows.map((row) => row.map(printable))];
  const widths = headings.map((_, i) => Math.max(...table.map((row) => row[i]?.length ?? 0)));
  return table
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join(gap)
          .trimEnd()}\n`,
    )
    .join('');
}

export interface ListOptions {
  output: OutputForm;
  quiet?: boolean;
}

/** What a table of a listing shows. */
export interface Columns<T> {
  headings: string[];
  row: (item: T) => string[];
  /** What `-q` prints. */
  name: (item: T) => string;
  /** Columns that follow with `-o wide`. */
  wide?: { headings: string[]; row: (item: T) => string[] };
  /** Heading of the column that is cut where a table is too wide for the terminal. */
  elastic?: string;
}

/** Prints a list as the options say: a table, JSON, YAML, or one name a line. */
export function printList<T>(items: readonly T[], options: ListOptions, columns: Columns<T>): void {
  process.stdout.write(formatList(items, options, columns, outputWidth()));
}

/** @param width columns of the terminal, if it is one */
export function formatList<T>(
  items: readonly T[],
  { output, quiet }: ListOptions,
  { headings, row, name, wide, elastic }: Columns<T>,
  width: number | undefined,
): string {
  if (quiet === true) return items.map((item) => `${name(item)}\n`).join('');
  return formatValue(items, output, () => {
    if (output === 'table') return fitTable(headings, items.map(row), width, elastic);
    return formatTable(
      [...headings, ...(wide?.headings ?? [])],
      items.map((item) => [...row(item), ...(wide?.row(item) ?? [])]),
    );
  });
}

/** Prints a value: JSON or YAML where the form says so, else what `text` makes of it for people. */
export function printValue(value: unknown, form: OutputForm, text: () => string): void {
  process.stdout.write(formatValue(value, form, text));
}

function formatValue(value: unknown, form: OutputForm, text: () => string): string {
  if (form === 'json') return `${JSON.stringify(value, undefined, 2)}\n`;
  if (form === 'yaml') return formatYaml(value);
  return text();
}

/** The same document as in JSON. What YAML 1.1 would take for something else than text is quoted. */
function formatYaml(value: unknown): string {
  // Nobody else has to wait until the library is loaded.
  const { stringify } = createRequire(import.meta.url)('yaml') as typeof import('yaml');
  const plain: unknown = JSON.parse(JSON.stringify(value));
  return stringify(plain, { compat: 'yaml-1.1', lineWidth: 0, aliasDuplicateObjects: false });
}
