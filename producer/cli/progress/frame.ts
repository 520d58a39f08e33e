import { styleText } from 'node:util';
import { formatBytes, formatBytesOf, printable } from '../output.ts';
import type { LineState, ProgressLine } from './lines.ts';

export interface FrameOptions {
  /** Columns of the terminal. */
  width: number;
  color: boolean;
  /** Bytes a second of a line's transfer. A single look knows none. */
  rate?: (line: ProgressLine) => number;
}

const stateWidth = 11;
const tailWidth = 27;
const widestBar = 40;
const narrowestBar = 6;

const colors: Partial<Record<LineState, 'green' | 'cyan' | 'red' | 'gray' | 'yellow'>> = {
  waiting: 'gray',
  resolving: 'yellow',
  downloading: 'cyan',
  unpacking: 'cyan',
  resolved: 'green',
  exists: 'green',
  done: 'green',
  ready: 'green',
  failed: 'red',
  partial: 'yellow',
  stopped: 'yellow',
};

/** The lines as a terminal of that width shows them: none is wider, so that each takes one row. */
export function renderLines(lines: readonly ProgressLine[], options: FrameOptions): string[] {
  const width = Math.max(10, options.width - 1);
  const labels = lines
    .filter(({ kind }) => kind !== 'reference')
    .map(({ label }) => label.length + 1);
  const labelWidth = Math.min(Math.max(0, ...labels), Math.max(0, width - stateWidth - 1));
  const room = width - labelWidth - stateWidth - tailWidth - 5;
  const barWidth = room < narrowestBar ? 0 : Math.min(room, widestBar);
  return lines.map((line) => renderLine(line, { ...options, width, labelWidth, barWidth }));
}

function renderLine(
  line: ProgressLine,
  options: FrameOptions & { labelWidth: number; barWidth: number },
): string {
  const { labelWidth, barWidth, width } = options;
  const state = paint(line.state, line.state.padEnd(stateWidth), options.color);
  if (line.kind === 'reference') {
    const label = clip(`${line.label}:`, Math.max(labelWidth, width - line.state.length - 1));
    const detail = line.detail === undefined ? '' : ` ${line.detail}`;
    const rest = width - Math.max(label.length, labelWidth) - 1 - line.state.length;
    // A digest that is cut says nothing more than its beginning.
    const shown = detail.length > rest ? detail.slice(0, Math.max(0, Math.min(rest, 20))) : detail;
    return `${label.padEnd(labelWidth)} ${paint(line.state, line.state, options.color)}${shown}`;
  }
  const label = clip(`${line.label}:`, labelWidth).padEnd(labelWidth);
  const { done = 0, total = 0 } = line;
  const fraction = total > 0 ? Math.min(1, done / total) : isOver(line.state) ? 1 : 0;
  const bar = barWidth === 0 ? '' : ` |${drawBar(fraction, barWidth)}|`;
  const room = width - labelWidth - 1 - stateWidth - bar.length - 1;
  const tails = tailsOf(line, options.rate?.(line)).map(printable);
  const tail = tails.find((text) => text.length <= room) ?? clip(tails[0] ?? '', Math.max(0, room));
  return `${label} ${state}${bar} ${tail}`.trimEnd();
}

/** What can stand behind the bar, the best first: a narrow terminal takes a shorter one. */
function tailsOf(line: ProgressLine, rate: number | undefined): string[] {
  const { kind, state, done = 0, total = 0, detail, short } = line;
  if (detail !== undefined) return short === undefined ? [detail] : [detail, short];
  if (kind === 'node') return [`${done}/${total} layers`, `${done}/${total}`];
  if (state !== 'downloading') return [formatBytes(total), ''];
  const bytes = formatBytesOf(done, total);
  const percent = `${total === 0 ? 0 : Math.floor((done / total) * 100)}%`;
  const withRate = rate === undefined ? [] : [`${bytes} ${formatBytes(rate)}/s`];
  return [...withRate, bytes, percent, ''];
}

function drawBar(fraction: number, width: number): string {
  const full = Math.floor(fraction * width);
  return '+'.repeat(full) + '-'.repeat(width - full);
}

function isOver(state: LineState): boolean {
  return state === 'done' || state === 'exists' || state === 'ready';
}

function paint(state: LineState, text: string, color: boolean): string {
  const name = colors[state];
  return color && name !== undefined ? styleText(name, text, { validateStream: false }) : text;
}

/** Text that takes at most `width` columns; what is left out in its middle is shown as `…`. */
export function clip(text: string, width: number): string {
  if (text.length <= width) return text;
  if (width < 4) return text.slice(0, width);
  const tail = Math.floor((width - 1) / 3);
  return `${text.slice(0, width - 1 - tail)}…${text.slice(text.length - tail)}`;
}

/**
 * As many lines as there is room for. What is over gives way first, then what has not begun, so that what moves
 * is seen; the order stays.
 */
export function fitLines(lines: readonly ProgressLine[], rows: number): ProgressLine[] {
  if (lines.length <= rows) return [...lines];
  const weight = (line: ProgressLine) =>
    line.kind === 'reference' ? 0 : isOver(line.state) ? 3 : line.state === 'waiting' ? 2 : 1;
  const kept = new Set(lines.toSorted((a, b) => weight(a) - weight(b)).slice(0, Math.max(0, rows)));
  return lines.filter((line) => kept.has(line));
}
