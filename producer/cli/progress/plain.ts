import type { PullStatus } from '../../../shared/pull/status.ts';
import { formatBytes, printable } from '../output.ts';
import { type LineOptions, type LineState, type ProgressLine, progressLines } from './lines.ts';
import { summaryLine } from './summary.ts';
import type { ProgressView } from './view.ts';

export interface PlainOptions extends LineOptions {
  stream: { write: (text: string) => unknown };
  begun: number;
}

/** States that tell nothing by themselves: another follows, or has come. */
const silent = new Set<LineState>(['waiting', 'downloaded']);

/** One line for each change of state, for logs. */
export class PlainView implements ProgressView {
  readonly #options: PlainOptions;
  readonly #states = new Map<string, string>();
  #note: string | undefined;

  constructor(options: PlainOptions) {
    this.#options = options;
  }

  update(status: PullStatus): void {
    const { stream } = this.#options;
    const shown = { failed: status.nodes.length, behind: 0 };
    for (const line of progressLines(status, { ...this.#options, shown })) {
      const mark = markOf(line);
      if (this.#states.get(line.key) === mark) continue;
      this.#states.set(line.key, mark);
      if (!silent.has(line.state)) stream.write(`${describe(line)}\n`);
    }
    if (status.note !== undefined && status.note !== this.#note) {
      stream.write(`${printable(status.note)}\n`);
    }
    this.#note = status.note;
  }

  finish(status: PullStatus): void {
    this.update(status);
    const elapsed = performance.now() - this.#options.begun;
    this.#options.stream.write(`${summaryLine(status, elapsed)}\n`);
  }

  say(line: string): void {
    this.#options.stream.write(`${line}\n`);
  }

  [Symbol.dispose](): void {}
}

/** What a line is said again for: another state; of many nodes, another tenth of them. */
function markOf({ key, state, done = 0, total = 0 }: ProgressLine): string {
  return key === 'nodes' && total > 0 ? `${state} ${Math.floor((10 * done) / total)}` : state;
}

function describe(line: ProgressLine): string {
  const detail =
    line.detail ??
    (line.kind === 'blob' && line.total !== undefined ? formatBytes(line.total) : '');
  return `${line.fullLabel}: ${line.state} ${printable(detail)}`.trimEnd();
}
