import type { Command, Option } from 'commander';

export interface OptionNode {
  /** `-o`, `--output`: the short form first. */
  flags: string[];
  summary: string;
  /** A value follows. */
  takesValue: boolean;
  /** What the value can be; empty: anything. */
  choices: string[];
}

/** A command, or a verb of one. */
export interface CommandNode {
  /** The words that lead to it, as in `images ls`; empty for `dray` itself. */
  path: string;
  summary: string;
  commands: { name: string; summary: string }[];
  options: OptionNode[];
  /** What follows its first argument is not dray's. */
  passesThrough: boolean;
}

/** Every command with its options. @param program with all commands registered */
export function commandTree(program: Command): CommandNode[] {
  return nodesOf(program, '');
}

function nodesOf(command: Command, path: string): CommandNode[] {
  const { options, commands } = command;
  const help = {
    flags: ['-h', '--help'],
    summary: 'show its help',
    takesValue: false,
    choices: [],
  };
  const { _passThroughOptions: passesThrough = false } = command as unknown as {
    _passThroughOptions?: boolean;
  };
  const node: CommandNode = {
    path,
    summary: summaryOf(command),
    commands: [
      ...commands.map((each) => ({ name: each.name(), summary: summaryOf(each) })),
      ...(commands.length > 0 ? [{ name: 'help', summary: 'show the help of a command' }] : []),
    ],
    options: [...options.filter(({ hidden }) => !hidden).map(optionNode), help],
    passesThrough,
  };
  const below = commands.flatMap((each) => nodesOf(each, `${path} ${each.name()}`.trim()));
  // A verb that may be left out lends its options.
  const { _defaultCommandName: usual } = command as unknown as { _defaultCommandName?: string };
  const lent = below.find((each) => each.path === `${path} ${usual}`)?.options ?? [];
  const known = new Set(node.options.flatMap(({ flags }) => flags));
  node.options.push(...lent.filter(({ flags }) => !flags.some((flag) => known.has(flag))));
  return [node, ...below];
}

function optionNode(option: Option): OptionNode {
  const { short, long, description, argChoices } = option;
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    summary: description,
    takesValue: option.required || option.optional,
    choices: argChoices ?? [],
  };
}

function summaryOf(command: Command): string {
  return command.summary() || command.description();
}
