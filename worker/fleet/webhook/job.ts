import type { Config } from '../../../shared/config/config.ts';
import type { PullRecord } from '../../../shared/pull/record.ts';
import type { PullRecords } from '../../../shared/pull/records.ts';
import { isFinished } from '../../../shared/pull/status.ts';
import type { FollowUp } from '../../../shared/queue/jobs.ts';
import type { WebhookPayload } from '../../../shared/queue/payloads.ts';
import { sendWebhook } from './send.ts';

/** Tells the webhook of a pull that it has ended. Told twice, it is the same message. */
export async function webhookJob(
  { pull }: WebhookPayload,
  services: { records: PullRecords; webhooks: Config['webhooks'] },
  options: { signal: AbortSignal },
): Promise<FollowUp[]> {
  const { records, webhooks } = services;
  const record = await records.get(pull);
  if (record?.webhook !== undefined && isFinished(record.state)) {
    const message = { id: `pull.${pull}`, url: record.webhook, body: bodyOf(record) };
    await sendWebhook(message, webhooks, options);
  }
  await records.told(pull);
  return [];
}

/** Jobs for the webhooks that are owed, for whoever looks after pulls: the end of a pull and its debt are one step. */
export async function owedWebhooks(records: PullRecords): Promise<FollowUp[]> {
  const owed = await records.owed();
  return owed.map((pull) => ({ queue: 'webhook', pull, priority: 'normal' }));
}

function bodyOf(record: PullRecord): string {
  const { id, reference, platform, state, createdAt, finishedAt, target, error, nodes } = record;
  return JSON.stringify({
    type: `pull.${state}`,
    timestamp: (finishedAt ?? new Date()).toISOString(),
    data: {
      ...{ id, reference, platform, state, createdAt, finishedAt, target, nodes },
      ...(error === undefined ? {} : { error }),
    },
  });
}
