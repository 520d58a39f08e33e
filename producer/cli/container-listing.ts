import type { Command } from 'commander';
import { aliveStates } from '../../shared/agent/containers.ts';
import type { PsOptions } from './commands/ps.ts';
import { parseFilters } from './container-filter.ts';
import { containerColumns } from './container-table.ts';
import { openContext } from './context.ts';
import { printList } from './output.ts';
import { parseWhole } from './run/quantities.ts';

/** `dray ps`. */
export async function listContainers(command: Command, asked: PsOptions): Promise<void> {
  const { filter = [], all = false, latest, last } = asked;
  const { isOfAll, keeps } = parseFilters(filter);
  const most = latest === true ? 1 : last === undefined ? 0 : parseWhole('--last', last);
  const options =
    asked.trunc || asked.output !== 'table' ? asked : { ...asked, output: 'wide' as const };
  const client = await (await openContext(command)).agent();
  const found = (await client.containers.list()).filter(
    (container) =>
      (all || isOfAll || most > 0 || aliveStates.has(container.state)) && keeps(container),
  );
  const shown = most > 0 ? found.slice(-most) : found;
  const isTable = options.output === 'table' || options.output === 'wide';
  const columns = containerColumns(options.output, new Date());
  // People look for the newest.
  printList(isTable && options.quiet !== true ? shown.toReversed() : shown, options, columns);
}
