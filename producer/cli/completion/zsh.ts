import type { CommandNode } from './tree.ts';

/** A script that zsh sources, or autoloads as `_dray`. */
export function zshScript(nodes: readonly CommandNode[]): string {
  const valued = nodes.flatMap(({ path, options }) =>
    options
      .filter((each) => each.takesValue)
      .flatMap(({ flags }) => flags.map((f) => `'${path}:${f}'`)),
  );
  const chosen = nodes.flatMap(({ path, options }) =>
    options
      .filter(({ choices }) => choices.length > 0)
      .map(({ flags, choices }) => ({ keys: flags.map((f) => `'${path}:${f}'`), choices })),
  );
  const passing = nodes.filter(({ passesThrough }) => passesThrough).map(({ path }) => `'${path}'`);
  return `#compdef dray
# Completion of dray for zsh. In ~/.zshrc, after compinit: source <(dray completion zsh)
_dray_takes_value() {
  case $1 in
    (${valued.join('|')}) return 0 ;;
  esac
  return 1
}

_dray() {
  local before='' at='' word next
  integer arguments=0 i
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i] before=$word
    if [[ $word == -* ]]; then
      if _dray_takes_value "$at:$word" && ((i + 1 < CURRENT)); then ((i++)); before=''; fi
      continue
    fi
    next=$at\${at:+ }$word
    case $next in
      (${nodes
        .filter(({ path }) => path !== '')
        .map(({ path }) => `'${path}'`)
        .join('|')}) at=$next ;;
      (*) ((arguments++)) ;;
    esac
  done
  case $at in
    (${passing.join('|') || "'-'"}) if ((arguments > 0)); then _files; return; fi ;;
  esac
  if _dray_takes_value "$at:$before"; then
    case $at:$before in
${chosen
  .map(({ keys, choices }) => `      (${keys.join('|')}) compadd -- ${choices.join(' ')} ;;`)
  .join('\n')}
      (*) _files ;;
    esac
    return
  fi
  local -a commands options
  case $at in
${nodes
  .map(
    ({ path, options, commands }) => `    ('${path}')
      options=(${options.flatMap(({ flags, summary }) => flags.map((f) => described(f, summary))).join(' ')})
      commands=(${commands.map(({ name, summary }) => described(name, summary)).join(' ')}) ;;`,
  )
  .join('\n')}
  esac
  if [[ $words[CURRENT] == -* ]]; then
    _describe -o 'option' options
  elif (($#commands)) && ((arguments == 0)); then
    _describe 'command' commands
  else
    _files
  fi
}
if [[ $funcstack[1] == _dray ]]; then _dray "$@"; else compdef _dray dray; fi
`;
}

/** `word:what it is`, quoted. */
function described(word: string, summary: string): string {
  const text = `${word.replaceAll(':', '\\:')}:${summary}`;
  return `'${text.replaceAll("'", "'\\''")}'`;
}
