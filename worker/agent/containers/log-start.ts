import type { FileHandle } from 'node:fs/promises';

const blockBytes = 64 * 1024;
const newline = 0x0a;
const space = 0x20;

/** Where somebody wants to begin to read a log. */
export interface LogStart {
  /** A byte of the file, as an earlier reader was told. */
  from?: number;
  /** What was written since then. */
  since?: Date;
  /** So many lines before the end of the log. */
  tail?: number;
}

/** The byte of a log file where reading begins: the start of a record. */
export async function findStart(
  file: FileHandle,
  { from, since, tail }: LogStart,
): Promise<number> {
  if (from !== undefined) return from;
  const { size } = await file.stat();
  const bySince = since === undefined ? 0 : await findTime(file, size, since);
  const byTail = tail === undefined ? 0 : await findTail(file, size, tail);
  return Math.max(bySince, byTail);
}

/** Records stand in the order of their times: the first that is not before `since`, by halving. */
async function findTime(file: FileHandle, size: number, since: Date): Promise<number> {
  let [low, high] = [0, size];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const record = await recordFrom(file, middle, size);
    if (record !== undefined && record.time < since.getTime()) low = record.end;
    else high = middle;
  }
  return (await recordFrom(file, low, size))?.start ?? size;
}

/** The first whole record that begins at a byte or behind it. */
async function recordFrom(
  file: FileHandle,
  at: number,
  size: number,
): Promise<{ start: number; end: number; time: number } | undefined> {
  // What stands before the first newline is the rest of a record, unless that newline ends the one before.
  const start = at === 0 ? 0 : await behindNewline(file, at - 1, size);
  if (start === undefined) return undefined;
  const end = await behindNewline(file, start, size);
  if (end === undefined) return undefined;
  const head = Buffer.alloc(64);
  const { bytesRead } = await file.read(head, 0, head.length, start);
  const text = head.toString('latin1', 0, bytesRead);
  return { start, end, time: Date.parse(text.slice(0, Math.max(0, text.indexOf(' ')))) };
}

async function behindNewline(
  file: FileHandle,
  from: number,
  size: number,
): Promise<number | undefined> {
  const block = Buffer.alloc(blockBytes);
  for (let at = from; at < size; ) {
    const { bytesRead } = await file.read(block, 0, block.length, at);
    if (bytesRead === 0) return undefined;
    const found = block.subarray(0, bytesRead).indexOf(newline);
    if (found !== -1) return at + found + 1;
    at += bytesRead;
  }
  return undefined;
}

/** Goes back from the end over the records that end a line. */
async function findTail(file: FileHandle, size: number, lines: number): Promise<number> {
  let behind = size;
  let found = 0;
  for await (const { start, end, isWhole } of recordsBackwards(file, size)) {
    // A line that is not ended yet is one, too.
    if (isWhole || end === size) {
      if (found === lines) return behind;
      found++;
    }
    behind = start;
  }
  return found > lines ? behind : 0;
}

async function* recordsBackwards(
  file: FileHandle,
  size: number,
): AsyncGenerator<{ start: number; end: number; isWhole: boolean }> {
  let text: Buffer = Buffer.alloc(0);
  let at = size;
  let end = size;
  while (end > 0) {
    // The newline that ends the record itself is not the one before it.
    let before = text.lastIndexOf(newline, end - at - 2);
    if (end - at < 2) before = -1;
    if (before === -1 && at > 0) {
      const length = Math.min(blockBytes, at);
      const block = Buffer.alloc(length);
      await file.read(block, 0, length, at - length);
      text = Buffer.concat([block, text.subarray(0, end - at)]);
      at -= length;
      continue;
    }
    const start = before === -1 ? at : at + before + 1;
    yield { start, end, isWhole: isWholeLine(text.subarray(start - at, end - at)) };
    end = start;
  }
}

function isWholeLine(record: Buffer): boolean {
  const afterStream = record.indexOf(space, record.indexOf(space) + 1);
  return record[afterStream + 1] === 'F'.charCodeAt(0);
}
