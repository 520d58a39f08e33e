import type { Command } from 'commander';
import { documentCommand } from '../document-command.ts';

/** `dray config`: prints the configuration of an image. */
export function register(program: Command): void {
  documentCommand(program, 'config', {
    description: 'Print the configuration of an image, byte for byte.',
    platform: "of an index (default: this machine's)",
    print: 'printConfig',
  });
}
