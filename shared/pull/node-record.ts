import type { EncodedError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import type { LayerState, NodeLayerStatus, NodeState, NodeStatus } from './status.ts';

/** How a node is with a pull, as its agent writes it. */
export interface NodeRecord {
  state: Exclude<NodeState, 'stopped'>;
  layers: NodeLayerStatus[];
  error?: EncodedError;
}

/** A layer's state as one letter; one that was there before has a letter of its own. */
const letters: Record<LayerState, string> = {
  waiting: 'w',
  unpacking: 'u',
  done: 'd',
  failed: 'f',
};
const existed = 'e';

interface Stored {
  s: NodeRecord['state'];
  /** Each layer in the order of the manifest, as `u1234` or `d`: its state, and its bytes where there are any. */
  l?: string;
  e?: EncodedError;
}

/** The record as Redis has it: short, since there is one for each node of each pull. */
export function encodeNode({ state, layers, error }: NodeRecord): string {
  const codes = layers.map((layer) =>
    layer.existed ? existed : `${letters[layer.state]}${layer.bytes > 0 ? layer.bytes : ''}`,
  );
  const stored: Stored = {
    s: state,
    ...(codes.length === 0 ? {} : { l: codes.join(',') }),
    ...(error === undefined ? {} : { e: error }),
  };
  return JSON.stringify(stored);
}

/** The stored record of a node that has failed, with the layers that it had told of. */
export function failedNode(stored: string | null, error: EncodedError): string {
  const { l } = stored === null ? {} : (JSON.parse(stored) as Partial<Stored>);
  return JSON.stringify({ s: 'failed', ...(l === undefined ? {} : { l }), e: error });
}

/** @param digests of the layers, in the order of the manifest that the node unpacks */
export function decodeNode(
  node: Pick<NodeStatus, 'name' | 'platform'>,
  text: string,
  digests: readonly Digest[],
): NodeStatus {
  const { s: state, l: codes, e: error } = JSON.parse(text) as Stored;
  const layers = (codes?.split(',') ?? []).flatMap((code, index): NodeLayerStatus[] => {
    const digest = digests[index];
    if (digest === undefined) return [];
    if (code === existed) return [{ digest, state: 'done', bytes: 0, existed: true }];
    const [state] = Object.entries(letters).find(([, letter]) => letter === code[0]) ?? ['waiting'];
    return [{ digest, state: state as LayerState, bytes: Number(code.slice(1)), existed: false }];
  });
  return { ...node, state, layers, ...(error === undefined ? {} : { error }) };
}
