import { type Findings, isCommand, knownMetrics, knownVariables, read } from './project.ts';

const pages = ['README.md', 'deploy/OPERATIONS.md', 'deploy/redis/README.md'];
const setting = /\b(DRAY_[A-Z0-9_]+|REDIS_URL)\b/g;

/** What the pages for people name is what the programs have; and every setting is named. */
export function checkPages(found: Findings): void {
  const texts = pages.map((page) => read(page));
  for (const [i, page] of pages.entries()) {
    found.add(`${page} names what there is`, unknownNames(texts[i] ?? ''));
  }
  const named = new Set(texts.flatMap((text) => namesIn(text, setting)));
  found.add(
    'every setting is in one of the pages',
    [...knownVariables()].filter((name) => /^(DRAY_|REDIS_)/.test(name) && !named.has(name)),
  );
}

/** @returns the settings, metrics and commands in a page that there are not */
export function unknownNames(text: string): string[] {
  const metrics = [...knownMetrics()];
  const isMetric = (name: string) =>
    // `dray_pulls_*` are all that begin so.
    metrics.some((each) => each === name || (name.endsWith('_') && each.startsWith(name)));
  return [
    ...namesIn(text, setting)
      .filter((name) => !knownVariables().has(name))
      .map((name) => `no setting ${name}`),
    ...namesIn(text, /\b(dray_[a-z][a-z_]+)/g)
      .filter((name) => !isMetric(name))
      .map((name) => `no metric ${name}`),
    ...namesIn(text, /`(?:npx )?dray ([a-z][a-z-]*)/g)
      .filter((name) => !isCommand(name))
      .map((name) => `no command dray ${name}`),
  ];
}

function namesIn(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map(([, name = '']) => name))];
}
