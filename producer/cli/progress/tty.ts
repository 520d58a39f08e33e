import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import type { PullStatus } from '../../../shared/pull/status.ts';
import { printable } from '../output.ts';
import { clip, fitLines, renderLines } from './frame.ts';
import { type LineOptions, progressLines } from './lines.ts';
import { Rates } from './rates.ts';
import { summaryLine } from './summary.ts';
import type { ProgressView } from './view.ts';

/** Milliseconds between two drawings: what changes faster is not seen anyway. */
const drawInterval = 100;
const hideCursor = '\x1b[?25l';
const showCursor = '\x1b[?25h';
const clearBelow = '\x1b[J';
const clearRight = '\x1b[K';

export interface TerminalOptions extends LineOptions {
  stream: Pick<WriteStream, 'write' | 'columns' | 'rows'>;
  color: boolean;
  /** When the command began, in milliseconds of `performance.now()`. */
  begun: number;
}

/** Live lines, drawn over and over in the same place. */
export class TerminalView implements ProgressView {
  readonly #options: TerminalOptions;
  readonly #rates = new Rates();
  readonly #timer: NodeJS.Timeout;
  readonly #onExit = () => this.#options.stream.write(showCursor);
  #status: PullStatus | undefined;
  /** Visible widths of the lines that stand above the cursor. */
  #drawn: number[] = [];
  #isOver = false;

  constructor(options: TerminalOptions) {
    this.#options = options;
    options.stream.write(hideCursor);
    // However the process ends, the cursor is given back.
    process.on('exit', this.#onExit);
    this.#timer = setInterval(() => this.#draw(), drawInterval);
    this.#timer.unref();
  }

  update(status: PullStatus): void {
    const isFirst = this.#status === undefined;
    this.#status = status;
    if (isFirst) this.#draw();
  }

  finish(status: PullStatus): void {
    this.#status = status;
    this.#isOver = true;
    this.#draw();
  }

  say(line: string): void {
    const { stream } = this.#options;
    const above = this.#isOver ? '' : `${this.#backToTop(stream.columns || 80)}${clearBelow}`;
    stream.write(`${above}${line}\n`);
    if (this.#isOver) return;
    this.#drawn = [];
    this.#draw();
  }

  [Symbol.dispose](): void {
    if (!this.#isOver) this.#draw();
    this.#isOver = true;
    clearInterval(this.#timer);
    process.off('exit', this.#onExit);
    this.#options.stream.write(showCursor);
  }

  #draw(): void {
    const status = this.#status;
    if (status === undefined) return;
    const { stream, color, begun } = this.#options;
    const now = performance.now();
    const width = stream.columns || 80;
    const rows = stream.rows || 24;
    const all = progressLines(status, this.#options);
    const extra = status.note !== undefined && !this.#isOver ? 1 : 0;
    // One row is the cursor's, one the summary's. The last drawing may scroll: nothing is drawn over it.
    const room = this.#isOver ? all.length : Math.max(1, rows - 2 - extra);
    const isCut = all.length > room;
    const shown = isCut ? fitLines(all, room - 1) : all;
    const lines = renderLines(shown, {
      width,
      color,
      rate: (line) => this.#rates.rate(line.key, line.done ?? 0, now),
    });
    if (isCut) lines.push(`… and ${all.length - shown.length} more`);
    if (extra === 1) lines.push(clip(printable(status.note ?? ''), width - 1));
    lines.push(clip(summaryLine(status, now - begun), width - 1));
    const frame = lines.map((line) => `${line}${clearRight}\n`).join('');
    stream.write(`${this.#backToTop(width)}${frame}${clearBelow}`);
    this.#drawn = lines.map((line) => stripVTControlCharacters(line).length);
  }

  /** A terminal that became narrower has wrapped what was drawn. */
  #backToTop(width: number): string {
    const rows = this.#drawn.reduce(
      (sum, length) => sum + Math.max(1, Math.ceil(length / width)),
      0,
    );
    return rows === 0 ? '' : `\r\x1b[${rows}A`;
  }
}
