import { Argument, type Command, Option } from 'commander';
import { outputForms } from './output.ts';
import { progressForms } from './progress/view.ts';

/** The options that every listing has: `-o table|wide|json|yaml` and `-q`. */
export function listOptions(command: Command, quiet: string): Command {
  return outputOption(command).option('-q, --quiet', quiet);
}

export function outputOption(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <form>', 'how it is printed')
      .choices([...outputForms])
      .default('table'),
  );
}

/** What a command about an image is told first. */
export function referenceArgument(): Argument {
  return new Argument('<reference>', '[host[:port]/]repository[:tag][@digest]');
}

export function progressOption(): Option {
  return new Option('--progress <form>', 'auto: live lines on a terminal, else plain ones')
    .choices([...progressForms])
    .default('auto');
}

export function credentialOption(): Option {
  return new Option(
    '--credential <name>',
    'the login that the workers use, by its name there (default: what they have for the registry)',
  );
}

/** @param more further words that it takes */
export function pullPolicyOption(usual: string, more = ''): Option {
  return new Option(
    '--pull <when>',
    `ask the registry for a tag that is there: always, missing (never), or if-stale=DURATION, as in if-stale=12h${more}`,
  ).default(usual);
}

/** `--platform` and `--all-platforms`: what {@link platformOf} reads. @param unasked whose it is where none is asked for */
export function platformOptions(command: Command, unasked = "this machine's"): Command {
  return command
    .option(
      '--platform <os/arch>',
      `of an index, several with commas between, or all (default: ${unasked})`,
    )
    .addOption(new Option('--all-platforms', 'the same as --platform all').conflicts('platform'));
}

export interface PlatformOptions {
  platform?: string;
  allPlatforms?: boolean;
}

/** The platform that was asked for, as a part of a request. */
export function platformOf({ platform, allPlatforms }: PlatformOptions): { platform?: string } {
  if (allPlatforms === true) return { platform: 'all' };
  return platform === undefined ? {} : { platform };
}

/** For an option that may stand several times. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}
