import type { LineOptions } from './lines.ts';
import type { ProgressForm, ProgressView } from './view.ts';

/**
 * The view of a form, on stderr. `auto`: live lines on a terminal, else plain ones.
 * @param options.begun when the command began, in milliseconds of `performance.now()`
 */
export async function openView(
  form: ProgressForm,
  options: LineOptions & { begun: number; env?: NodeJS.ProcessEnv },
): Promise<ProgressView> {
  const stream = process.stderr;
  const env = options.env ?? process.env;
  const isTerminal = stream.isTTY && env.TERM !== 'dumb';
  switch (form === 'auto' ? (isTerminal ? 'tty' : 'plain') : form) {
    case 'tty': {
      const { TerminalView } = await import('./tty.ts');
      const color = isTerminal && (env.NO_COLOR ?? '') === '';
      return new TerminalView({ ...options, stream, color });
    }
    case 'plain': {
      const { PlainView } = await import('./plain.ts');
      return new PlainView({ ...options, stream });
    }
    case 'json': {
      const { JsonView } = await import('./json.ts');
      return new JsonView({ stream });
    }
    case 'none':
      return {
        update: () => {},
        finish: () => {},
        say: (line) => stream.write(`${line}\n`),
        [Symbol.dispose]: () => {},
      };
  }
}
