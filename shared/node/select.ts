import { DrayError } from '../errors.ts';
import { platformNames } from '../image/platform.ts';
import { selectableLabels } from './labels.ts';
import type { NodeInfo } from './registry.ts';
import { matches, type Requirement } from './selector.ts';

/** Nodes that a selector chose, and those that it would have chosen. */
export interface Selection {
  chosen: NodeInfo[];
  leftOut: { name: string; why: string }[];
}

/**
 * The nodes that fulfil a selector and can be given something: not lost, not cordoned, and of one of the
 * platforms, where any are asked for.
 * @param platforms as formatPlatforms writes them
 */
export function selectNodes(
  nodes: readonly NodeInfo[],
  selector: readonly Requirement[],
  platforms?: string,
): Selection {
  const names = platforms === undefined ? undefined : platformNames(platforms);
  const chosen: NodeInfo[] = [];
  const leftOut: Selection['leftOut'] = [];
  for (const node of nodes) {
    if (!matches(selector, selectableLabels(node))) continue;
    const why = obstacle(node, names);
    if (why === undefined) chosen.push(node);
    else leftOut.push({ name: node.name, why });
  }
  return { chosen, leftOut };
}

function obstacle(
  { state, mark, platform }: NodeInfo,
  wanted: readonly string[] | undefined,
): string | undefined {
  if (state === 'lost') return 'lost';
  if (mark !== undefined) return mark;
  return wanted === undefined || wanted.includes(platform) ? undefined : platform;
}

/** Nodes that were named can be given something. One that is lost may come back in time. @throws CONFLICT for one that is cordoned */
export function requireUnmarked(nodes: readonly NodeInfo[]): void {
  const marked = nodes.find(({ mark }) => mark !== undefined);
  if (marked === undefined) return;
  throw new DrayError(
    'CONFLICT',
    `The node ${marked.name} is ${marked.mark}: it gets nothing new`,
    {
      hint: `To have it take work again: dray nodes uncordon ${marked.name}`,
    },
  );
}
