import { existsSync, readFileSync } from 'node:fs';

/**
 * Loaded before a program (`NODE_OPTIONS=--import=…`), has it die by SIGKILL in the moment that a test chooses: as soon
 * as the path in the file TEST_DIES_WHEN is there, or, with `!` before it, no longer is. Between two looks the program
 * does one turn of its loop.
 */
const order = process.env.TEST_DIES_WHEN ?? '';

function waitForOrder(): void {
  if (existsSync(order)) look(readFileSync(order, 'utf8'));
  else setTimeout(waitForOrder, 10).unref();
}

function look(wanted: string): void {
  const isGone = wanted.startsWith('!');
  const isThere = existsSync(isGone ? wanted.slice(1) : wanted);
  if (isThere !== isGone) process.kill(process.pid, 'SIGKILL');
  setImmediate(look, wanted).unref();
}

waitForOrder();
