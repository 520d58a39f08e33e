import { DrayError } from '../errors.ts';

/** What is said of a node, by whoever set it up: `zone=a`. */
export type Labels = Record<string, string>;

/** As Kubernetes has them: a name, which may have a prefix and a "/" before it; a value, which may be empty. */
const part = '[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?';
export const labelKey = new RegExp(`^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?${part}$`);
export const labelValue = new RegExp(`^(?:${part})?$`);

/** Every node has these by itself: its name, and its platform's parts. Nobody sets them. */
const ownLabels = ['name', 'os', 'arch'] as const;

/** Labels at most of one node. */
const maxLabels = 64;

/** Checks labels that somebody set. @throws USAGE naming the one that is wrong */
export function checkLabels(labels: Labels): Labels {
  const entries = Object.entries(labels);
  if (entries.length > maxLabels) {
    throw new DrayError('USAGE', `A node has ${entries.length} labels, more than ${maxLabels}`);
  }
  for (const [key, value] of entries) {
    const isOwn = ownLabels.some((own) => own === key);
    if (!isOwn && labelKey.test(key) && labelValue.test(value)) continue;
    throw new DrayError('USAGE', `"${key}=${value}" is no label that can be set`, {
      hint: isOwn
        ? `Every node has the labels ${ownLabels.join(', ')} by itself. Choose another name.`
        : 'Write KEY=VALUE of letters, digits, "-", "_" and ".", of 63 characters at most, as in zone=a.',
    });
  }
  return labels;
}

/** Reads `zone=a,gpu=none`. @throws USAGE */
export function parseLabels(text: string): Labels {
  const pairs = text.split(',').map((pair) => pair.trim());
  return checkLabels(
    Object.fromEntries(
      pairs.map((pair) => {
        const equals = pair.indexOf('=');
        if (equals > 0) return [pair.slice(0, equals), pair.slice(equals + 1)];
        throw new DrayError('USAGE', `"${pair}" is no label`, {
          hint: 'Write KEY=VALUE, as in zone=a.',
        });
      }),
    ),
  );
}

/** `gpu=none,zone=a` */
export function formatLabels(labels: Labels): string {
  return Object.entries(labels)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/** What a selector sees of a node: its labels, and those that it has by itself. */
export function selectableLabels(node: { name: string; platform: string; labels: Labels }): Labels {
  const [os = '', arch = ''] = node.platform.split('/');
  return { ...node.labels, name: node.name, os, arch };
}
