import { bindMount } from './mounts.ts';
import type { Spec } from './runtime-spec.ts';
import { findTool } from './tools.ts';

/** Where it is in a container. */
const target = '/sbin/dray-init';

/** The program of the node that is the first process of containers that ask for an init. @throws TOOL_MISSING */
export function findInit(): string {
  return findTool('catatonit');
}

/** The same container with an init as its first process, and its command below that. @param program on the node */
export function withInit(spec: Spec, program: string): Spec {
  return {
    ...spec,
    process: { ...spec.process, args: [target, '--', ...spec.process.args] },
    mounts: [...spec.mounts, bindMount(program, target, true)],
  };
}
