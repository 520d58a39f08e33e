/** The `dray` command. Only what the called command needs is loaded: people wait for it. */
import { setImmediate } from 'node:timers/promises';
import { Command, CommanderError } from 'commander';
import { catalogue } from './catalogue.ts';
import { lendExamples } from './verb-examples.ts';

const footer = `
Without configuration the first command that needs it starts a fleet of its own
on this machine (a private Redis, a worker and an agent): dray up, dray status,
dray down.

Examples:
  dray pull docker.io/library/redis:latest
  dray run --rm docker.io/library/redis:latest redis-server --version

Exit codes:
  0 done, 1 failed, 2 wrong usage, 3 a pull got ready on some of its nodes only,
  128 + n stopped by signal n (130: Ctrl-C),
  141 nobody reads the output. dray run: that of its command, 125 when dray
  failed, 126 the command can't be invoked, 127 it is not there, 128 + n when
  signal n ended it.`;

/** Output could not be written, and that is being said. */
let leaving: Promise<never> | undefined;

void leaveWith(main(process.argv.slice(2)));

async function leaveWith(running: Promise<number>): Promise<void> {
  const exitCode = await running;
  // Streams tell of a failed write a little later.
  await setImmediate();
  await leaving;
  // What is over ends at once, whatever a connection that was dropped still waits for.
  process.exit(exitCode);
}

async function main(args: string[]): Promise<number> {
  leaveWhenNobodyReads();
  const program = new Command('dray')
    .description('Moves container images from registries to nodes, and runs them there.')
    .usage('[--config FILE] COMMAND [ARGUMENTS]')
    .option(
      '--config <file>',
      'configuration file (default: DRAY_CONFIG or /etc/drayage/config.json)',
    )
    .version(await version(args), '-v, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .addHelpText('after', footer)
    .configureOutput({ outputError: (text, write) => write(`dray: ${text}`) })
    .exitOverride();
  const called = calledCommand(args);
  for (const { heading, commands, onNode = false } of catalogue) {
    for (const { name, summary, load } of commands) {
      // What completes all of them has to know all of them.
      if (name === called || called === 'completion') {
        (await load()).register(program);
        const command = program.commands.at(-1)?.helpGroup(heading).summary(summary);
        for (const each of onNode && command !== undefined ? [command, ...command.commands] : []) {
          each.option('--node <name>', 'on another node of the fleet (default: here)');
        }
        if (command !== undefined) lendExamples(command);
      } else {
        program.command(name).description(summary).helpGroup(heading);
      }
    }
  }
  program.addHelpCommand(
    new Command('help')
      .argument('[command]')
      .description('show the help of a command')
      .helpGroup('Others:'),
  );
  if (args.length === 0) {
    program.outputHelp();
    return 0;
  }
  const known = program.commands.find((command) => command.name() === called);
  const instead =
    known === undefined && called !== undefined
      ? (await import('./docker-words.ts')).insteadOf(called)
      : undefined;
  // What only looks alike would lead astray.
  if (instead !== undefined) program.showSuggestionAfterError(false);
  try {
    if (args[0] === 'help' && called !== undefined && known === undefined) {
      program.error(`error: unknown command '${called}'`);
    }
    const verb = args[args.indexOf(called ?? '') + 1];
    if (known !== undefined && known.commands.length > 0 && verb !== undefined) {
      const verbs = [...known.commands.map((command) => command.name()), 'help'];
      if (!verb.startsWith('-') && !verbs.includes(verb)) {
        program.error(`error: unknown command '${called} ${verb}'`);
      }
    }
    await program.parseAsync(args, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      // Its message is printed already.
      const { insteadOfOption } = await import('./docker-words.ts');
      const hint = instead ?? insteadOfOption(error.message) ?? helpFor(program, known, args);
      process.stderr.write(`  hint: ${hint}\n`);
      // Nobody shall take it for the exit code of a container's command.
      return called === 'run' || called === 'exec' ? 125 : 2;
    }
    const { reportError } = await import('./errors.ts');
    return reportError(error);
  }
}

/** What shows the help of the verb that was called wrongly, or else of its command. */
function helpFor(program: Command, command: Command | undefined, args: readonly string[]): string {
  if (command === undefined) return `${program.name()} --help`;
  const verb = command.commands.find((verb) => args.includes(verb.name()))?.name();
  return [program.name(), command.name(), verb, '--help'].filter(Boolean).join(' ');
}

/** The first word that is neither an option of `dray` itself nor its value. */
function calledCommand(args: readonly string[]): string | undefined {
  for (let i = 0; i < args.length; i++) {
    const word = args[i] ?? '';
    if (word === '--config') i++;
    else if (word !== 'help' && !word.startsWith('-')) return word;
  }
  return undefined;
}

async function version(args: readonly string[]): Promise<string> {
  if (!args.includes('-v') && !args.includes('--version')) return '';
  const { ownVersion } = await import('./version.ts');
  return ownVersion();
}

/**
 * As other tools in a pipe do: when its reader is gone, so is the command (128 + SIGPIPE). One that has
 * something to say then listens by itself.
 */
function leaveWhenNobodyReads(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (stream.listenerCount('error') > 1) return;
      if (error.code === 'EPIPE') process.exit(141);
      leaving ??= import('./errors.ts').then(
        ({ outputError, reportError }) => process.exit(reportError(outputError(error))),
        () => process.exit(1),
      );
    });
  }
}
