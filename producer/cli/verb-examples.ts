import type { EventEmitter } from 'node:events';
import type { Command } from 'commander';

/**
 * Lets the help of each verb of a command show those of the command's examples that are of that verb, where it has
 * none of its own. A verb that may be left out gets those without one as well.
 */
export function lendExamples(command: Command): void {
  const examples = examplesOf(command);
  const { _defaultCommandName: usual } = command as unknown as { _defaultCommandName?: string };
  const verbs = command.commands.map((verb) => verb.name());
  for (const verb of command.commands) {
    if (examplesOf(verb).length > 0) continue;
    const own = examples.filter((line) => {
      const [, next = ''] = new RegExp(`\\b${command.name()}(?: (\\S+)|$)`).exec(line) ?? [];
      return next === verb.name() || (verb.name() === usual && !verbs.includes(next));
    });
    if (own.length > 0) verb.addHelpText('after', `\nExamples:\n${own.join('\n')}`);
  }
}

/** The lines below "Examples:" in what a command prints after its help. */
function examplesOf(command: Command): string[] {
  let text = '';
  const write = (part: string) => {
    text += part;
  };
  (command as unknown as EventEmitter).emit('afterHelp', { error: false, command, write });
  const [, examples = ''] = text.split(/^Examples:\n/m);
  return examples.split('\n').filter((line) => line.startsWith('  '));
}
