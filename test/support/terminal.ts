import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawn } from '@lydell/node-pty';

const escapeKey = String.fromCharCode(27);
const controlSequence = new RegExp(`${escapeKey}\\[[\\d;?]*[a-zA-Z]`, 'g');
/** Of one whose end has not come yet. */
const begunSequence = new RegExp(`${escapeKey}(\\[[\\d;?]*)?$`);

/** A program on a terminal of its own, and somebody who types. */
export interface TestTerminal extends Disposable {
  type: (keys: string) => void;
  resize: (columns: number, rows: number) => void;
  /** Waits until it shows something new since the last call, and forgets what is up to there. */
  shows: (pattern: RegExp) => Promise<string>;
  /** Its exit code; an end by a signal as 128 + its number. */
  ended: Promise<number>;
  pid: number;
}

export function startOnTerminal(
  program: string,
  args: string[],
  options: { env: NodeJS.ProcessEnv; columns?: number; rows?: number },
): TestTerminal {
  const { env, columns = 80, rows = 24 } = options;
  const child = spawn(program, args, { cols: columns, rows, env: { ...env, TERM: 'xterm' } });
  let text = '';
  let begun = '';
  child.onData((data) => {
    // A sequence may come in two pieces.
    const plain = (begun + data).replaceAll(controlSequence, '');
    begun = begunSequence.exec(plain)?.[0] ?? '';
    text += plain.slice(0, plain.length - begun.length);
  });
  const ended = new Promise<number>((resolve) => {
    child.onExit(({ exitCode, signal }) => resolve(signal ? 128 + signal : exitCode));
  });
  return {
    type: (keys) => child.write(keys),
    resize: (columns, rows) => child.resize(columns, rows),
    shows: async (pattern) => {
      for (const end = Date.now() + 60_000; ; await sleep(10)) {
        const found = pattern.exec(text);
        if (found !== null) {
          text = text.slice(found.index + found[0].length);
          return found[0];
        }
        if (Date.now() > end) assert.match(text, pattern);
      }
    },
    ended,
    pid: child.pid,
    [Symbol.dispose]: () => child.kill('SIGKILL'),
  };
}
