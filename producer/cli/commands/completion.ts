import { Argument, type Command } from 'commander';

/** `dray completion`: what a shell needs to complete commands and options. */
export function register(program: Command): void {
  program
    .command('completion')
    .description(
      'Print a script that lets a shell complete the commands of dray, their options, and what those can be.',
    )
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      `
Examples:
  source <(dray completion bash)         # in ~/.bashrc
  source <(dray completion zsh)          # in ~/.zshrc, after compinit
  dray completion fish | source          # in ~/.config/fish/config.fish
  dray completion bash > /etc/bash_completion.d/dray`,
    )
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const { commandTree } = await import('../completion/tree.ts');
      const nodes = commandTree(program);
      const script = {
        bash: async () => (await import('../completion/bash.ts')).bashScript(nodes),
        zsh: async () => (await import('../completion/zsh.ts')).zshScript(nodes),
        fish: async () => (await import('../completion/fish.ts')).fishScript(nodes),
      }[shell];
      process.stdout.write(await script());
    });
}
