import { stripVTControlCharacters, styleText } from 'node:util';
import type { PullSummary } from '../../../shared/pull/summary.ts';
import { formatAge, formatBytes, formatBytesOf, formatDuration, printable } from '../output.ts';
import { clip } from '../progress/frame.ts';
import type { FleetView, QueueRow } from './fleet-view.ts';

export interface TopOptions {
  /** Columns and rows of the terminal. */
  width: number;
  height: number;
  color: boolean;
  now: Date;
  /** Which Redis, for the first line. */
  place: string;
  /** Bytes a second of a pull. */
  rate?: (pull: PullSummary) => number;
  /** Why the view is an old one. */
  problem?: string;
  /** What the keys do; shown last. */
  keys?: string;
}

type Color = 'green' | 'yellow' | 'red' | 'cyan' | 'gray' | 'bold' | 'inverse';
interface Cell {
  text: string;
  color?: Color | undefined;
  right?: boolean;
}

const stateColors: Record<string, Color> = {
  queued: 'gray',
  resolving: 'yellow',
  fetching: 'cyan',
  unpacking: 'cyan',
  ready: 'green',
  lost: 'red',
};
/** Characters of a last column of text that there is to be room for. */
const leastText = 30;
/** Rows that nodes get at least, their heading with them, where there are so many. */
const leastNodes = 4;

/** A fleet as rows of a terminal: none is wider, and there are no more than fit. */
export function topFrame(view: FleetView, options: TopOptions): string[] {
  const { height, problem, keys } = options;
  const head = [title(view, options)];
  if (problem !== undefined)
    head.push(paint(clip(printable(problem), options.width), 'red', options));
  // Nothing has been seen yet.
  if (view.queues.length === 0) return head.slice(0, height);
  const queues = [
    '',
    ...table(queueHeadings, view.queues.map(queueCells), options, ['DELAYED', 'OLDEST', 'FAILED']),
  ];
  const foot = keys === undefined ? [] : [paint(clip(keys, options.width), 'gray', options)];
  const room = Math.max(0, height - head.length - queues.length - foot.length);
  const pulls = table(
    pullHeadings,
    view.pulls.map((pull) => pullCells(pull, options)),
    options,
    ['RATE', 'BYTES', 'AGE', 'NODES'],
  );
  const nodes = table(
    nodeHeadings,
    view.nodes.map((node) => nodeCells(node, options.now)),
    options,
    ['UNPACKING', 'CONTAINERS', 'IMAGES', 'FREE', 'SEEN'],
  );
  const forNodes = Math.min(nodes.length + 1, Math.max(leastNodes, room - pulls.length - 1));
  const body = [
    ...section(pulls, room - forNodes, view.open - view.pulls.length, 'no pull is open', options),
    ...section(nodes, forNodes, 0, 'no node has registered', options),
  ].slice(0, room);
  const filler =
    keys === undefined ? [] : new Array<string>(Math.max(0, room - body.length)).fill('');
  return [...head, ...queues, ...body, ...filler, ...foot].slice(0, height);
}

