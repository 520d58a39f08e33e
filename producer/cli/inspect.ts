import type { Command } from 'commander';
import type { ContainerStatus } from '../../shared/agent/containers.ts';
import { DrayError } from '../../shared/errors.ts';
import { openContext } from './context.ts';
import { throwFailures } from './each-container.ts';

/** `dray inspect`: those that are there are printed, also where others are not. */
export async function inspectContainers(command: Command, ids: readonly string[]): Promise<void> {
  const { containers } = await (await openContext(command)).agent();
  const found: ContainerStatus[] = [];
  const failures: unknown[] = [];
  for (const id of ids) {
    try {
      if (/[/:]/.test(id)) throw isImage(id);
      found.push(await containers.inspect(id));
    } catch (error) {
      failures.push(error);
    }
  }
  if (found.length > 0) process.stdout.write(`${JSON.stringify(found, undefined, 2)}\n`);
  throwFailures(failures);
}

function isImage(text: string): DrayError {
  return new DrayError('USAGE', `"${text}" is not the id of a container`, {
    hint: `Of an image: dray config ${text}, or dray manifest ${text}.`,
  });
}
