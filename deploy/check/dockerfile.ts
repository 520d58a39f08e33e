import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Findings, isCommand, knownVariables, read, root } from './project.ts';

// biome-ignore lint/suspicious/noTemplateCurlyInString: an argument of the Dockerfile
const base = '${NODE_IMAGE}';

interface Stage {
  name: string;
  from: string;
  lines: string[];
}

/** The stages of the Dockerfile, in order. */
export function stages(): Stage[] {
  const joined = read('deploy/Dockerfile').replaceAll(/\\\n\s*/g, '');
  const found: Stage[] = [];
  for (const line of joined.split('\n')) {
    const [, from, name] = /^FROM (\S+) AS (\S+)$/.exec(line) ?? [];
    if (from !== undefined && name !== undefined) found.push({ name, from, lines: [] });
    else found.at(-1)?.lines.push(line);
  }
  return found;
}

/** What the Dockerfile copies is there and in the context; its programs are commands, and run as who they should. */
export async function checkDockerfile(found: Findings): Promise<void> {
  const all = stages();
  const allowed =
    read('.dockerignore')
      .match(/^!(.+)$/gm)
      ?.map((line) => line.slice(1)) ?? [];
  const problems: string[] = [];
  for (const { from, lines } of all) {
    if (from !== base && !all.some(({ name }) => name === from)) {
      problems.push(`${from} is no stage`);
    }
    for (const line of lines.filter(
      (line) => line.startsWith('COPY ') && !line.includes('--from'),
    )) {
      for (const source of line.split(/\s+/).slice(1, -1)) {
        const name = source.replace('./', '');
        if (!existsSync(path.join(root, name))) problems.push(`${name} is not there`);
        if (!allowed.includes(name)) problems.push(`${name} is left out by .dockerignore`);
      }
    }
    for (const line of lines.filter((line) => line.startsWith('COPY --from='))) {
      const [, stage = ''] = /^COPY --from=(\S+)/.exec(line) ?? [];
      if (!all.some(({ name }) => name === stage)) problems.push(`${stage} is no stage`);
    }
    for (const line of lines.filter((line) => line.startsWith('ENV '))) {
      const names = [...line.matchAll(/\b([A-Z][A-Z_0-9]+)=/g)].map(([, name]) => name ?? '');
      problems.push(...names.filter((name) => !knownVariables().has(name)));
    }
  }
  for (const [name, isRoot] of [
    ['worker', false],
    ['api', false],
    ['agent', true],
  ] as const) {
    const stage = all.find((each) => each.name === name);
    const command = /^CMD \["(.+)"\]$/.exec(
      stage?.lines.find((l) => l.startsWith('CMD')) ?? '',
    )?.[1];
    if (!isCommand(command)) problems.push(`the target ${name} runs dray ${command}`);
    const user = stage?.lines.some((line) => line === 'USER 65532:65532') ?? false;
    if (user === isRoot) problems.push(`the target ${name} runs as the wrong user`);
  }
  found.add('deploy/Dockerfile', problems);
}
