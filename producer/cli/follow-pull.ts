import {
  asDrayError,
  DrayError,
  decodeError,
  encodeError,
  messageOf,
} from '../../shared/errors.ts';
import { isFinished, type NodeStatus, type PullStatus } from '../../shared/pull/status.ts';
import type { Context } from './context.ts';
import { exitCodes } from './errors.ts';
import { Interrupt } from './interrupt.ts';
import { printable } from './output.ts';
import { openView } from './progress/open-view.ts';
import type { ProgressForm } from './progress/view.ts';
import type { PullSource } from './pull-source.ts';

/** Milliseconds between two looks at the embedded fleet: a part of it that died is started again. */
const fleetInterval = 2_000;
/** Nodes whose failures an error names. */
const namedNodes = 5;
/** Milliseconds after which a pull that nobody has taken yet needs an explanation. */
const queuedBound = 2_000;

/**
 * Shows a pull until it has ended.
 * @returns its last state
 * @throws CANCELLED when the person stops looking (the pull goes on), NOT_FOUND, QUEUE_UNAVAILABLE
 */
export async function followPull(
  context: Context,
  source: PullSource,
  id: string,
  options: { progress: ProgressForm; begun: number },
): Promise<PullStatus> {
  const { config } = context;
  using interrupt = new Interrupt();
  using view = await openView(options.progress, {
    begun: options.begun,
    localNode: config.agent.node,
  });
  using fleet = keepFleet(context, (line) => view.say(line));
  try {
    for await (const status of source.watch(id, { signal: interrupt.signal })) {
      if (isFinished(status.state)) {
        view.finish(status);
        if (status.warning !== undefined) {
          process.stderr.write(`warning: ${printable(status.warning)}\n`);
        }
        return status;
      }
      const note = status.note ?? fleet.trouble() ?? (await whyQueued(status, source));
      view.update(note === undefined ? status : { ...status, note });
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw stillGoing(id, asDrayError(error));
  }
  if (interrupt.signal.aborted) {
    throw new DrayError('CANCELLED', `The pull ${id} goes on`, {
      hint: `Follow it with: dray pull-status -w ${id}; end it with: dray cancel ${id}`,
      context: { exitCode: interrupt.exitCode },
    });
  }
  throw pullUnknown(id);
}

export function pullUnknown(id: string): DrayError {
  return new DrayError('NOT_FOUND', `There is no pull ${id}`, { hint: 'dray pulls lists them.' });
}

function stillGoing(id: string, error: DrayError): DrayError {
  return new DrayError(error.code, error.message, {
    cause: error,
    retryable: true,
    hint: `The pull is not lost. When Redis is back, follow it with: dray pull-status -w ${id}`,
  });
}

/** Says what keeps a pull from being taken, once that has lasted for a while. */
async function whyQueued(
  { state, createdAt }: PullStatus,
  source: PullSource,
): Promise<string | undefined> {
  if (state !== 'queued' || Date.now() - createdAt.getTime() < queuedBound) return undefined;
  const trouble = await source.trouble();
  return trouble === undefined
    ? 'waiting: no worker has taken it yet (dray status shows what runs)'
    : `waiting: Redis takes no work: ${trouble}`;
}

interface FleetKeeper extends Disposable {
  /** Why the fleet could not be mended the last time it was tried. */
  trouble: () => string | undefined;
}

function keepFleet(context: Context, say: (line: string) => void): FleetKeeper {
  let trouble: string | undefined;
  if (!context.config.embedded) return { trouble: () => trouble, [Symbol.dispose]: () => {} };
  let isBusy = false;
  const timer = setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    context
      .fleet({ say })
      .then(
        () => {
          trouble = undefined;
        },
        (error: unknown) => {
          trouble = `waiting: ${messageOf(error)}`;
        },
      )
      .finally(() => {
        isBusy = false;
      });
  }, fleetInterval);
  timer.unref();
  return { trouble: () => trouble, [Symbol.dispose]: () => clearInterval(timer) };
}

/** Why a pull failed, as an error; undefined when it did not. */
export function failureOf(status: PullStatus): DrayError | undefined {
  if (status.state === 'cancelled') {
    return new DrayError('CANCELLED', `The pull of ${status.reference} was cancelled`, {
      context: { exitCode: exitCodes.failure },
    });
  }
  if (status.state !== 'failed' && status.state !== 'partial') return undefined;
  if (status.error !== undefined) return decodeError(status.error);
  const failed = status.nodes.filter(({ state }) => state === 'failed');
  const { ready, stopped } = status.counts;
  const context = status.state === 'partial' ? { exitCode: exitCodes.partial } : {};
  const [first] = failed;
  const { code, hint } =
    first?.error === undefined ? { code: 'TIMEOUT' as const, hint: '' } : decodeError(first.error);
  const counts = [
    ...(failed.length === 0 ? [] : [`failed on ${failed.length}`]),
    ...(stopped === 0 ? [] : [`did not begin on ${stopped}`]),
    ...(ready === 0 ? [] : [`is ready on ${ready}`]),
  ];
  const reasons = failed.slice(0, namedNodes).map((node) => `${node.name}: ${reasonOf(node)}`);
  if (failed.length > namedNodes) reasons.push(`and ${failed.length - namedNodes} more`);
  if (stopped > 0 && status.note !== undefined) reasons.push(status.note);
  return new DrayError(
    code,
    `${status.reference} ${inWords(counts)} of ${status.nodes.length} nodes. ${reasons.join('; ')}`,
    { context, ...(hint === undefined || hint === '' ? {} : { hint }) },
  );
}

/** `a, b and c` */
function inWords(parts: readonly string[]): string {
  return parts.join(', ').replace(/, ([^,]*)$/, ' and $1');
}

function reasonOf({ error, layers }: NodeStatus): string {
  const { message } = error ?? encodeError('for no known reason');
  const layer = layers.find(({ state }) => state === 'failed')?.digest;
  return layer === undefined || message.includes(layer) ? message : `layer ${layer}: ${message}`;
}
