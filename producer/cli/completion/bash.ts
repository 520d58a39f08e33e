import type { CommandNode } from './tree.ts';

/** A script that bash sources. What it offers is written into it: nothing runs while a person types. */
export function bashScript(nodes: readonly CommandNode[]): string {
  const verbs = nodes.filter(({ commands }) => commands.length > 0);
  const valued = nodes.flatMap(({ path, options }) =>
    options
      .filter((each) => each.takesValue)
      .map(({ flags }) => flags.map((f) => `'${path}:${f}'`)),
  );
  const chosen = nodes.flatMap(({ path, options }) =>
    options
      .filter(({ choices }) => choices.length > 0)
      .map(({ flags, choices }) => ({ keys: flags.map((f) => `'${path}:${f}'`), choices })),
  );
  const passing = nodes.filter(({ passesThrough }) => passesThrough).map(({ path }) => `'${path}'`);
  return `# Completion of dray for bash. In ~/.bashrc: source <(dray completion bash)
_dray_takes_value() {
  case $1 in
    ${valued.flat().join(' | ')}) return 0 ;;
  esac
  return 1
}

_dray() {
  local current=\${COMP_WORDS[COMP_CWORD]} before='' path='' arguments=0 i word next
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]} before=$word
    if [[ $word == -* ]]; then
      # Words that were broken at "=" are one.
      [[ \${COMP_WORDS[i + 1]} == = ]] && { ((i += 2)); continue; }
      if _dray_takes_value "$path:$word" && ((i + 1 < COMP_CWORD)); then ((i++)); before=''; fi
      continue
    fi
    next=$path\${path:+ }$word
    case $next in
      ${nodes
        .filter(({ path }) => path !== '')
        .map(({ path }) => `'${path}'`)
        .join(' | ')}) path=$next ;;
      *) ((arguments++)) ;;
    esac
  done
  case $path in
    ${passing.join(' | ') || "'-'"}) if ((arguments > 0)); then compopt -o default; COMPREPLY=(); return; fi ;;
  esac
  if _dray_takes_value "$path:$before"; then
    case $path:$before in
${chosen
  .map(
    ({ keys, choices }) =>
      `      ${keys.join(' | ')}) COMPREPLY=($(compgen -W '${choices.join(' ')}' -- "$current")) ;;`,
  )
  .join('\n')}
      *) compopt -o default; COMPREPLY=() ;;
    esac
    return
  fi
  local commands='' options=''
  case $path in
${nodes
  .map(
    ({ path, options }) =>
      `    '${path}') options='${options.flatMap(({ flags }) => flags).join(' ')}' ;;`,
  )
  .join('\n')}
  esac
  case $path in
${verbs
  .map(
    ({ path, commands }) =>
      `    '${path}') commands='${commands.map(({ name }) => name).join(' ')}' ;;`,
  )
  .join('\n')}
  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ -n $commands ]] && ((arguments == 0)); then
    COMPREPLY=($(compgen -W "$commands" -- "$current"))
  else
    compopt -o default
    COMPREPLY=()
  fi
}
complete -F _dray dray
`;
}
