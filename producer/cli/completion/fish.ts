import type { CommandNode } from './tree.ts';

/** A script that fish sources. */
export function fishScript(nodes: readonly CommandNode[]): string {
  const valued = nodes.flatMap(({ path, options }) =>
    options
      .filter((each) => each.takesValue)
      .flatMap(({ flags }) => flags.map((f) => `${path}:${f}`)),
  );
  const paths = nodes.filter(({ path }) => path !== '').map(({ path }) => path);
  const passing = nodes.filter(({ passesThrough }) => passesThrough).map(({ path }) => path);
  const lines = nodes.flatMap(({ path, commands, options }) => [
    ...commands.map(
      ({ name, summary }) =>
        `complete -c dray -n "__dray_at ${quoted(path)} 0" -f -a ${quoted(name)} -d ${quoted(summary)}`,
    ),
    ...options.map(({ flags, summary, takesValue, choices }) => {
      const names = flags.map((flag) =>
        flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
      );
      const value =
        choices.length > 0 ? `-x -a ${quoted(choices.join(' '))}` : takesValue ? '-r' : '-f';
      return `complete -c dray -n "__dray_at ${quoted(path)}" ${names.join(' ')} ${value} -d ${quoted(summary)}`;
    }),
  ]);
  return `# Completion of dray for fish: dray completion fish | source
set -g __dray_paths ${paths.map(quoted).join(' ')}
set -g __dray_valued ${valued.map(quoted).join(' ')}
set -g __dray_passing ${passing.map(quoted).join(' ')}

# Whether the words so far lead to that command; with a 0, and no argument has been given.
function __dray_at
    set -l at ''
    set -l arguments 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if string match -q -- '-*' $word
            contains -- "$at:$word" $__dray_valued; and set skip 1
        else
            set -l next (string trim -- "$at $word")
            if contains -- $next $__dray_paths
                set at $next
            else
                set arguments (math $arguments + 1)
            end
        end
    end
    if test $arguments -gt 0; and contains -- $at $__dray_passing
        return 1
    end
    test "$at" = "$argv[1]"; or return 1
    test (count $argv) = 1; or test $arguments = 0
end

complete -c dray -e
${lines.join('\n')}
`;
}

/** In single quotes, in which fish knows \\\\ and \\' only. */
function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
