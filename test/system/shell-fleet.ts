import { startDray, type TestDray } from '../support/dray.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { pushShellImage } from '../support/shell-image.ts';

/** An embedded fleet whose node holds the image with a shell. */
export interface ShellFleet extends AsyncDisposable {
  cli: TestDray;
  image: string;
  /** Where the image is from. */
  registry: TestRegistry;
}

/** Starts it, with that registry. */
export async function startShellFleet(): Promise<ShellFleet> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const cli = stack.use(await startDray());
  const { reference: image } = await pushShellImage(registry.host);
  await cli.dray('pull', image);
  const started = stack.move();
  return { cli, image, registry, [Symbol.asyncDispose]: () => started.disposeAsync() };
}
