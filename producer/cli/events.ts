import type { ContainerEvent } from '../../shared/agent/observe.ts';
import { DrayError } from '../../shared/errors.ts';
import type { Context } from './context.ts';
import { type FollowOptions, withAgent, writeOut } from './foreground.ts';
import { parseSince } from './logs.ts';
import { printable } from './output.ts';

export interface EventFlags {
  since?: string;
  after?: string;
  follow: boolean;
  output: 'table' | 'json';
}

/** `dray events`: each event once, also when the agent is replaced meanwhile. @throws USAGE */
export async function showEvents(context: Context, flags: EventFlags): Promise<void> {
  const options: FollowOptions = { connect: () => context.agent() };
  const { since, after, follow, output } = flags;
  if (after !== undefined && !/^\d{1,15}$/.test(after)) {
    throw new DrayError('USAGE', `--after "${after}" is not the id of an event`);
  }
  let { after: last, events } = await (await options.connect()).containers.events({
    follow,
    ...(since === undefined ? {} : { since: parseSince(since, new Date()) }),
    ...(after !== undefined
      ? { after: Number(after) }
      : since === undefined && !follow
        ? { after: 0 }
        : {}),
  });
  for (;;) {
    try {
      for await (const event of events) {
        last = event.id;
        const line = output === 'json' ? JSON.stringify(event) : lineOf(event);
        if (!(await writeOut(process.stdout, Buffer.from(`${line}\n`)))) return;
      }
      return;
    } catch (error) {
      if (!(error instanceof DrayError) || error.code !== 'AGENT_UNAVAILABLE') throw error;
      process.stderr.write('The agent went away. Waiting for it …\n');
      ({ events } = await withAgent(options, (client) =>
        client.containers.events({ follow, after: last }),
      ));
    }
  }
}

/** For the ids of a node that is not new; longer ones move what follows. */
const idColumns = 5;

function lineOf({
  id,
  at,
  kind,
  container,
  image,
  exitCode,
  error,
  health,
  restarts,
}: ContainerEvent): string {
  const more = [
    ...(exitCode === undefined ? [] : [`exit code ${exitCode}`]),
    ...(health === undefined ? [] : [health]),
    ...(restarts === undefined ? [] : [`restart ${restarts}`]),
    ...(error === undefined ? [] : [error]),
  ].join(', ');
  return printable(
    `${at}  ${String(id).padStart(idColumns)}  ${kind.padEnd(7)} ${container}  ${image}${more && `  (${more})`}`,
  );
}
