import type { Command } from 'commander';
import { DrayError } from '../../shared/errors.ts';
import { attachTo } from './attach.ts';
import { openContext } from './context.ts';
import { ownTerminalSize } from './terminal.ts';

/** `dray start --attach`. @returns the container's exit code @throws USAGE for several, as start does */
export async function startAttached(
  command: Command,
  ids: readonly string[],
  { interactive = false }: { interactive?: boolean },
): Promise<number> {
  const [id = '', ...others] = ids;
  if (others.length > 0) {
    throw new DrayError('USAGE', 'Only one container can be started and attached to', {
      hint: 'Start them without --attach, and follow one: dray logs -f ID',
    });
  }
  const context = await openContext(command);
  const client = await context.agent();
  const { terminal, stdin } = await client.containers.inspect(id);
  if (terminal && stdin && interactive) ownTerminalSize();
  // What it writes from here on is that of this run.
  const { from } = await client.containers.logs(id, { tail: 0 });
  await client.containers.start(id);
  return await attachTo(id, {
    connect: () => context.agent(),
    say: (message: string) => process.stderr.write(`${message}\n`),
    request: { from },
    terminal,
    stdin: stdin && interactive,
    signals: true,
  });
}
