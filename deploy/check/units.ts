import { globSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Findings, isCommand, knownVariables, read, root, run } from './project.ts';

/** systemd's own measure of exposure, in tenths: what a unit that needs no rights may have at most. */
const mostExposed = 20;

/** The systemd units, as systemd reads them, and what they promise. */
export async function checkUnits(found: Findings): Promise<void> {
  const temporary = await mkdtemp(path.join(tmpdir(), 'dray-check-'));
  try {
    for (const file of globSync('deploy/systemd/*.service', { cwd: root }).sort()) {
      const text = read(file);
      // What it starts has to be there.
      const copy = path.join(temporary, path.basename(file));
      const launcher = path.join(root, 'producer/cli/dray');
      await writeFile(copy, text.replaceAll('/usr/local/bin/dray', launcher));
      const { code, output } = await run('systemd-analyze', ['verify', copy]);
      if (code === 127) found.leave(file, 'systemd-analyze is not installed');
      // It tells of unknown settings on standard error, and ends with 0.
      else found.add(`systemd-analyze verify ${file}`, output === '' ? [] : output.split('\n'));
      const command = /^ExecStart=\/usr\/local\/bin\/dray (\S+)/m.exec(text)?.[1];
      const variables = [...text.matchAll(/^Environment=(\w+)=/gm)].map(([, name]) => name ?? '');
      found.add(`${file} starts a command, with settings that it knows`, [
        ...(isCommand(command) ? [] : [`dray ${command} is no command`]),
        ...variables.filter((name) => !knownVariables().has(name)),
      ]);
      if (file.endsWith('drayage-agent.service')) {
        const wanted = ['KillMode=process', 'Delegate=yes'];
        found.add(
          'containers outlive the agent',
          wanted.filter((line) => !text.includes(`\n${line}\n`)),
        );
        continue;
      }
      const exposure = await run('systemd-analyze', [
        ...['security', '--offline=yes', `--threshold=${mostExposed}`, copy],
      ]);
      if (exposure.code === 127) continue;
      const last = exposure.output.split('\n').slice(-1);
      found.add(`${file} is hardened`, exposure.code === 0 ? [] : last);
    }
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
