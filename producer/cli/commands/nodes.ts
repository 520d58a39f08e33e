import type { Command } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray nodes`: the nodes of the fleet. */
export function register(program: Command): void {
  const nodes = program
    .command('nodes')
    .description(
      'List the nodes of the fleet, and say which get new work. Without a verb it lists, with the options of ls.',
    )
    .addHelpText(
      'after',
      `
Examples:
  dray nodes
  dray nodes -o wide --selector 'zone=a,gpu!=none'
  dray nodes cordon node-a
  dray nodes uncordon node-a
  dray nodes drain --stop-containers node-a
  dray nodes rm node-a`,
    );
  listOptions(
    nodes
      .command('ls', { isDefault: true })
      .summary('list nodes')
      .description(
        'List nodes. One whose agent was not heard of for 30 s is lost; "!" says that it has a problem, which -o wide shows. -o json has the images that each holds.',
      )
      .option('-l, --selector <selector>', "only these, as in 'zone=a,gpu!=none'"),
    'only the names',
  ).action(async (options: ListOptions & { selector?: string }, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { printNodes } = await import('../node-listing.ts');
    await printNodes(await openContext(command), options);
  });

  verb(
    nodes,
    'cordon',
    'give nodes nothing new',
    'Give nodes nothing new. What is under way there goes on.',
  ).action(async (names: string[], _options: object, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { cordonNodes } = await import('../node-listing.ts');
    await cordonNodes(await openContext(command), names, true);
  });
  verb(
    nodes,
    'uncordon',
    'have nodes take work again',
    'Have nodes take work again that were cordoned or drained.',
  ).action(async (names: string[], _options: object, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { cordonNodes } = await import('../node-listing.ts');
    await cordonNodes(await openContext(command), names, false);
  });
  verb(
    nodes,
    'drain',
    'give nodes nothing new, and take from them what is under way',
    'Give nodes nothing new, take from them what pulls still want of them, and wait until they are idle. Images stay, and containers run on unless they are to be stopped: nothing starts them elsewhere.',
  )
    .option('--stop-containers', 'stop their containers as well, as dray stop does')
    .action(async (names: string[], options: { stopContainers?: boolean }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { drainNodes } = await import('../drain-nodes.ts');
      await drainNodes(await openContext(command), names, options);
    });
  verb(
    nodes,
    'rm',
    'forget nodes that are lost',
    'Forget nodes that are lost. Pulls that wait for one go on without it.',
  ).action(async (names: string[], _options: object, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { removeNodes } = await import('../node-listing.ts');
    await removeNodes(await openContext(command), names);
  });
}

function verb(nodes: Command, name: string, summary: string, description: string): Command {
  return nodes
    .command(name)
    .summary(summary)
    .description(description)
    .argument('<name...>', 'the nodes');
}
