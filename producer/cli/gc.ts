import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError } from '../../shared/errors.ts';
import type { GcItem, GcReport } from '../../shared/gc/report.ts';
import { type GcRequest, GcRequests, partsOf, storePart } from '../../shared/gc/requests.ts';
import { queueError } from '../../shared/queue/connection.ts';
import { JobQueues } from '../../shared/queue/jobs.ts';
import { type GcDemand, requestGc } from '../gc.ts';
import type { Context } from './context.ts';
import { Interrupt } from './interrupt.ts';
import { formatBytes, formatList, type OutputForm, outputWidth, printValue } from './output.ts';

export interface GcOptions extends GcDemand {
  output: OutputForm;
}

/** Milliseconds between two looks, and until it is said whom it waits for. */
const poll = 150;
const patience = 5_000;

/** `dray gc` @throws NOT_FOUND, QUEUE_UNAVAILABLE; CONFLICT when something kept a part from its work */
export async function runGc(context: Context, options: GcOptions): Promise<void> {
  const { dryRun, output } = options;
  const { redis: settings } = context.config;
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  await using queue = await context.openQueue({ signal });
  const { redis } = queue;
  let parts: Map<string, GcReport>;
  try {
    const { prefix } = settings;
    await using queues = new JobQueues(redis, prefix);
    const request = await requestGc(options, { redis, prefix, queues });
    const { lost } = request;
    if (lost.length > 0) say(`not asked, since they are lost: ${lost.join(', ')}`);
    parts = await answersOf(new GcRequests(redis, prefix), request, signal);
  } catch (error) {
    if (signal.aborted || error instanceof DrayError) throw error;
    throw queueError(error, settings, redis);
  }
  const list = [...parts].map(([part, report]) => ({ part, ...report }));
  printValue({ dryRun, parts: list }, output, () => textOf(parts, dryRun));
  const problems = list.flatMap((each) => each.problems.map((why) => `${each.part}: ${why}`));
  if (problems.length === 0) return;
  throw new DrayError('CONFLICT', `Not everything could be looked at. ${problems.join('\n')}`, {
    hint: 'What is listed went all the same; the rest stays until that is mended.',
  });
}

async function answersOf(
  requests: GcRequests,
  request: GcRequest,
  signal: AbortSignal,
): Promise<Map<string, GcReport>> {
  const wanted = partsOf(request);
  const begun = performance.now();
  let isSaid = false;
  for (;;) {
    const answers = await requests.answers(request.id);
    const missing = wanted.filter((part) => !answers.has(part));
    if (missing.length === 0) {
      return new Map(wanted.flatMap((part) => [...answers].filter(([name]) => name === part)));
    }
    if (!isSaid && performance.now() - begun > patience) {
      isSaid = true;
      say(
        `waiting for: ${missing.map((part) => (part === storePart ? 'a worker' : part)).join(', ')}`,
      );
    }
    await sleep(poll, undefined, { signal });
  }
}

function textOf(parts: ReadonlyMap<string, GcReport>, dryRun: boolean): string {
  const rows = [...parts].flatMap(([part, { items }]) => items.map((item) => ({ part, ...item })));
  const table =
    rows.length === 0
      ? ''
      : formatList(
          rows,
          { output: 'table' },
          {
            headings: ['WHERE', 'WHAT', 'NAME', 'SIZE', 'WHY'],
            row: (item: GcItem & { part: string }) => [
              ...[item.part.replace(/^node /, ''), item.kind, item.name],
              ...[item.kind === 'image' ? '-' : formatBytes(item.bytes), item.why],
            ],
            name: ({ name }) => name,
          },
          outputWidth(),
        );
  return `${table}${[...parts].map(([part, report]) => sumOf(part, report, dryRun)).join('')}`;
}

function sumOf(part: string, { items, kept, more }: GcReport, dryRun: boolean): string {
  const count = items.length + (more?.count ?? 0);
  const bytes = items.reduce((sum, item) => sum + item.bytes, more?.bytes ?? 0);
  const what =
    count === 0
      ? `nothing ${dryRun ? 'would go' : 'went'}`
      : `${formatBytes(bytes)} in ${count} ${dryRun ? 'would go' : 'went'}`;
  const stays = kept.map(
    (each) =>
      `  ${each.count}${each.bytes > 0 ? ` (${formatBytes(each.bytes)})` : ''} stay: ${each.why}\n`,
  );
  return `${part}: ${what}${more === undefined ? '' : `, ${more.count} of them not listed`}\n${stays.join('')}`;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
