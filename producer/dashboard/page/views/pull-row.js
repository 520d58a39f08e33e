import { h } from '../dom.js';
import { bytes, plural } from '../format.js';
import { age, badge, bar } from '../parts.js';

/** @typedef {import('../../../client/api.ts').PullSummary} PullSummary */

/** One pull in a list. @param {PullSummary} pull */
export function pullRow(pull) {
  const { id, reference, state, blobs, nodes, createdAt, finishedAt, note, error } = pull;
  const isOpen = finishedAt === undefined;
  const share = blobs.size === 0 ? 0 : blobs.bytes / blobs.size;
  const why = error?.message ?? note;
  return h(
    'li.pull-row',
    { key: id, 'data-pull': id, 'data-state': state },
    h('a.name', { href: `#/pulls/${id}`, title: reference }, reference),
    badge(state),
    h(
      'div.progress',
      {},
      bar({
        ...(isOpen && blobs.total === 0 ? {} : { value: state === 'ready' ? 1 : share }),
        label: `${bytes(blobs.bytes)} of ${bytes(blobs.size)} in the store`,
        tone:
          state === 'failed'
            ? 'bad'
            : state === 'partial'
              ? 'warn'
              : state === 'ready'
                ? 'good'
                : '',
      }),
      h(
        'span.figures',
        {},
        blobs.total === 0
          ? 'size not known'
          : isOpen
            ? `${bytes(blobs.bytes)} of ${bytes(blobs.size)}`
            : bytes(blobs.size),
      ),
      h(
        'span.figures',
        {},
        nodes.total === 0 ? 'store only' : `${nodes.ready} of ${plural(nodes.total, 'node')} ready`,
      ),
    ),
    age(finishedAt ?? createdAt),
    why !== undefined && h('p.why', { class: error === undefined ? undefined : 'bad' }, why),
  );
}
