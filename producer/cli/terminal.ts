import { execFileSync } from 'node:child_process';
import { constants } from 'node:os';
import type { PassThrough } from 'node:stream';
import type { TerminalSize } from '../../shared/agent/exec.ts';
import { encodeControl, encodeFrames } from '../../shared/agent/frames.ts';
import { DrayError } from '../../shared/errors.ts';
import { exitCodes } from './errors.ts';

/** The keys that leave a terminal and let what runs on it go on: Ctrl-P Ctrl-Q. */
const detachKeys = [0x10, 0x11] as const;

/** The size of the terminal that this command runs on. @throws USAGE when it runs on none */
export function ownTerminalSize(): TerminalSize {
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new DrayError('USAGE', 'There is no terminal here to give to the container', {
      hint: 'Leave out --tty, or run dray on a terminal.',
    });
  }
  const { columns, rows } = process.stdout;
  return { columns, rows };
}

/** Sends standard input to a process elsewhere, up to its end, until it is disposed. */
export function sendInput(input: PassThrough): Disposable {
  const { stdin } = process;
  const send = (bytes: Buffer) => {
    if (input.writableEnded || input.destroyed) return;
    for (const frame of encodeFrames('stdin', bytes)) {
      if (input.write(frame)) continue;
      stdin.pause();
      input.once('drain', () => stdin.resume());
    }
  };
  const end = () => {
    if (!input.writableEnded) input.write(encodeControl({ endInput: true }));
  };
  stdin.on('data', send).once('end', end);
  return {
    [Symbol.dispose]: () => {
      stdin.off('data', send).off('end', end).pause();
    },
  };
}

/**
 * Hands this command's terminal to a process elsewhere until it is disposed: every key, and each change of the
 * window's size.
 * @param onDetach called when the keys were pressed that leave it
 */
export function lendTerminal(input: PassThrough, onDetach: () => void): Disposable {
  const { stdin, stdout } = process;
  const keys = new DetachKeys();
  const send = (bytes: Buffer) => {
    if (input.writableEnded || input.destroyed) return;
    const { typed, detached } = keys.filter(bytes);
    for (const frame of encodeFrames('stdin', typed)) input.write(frame);
    if (detached) onDetach();
  };
  const resize = () => {
    if (input.writableEnded || input.destroyed) return;
    input.write(encodeControl({ resize: { columns: stdout.columns, rows: stdout.rows } }));
  };
  const raw = makeRaw();
  stdin.on('data', send);
  stdout.on('resize', resize);
  return {
    [Symbol.dispose]: () => {
      stdin.off('data', send);
      stdout.off('resize', resize);
      raw[Symbol.dispose]();
      stdin.pause();
    },
  };
}

/**
 * Takes every meaning from the keys and from the output of this terminal, until it is disposed or the command
 * ends. Node's own raw mode still puts a carriage return before each newline, which full-screen programs do not
 * expect.
 */
function makeRaw(): Disposable {
  const before = stty('-g').trim();
  const restore = () => {
    process.off('exit', restore);
    for (const [name, end] of ends) process.off(name, end);
    try {
      stty(before);
    } catch {
      // The terminal was closed.
    }
  };
  const ends = (['SIGTERM', 'SIGHUP', 'SIGINT'] as const).map((name) => {
    return [name, () => process.exit(128 + constants.signals[name])] as const;
  });
  for (const [name, end] of ends) process.on(name, end);
  process.on('exit', restore);
  stty('raw', '-echo');
  return { [Symbol.dispose]: restore };
}

/** Calls stty(1) on standard input. */
function stty(...args: string[]): string {
  return execFileSync('stty', args, { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' });
}

/** Sends this command's signals to a process elsewhere until it is disposed; the second Ctrl-C ends the command. */
export function sendSignals(input: PassThrough): Disposable {
  let interrupts = 0;
  const handlers = (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const).map((signal) => {
    const handler = () => {
      if (signal === 'SIGINT' && ++interrupts > 1) process.exit(exitCodes.interrupted);
      if (!input.writableEnded) input.write(encodeControl({ signal }));
    };
    process.on(signal, handler);
    return () => process.off(signal, handler);
  });
  return {
    [Symbol.dispose]: () => {
      for (const remove of handlers) remove();
    },
  };
}

/** Finds the keys that detach among what is typed; the first of them is held back until the second is known. */
export class DetachKeys {
  #held = 0;

  filter(bytes: Uint8Array): { typed: Uint8Array; detached: boolean } {
    const typed: number[] = [];
    for (const byte of bytes) {
      if (byte === detachKeys[this.#held]) {
        if (++this.#held === detachKeys.length) {
          this.#held = 0;
          return { typed: Buffer.from(typed), detached: true };
        }
        continue;
      }
      typed.push(...detachKeys.slice(0, this.#held));
      this.#held = byte === detachKeys[0] ? 1 : 0;
      if (this.#held === 0) typed.push(byte);
    }
    return { typed: Buffer.from(typed), detached: false };
  }
}
