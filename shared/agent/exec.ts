/** Further processes in containers, and what goes to those that run: the words of both sides of the agent's API. */

/** The window of a terminal. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

/** The first message of a caller. */
export interface ExecRequest {
  /** Program and arguments. */
  args: string[];
  /** `KEY=VALUE`, over those of the container. */
  env?: string[];
  /** Default: that of the container. */
  workingDirectory?: string;
  /** As in RunOptions; default: that of the container. */
  user?: string;
  /** Its standard streams are a terminal of this size. */
  terminal?: TerminalSize;
  /** Whether the caller sends standard input; otherwise it is empty. */
  stdin?: boolean;
  /** The process has no streams, and the answer ends when it runs. */
  detach?: boolean;
}

/**
 * What a caller says between pieces of standard input. One that leaves without `detach` is gone: a terminal is
 * then hung up.
 */
export type CallerMessage =
  | { resize: TerminalSize }
  | { signal: string }
  | { endInput: true }
  | { detach: true };

/** The last message of the agent: how the process ended. */
export interface ExitMessage {
  exit: { exitCode: number; error?: string };
}
