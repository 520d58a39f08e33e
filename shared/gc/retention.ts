import type { ImageRecord } from '../content/store.ts';
import { parseReference } from '../image/reference.ts';

/** Which names of images stay. The first rule that matches a name counts; a name without one stays. */
export interface RetentionRule {
  /** Matches whole names; `*` stands for any characters: `ghcr.io/org/*`. */
  images: string;
  /** Milliseconds: what nobody has pulled for longer may go. Default: at once. */
  unusedForMs?: number;
  /** As many of each repository stay all the same: those that were pulled last. Default: none. */
  keep?: number;
}

export interface Expired {
  record: ImageRecord;
  why: string;
}

/** When an image was pulled last, as far as is known. */
export function lastPulled({ pulledAt, updatedAt }: ImageRecord): Date {
  return pulledAt === undefined || pulledAt < updatedAt ? updatedAt : pulledAt;
}

/** The names that may go by the rules. */
export function expired(
  records: readonly ImageRecord[],
  rules: readonly RetentionRule[],
  now = new Date(),
): Expired[] {
  const found: Expired[] = [];
  const byRepository = Map.groupBy(records, ({ name }) => {
    const { registry, repository } = parseReference(name);
    return `${registry}/${repository}`;
  });
  for (const [repository, images] of byRepository) {
    const newest = images.toSorted((a, b) => lastPulled(b).getTime() - lastPulled(a).getTime());
    for (const [rank, record] of newest.entries()) {
      const rule = rules.find(({ images }) => matches(images, record.name));
      if (rule === undefined) continue;
      const { unusedForMs = 0, keep = 0 } = rule;
      const unusedMs = now.getTime() - lastPulled(record).getTime();
      if (rank < keep || unusedMs <= unusedForMs) continue;
      const last = keep === 0 ? '' : `, and ${keep} of ${repository} were pulled later`;
      found.push({
        record,
        why: `rule "${rule.images}": not pulled for ${daysOf(unusedMs)}${last}`,
      });
    }
  }
  return found;
}

function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[^\w]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}

function daysOf(ms: number): string {
  const hours = Math.floor(ms / 3_600_000);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}