function title({ open, nodes, queues }: FleetView, options: TopOptions): string {
  const lost = nodes.filter(({ state }) => state === 'lost').length;
  const workers = queues.find(({ name }) => name === 'resolve')?.workers ?? 0;
  const time = options.now.toTimeString().slice(0, 8);
  const counts = [
    count(open, 'open pull'),
    count(workers, 'worker'),
    `${count(nodes.length, 'node')}${lost > 0 ? ` (${lost} lost)` : ''}`,
  ];
  const parts = ['dray top', ...(queues.length === 0 ? [] : counts), options.place];
  if (options.keys === undefined) return `${parts.join('   ')}   ${time}`;
  const left = clip(parts.join('   '), Math.max(0, options.width - time.length - 1));
  return paint(`${left.padEnd(options.width - time.length)}${time}`, 'inverse', options);
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** A table in so many rows, with a blank one before it; what does not fit is counted. */
function section(
  lines: string[],
  rows: number,
  unread: number,
  nothing: string,
  options: TopOptions,
): string[] {
  if (rows < 3) return [];
  const [heading = '', ...rest] = lines;
  if (rest.length === 0) return ['', paint(clip(nothing, options.width), 'gray', options)];
  if (rest.length + unread <= rows - 2) return ['', heading, ...rest];
  const shown = rest.slice(0, rows - 3);
  const more = `… and ${rest.length - shown.length + unread} more`;
  return ['', heading, ...shown, paint(more, 'gray', options)];
}

const queueHeadings = ['QUEUE', 'WAITING', 'ACTIVE', 'DELAYED', 'FAILED', 'OLDEST', 'WORKERS'];

function queueCells(row: QueueRow): Cell[] {
  const number = (value: number, color?: Color): Cell => ({
    text: String(value),
    right: true,
    color: value > 0 ? color : undefined,
  });
  const isStuck = row.oldestSeconds > 300;
  const oldest = row.oldestSeconds === 0 ? '-' : formatDuration(row.oldestSeconds * 1_000);
  return [
    { text: row.name },
    number(row.waiting),
    number(row.active, 'cyan'),
    number(row.delayed, 'yellow'),
    number(row.failed, 'red'),
    { text: oldest, right: true, color: isStuck ? 'red' : undefined },
    { text: String(row.workers), right: true, color: row.workers === 0 ? 'red' : undefined },
  ];
}

const pullHeadings = ['PULL', 'STATE', 'NODES', 'BYTES', 'RATE', 'AGE', 'REF'];

function pullCells(pull: PullSummary, { now, rate }: TopOptions): Cell[] {
  const { blobs, nodes, state } = pull;
  const speed = rate?.(pull) ?? 0;
  return [
    { text: pull.id },
    { text: state, color: stateColors[state] },
    {
      text: nodes.total === 0 ? '-' : `${nodes.ready}/${nodes.total}`,
      right: true,
      color: nodes.failed > 0 ? 'red' : undefined,
    },
    { text: blobs.total === 0 ? '-' : formatBytesOf(blobs.bytes, blobs.size), right: true },
    { text: speed > 0 ? `${formatBytes(speed)}/s` : '-', right: true },
    { text: formatDuration(now.getTime() - pull.createdAt.getTime()), right: true },
    { text: pull.note === undefined ? pull.reference : `${pull.reference}  ${pull.note}` },
  ];
}

const nodeHeadings = ['NODE', 'STATE', 'UNPACKING', 'IMAGES', 'CONTAINERS', 'FREE', 'SEEN'];

function nodeCells(node: FleetView['nodes'][number], now: Date): Cell[] {
  const { disk, mark, state } = node;
  return [
    { text: node.name },
    { text: mark === undefined ? state : `${state}, ${mark}`, color: stateColors[state] },
    { text: String(node.unpacking), right: true, color: node.unpacking > 0 ? 'cyan' : undefined },
    { text: String(node.images), right: true },
    { text: String(node.containers), right: true },
    {
      text: formatBytes(disk.diskFree),
      right: true,
      color: disk.diskFree < disk.diskSize * 0.1 ? 'red' : undefined,
    },
    { text: formatAge(node.seenAt, now) },
  ];
}

/**
 * Aligned rows below their headings; the last column gets what is left of the width.
 * @param spare columns that are left out, the first of them first, where the width is not enough for all
 */
function table(
  headings: string[],
  rows: Cell[][],
  options: TopOptions,
  spare: readonly string[],
): string[] {
  const cells = rows.map((row) => row.map((cell) => ({ ...cell, text: printable(cell.text) })));
  const widthOf = (i: number) =>
    Math.max(headings[i]?.length ?? 0, ...cells.map((row) => row[i]?.text.length ?? 0));
  const last = headings.length - 1;
  const needed =
    headings.slice(0, last).reduce((sum, _, i) => sum + widthOf(i) + 2, 0) +
    Math.min(widthOf(last), leastText);
  const [first, ...others] = spare;
  if (needed > options.width && first !== undefined) {
    const without = headings.indexOf(first);
    const kept = <T>(row: readonly T[]) => row.filter((_, i) => i !== without);
    return table(kept(headings), cells.map(kept), options, others);
  }
  const widths = headings.map((_, i) => widthOf(i));
  const line = (row: Cell[]) => {
    let left = options.width;
    const parts: string[] = [];
    for (const [i, { text, right, color }] of row.entries()) {
      if (left <= 0) break;
      const isLast = i === row.length - 1;
      const width = Math.min(isLast && right !== true ? text.length : (widths[i] ?? 0), left);
      const shown = clip(text, width);
      parts.push(
        paint(right === true ? shown.padStart(width) : shown.padEnd(width), color, options),
      );
      left -= width + 2;
    }
    return parts.join('  ').trimEnd();
  };
  const isRight = headings.map((_, i) => cells[0]?.[i]?.right === true);
  const titles = headings.map((text, i): Cell => ({ text, right: isRight[i] ?? false }));
  return [paint(stripVTControlCharacters(line(titles)), 'bold', options), ...cells.map(line)];
}

function paint(text: string, color: Color | undefined, { color: isOn }: TopOptions): string {
  return isOn && color !== undefined ? styleText(color, text, { validateStream: false }) : text;
}
