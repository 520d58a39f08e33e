import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TerminalSize } from '../../../shared/agent/exec.ts';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import { bytesInPipe } from '../linux/pipe.ts';
import { PacketWriter } from '../linux/seqpacket.ts';
import type { Container } from './container.ts';
import { bundleOf } from './layout.ts';
import type { ContainerServices } from './services.ts';

/** What a monitor reads at once; of a longer packet it loses the rest. */
const maxPacketBytes = 8192;

/** Milliseconds between two looks whether a monitor has read a line: of those that it reads at once it obeys the first. */
const controlPause = 5;
/** Milliseconds for which it is waited for. */
const controlBound = 10_000;

/** A way into the standard input of a container's first process, through its monitor. Ends when disposed. */
export interface ContainerInput extends Disposable {
  /** Resolves when it was taken. @returns false when nobody reads it any more */
  write: (bytes: Uint8Array) => Promise<boolean>;
  /** Of its terminal. */
  resize: (size: TerminalSize) => void;
}

/**
 * Opens the standard input of a running container. The monitor ends the container's input when this is disposed,
 * where the container was made so (`stdinOnce`); otherwise it stays open for others.
 * @throws CONFLICT when the container does not run
 */
export function openInput(
  { layout }: ContainerServices,
  { id, instance, state, options }: Container,
): ContainerInput {
  const { bundle } = bundleOf(layout, instance);
  const writer =
    options.stdin === true ? connect(join(bundle, 'attach'), { id, state }) : undefined;
  return {
    write: async (bytes) => {
      for (let at = 0; at < bytes.length; at += maxPacketBytes) {
        const packet = bytes.subarray(at, at + maxPacketBytes);
        if (writer === undefined || !(await writer.send(packet))) return false;
      }
      return true;
    },
    resize: options.terminal === true ? resizer(join(bundle, 'ctl')) : () => {},
    [Symbol.dispose]: () => writer?.[Symbol.dispose](),
  };
}

function connect(socket: string, { id, state }: Pick<Container, 'id' | 'state'>): PacketWriter {
  try {
    return new PacketWriter(socket);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ENOENT' && errno !== 'ECONNREFUSED') throw error;
    throw new DrayError('CONFLICT', `Container ${id} is ${state}: nothing reads its input`, {
      hint: `Start it: dray start ${id}`,
      cause: error,
    });
  }
}

/** Of sizes that come faster than the monitor looks, the last one counts. */
function resizer(control: string): (size: TerminalSize) => void {
  let next: TerminalSize | undefined;
  let isBusy = false;
  const work = async () => {
    while (next !== undefined) {
      const size = next;
      next = undefined;
      await resize(control, size);
    }
  };
  return (size) => {
    next = size;
    if (isBusy) return;
    isBusy = true;
    void work()
      .catch(() => {})
      .finally(() => {
        isBusy = false;
      });
  };
}

/** Tells the monitor, by its control file, and waits until it has heard. One that has ended reads none. */
async function resize(control: string, { columns, rows }: TerminalSize): Promise<void> {
  try {
    await using file = await open(control, constants.O_WRONLY | constants.O_NONBLOCK);
    await file.write(`1 ${rows} ${columns}\n`);
    const end = performance.now() + controlBound;
    while (bytesInPipe(file.fd) > 0 && performance.now() < end) await sleep(controlPause);
  } catch (error) {
    if (errnoOf(error) !== 'ENXIO' && errnoOf(error) !== 'ENOENT') throw error;
  }
}
