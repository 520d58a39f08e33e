import type { Command } from 'commander';
import { documentCommand } from '../document-command.ts';

/** `dray manifest`: prints an index or manifest. */
export function register(program: Command): void {
  documentCommand(program, 'manifest', {
    description:
      'Print the index or manifest that a reference leads to, byte for byte; with --platform the manifest of that platform.',
    platform: 'the manifest of this platform',
    print: 'printManifest',
  });
}
