import { type Command, Option } from 'commander';
import { DrayError } from '../../shared/errors.ts';

/** What people ask docker's templates for, and where jq finds it here. */
const fields: readonly [RegExp, string][] = [
  [/\.(ID|Id|Names?)\b/, '.id'],
  [/\.(Config\.)?Image\b/, '.image'],
  [/\.(State\.Status|Status|State)\b/, '.state'],
  [/\.State\.Running\b/, '.state == "running"'],
  [/\.State\.ExitCode\b/, '.exitCode'],
  [/\.State\.Pid\b/, '.pid'],
  [/\.State\.StartedAt\b/, '.startedAt'],
  [/\.State\.OOMKilled\b/, '.oomKilled'],
  [/\.State\.Health\.Status\b/, '.health.state'],
  [/\.RestartCount\b/, '.restarts'],
  [/\.IPAddress\b/, '.network.addresses[]'],
  [/\.Ports\b/, '.network.ports'],
  [/\.Mounts\b/, '.mounts'],
  [/\.Labels?\b/, '.labels'],
];

/**
 * Docker's `--format`, which this command does not have: its templates are Go's, and of docker's own nouns. Who writes
 * one is told what does the same here.
 * @param json prints everything as a JSON list
 */
export function refuseTemplates(command: Command, flags: string, json: string): void {
  command.addOption(
    new Option(`${flags} <template>`).hideHelp().argParser((template: string) => {
      const isWhole = /^(json|\{\{\s*json \.\s*\}\})$/.test(template);
      const found = fields
        .filter(([name]) => name.test(template.replace('.State.Status', '.Status')))
        .map(([, field]) => field);
      const wanted = isWhole ? '' : ` | jq -r '.[] | ${found.join(', ') || '…'}'`;
      throw new DrayError(
        'USAGE',
        'There is no --format here: JSON and jq do what its templates do',
        {
          hint: `${json}${wanted}`,
        },
      );
    }),
  );
}
