import { ask } from '../api.js';
import { h } from '../dom.js';
import { number, plural, short } from '../format.js';
import { LiveView } from '../live-view.js';
import { age, empty } from '../parts.js';

/**
 * @typedef {import('../../../client/api.ts').Queue} Queue
 * @typedef {import('../../../client/api.ts').FailedJob} FailedJob
 * @typedef {import('../../../client/api.ts').FailedJobList} FailedJobList
 * @typedef {import('../../../client/api.ts').Retried} Retried
 * @typedef {{ queue: string, count: number, jobs: FailedJob[] }} Failed
 */

/** Jobs of one queue that are shown; and queues, those with most of them first. */
const shownJobs = 50;
const shownQueues = 20;

/** What was given up, and why; to be done again, or to be forgotten. @extends {LiveView<Failed[]>} */
class FailedView extends LiveView {
  /** @override */
  interval = 4_000;

  /** @override @param {{ signal: AbortSignal }} options @returns {Promise<Failed[]>} */
  async load(options) {
    const { items } = /** @type {{ items: Queue[] }} */ (await ask('/v1/queues', options));
    const failed = items
      .map(({ name, jobs }) => ({ queue: name, count: jobs.failed ?? 0 }))
      .filter(({ count }) => count > 0)
      .toSorted((a, b) => b.count - a.count)
      .slice(0, shownQueues);
    return await Promise.all(
      failed.map(async ({ queue, count }) => {
        /** @type {FailedJobList} */
        const list = await ask(`${pathOf(queue)}?limit=${shownJobs}`, options);
        return { queue, count, jobs: list.items };
      }),
    );
  }

  /** @override @param {Failed[]} all */
  view(all) {
    return [
      h(
        'div.bar-of-page',
        { key: 'head' },
        h('h1', {}, 'Failed jobs'),
        h('span.grow'),
        h('button', { onclick: () => this.act(() => openBoard()) }, 'All jobs in bull-board'),
      ),
      all.length === 0 &&
        empty(
          'Nothing has failed',
          'Jobs that were given up within seven days would stand here, each with its reason.',
        ),
      all.map(({ queue, count, jobs }) =>
        h(
          'section',
          { key: queue, 'data-queue': queue, 'aria-label': queue },
          h(
            'h2',
            {},
            queue,
            h(
              'span',
              {},
              count > jobs.length
                ? `the latest ${jobs.length} of ${number(count)}`
                : plural(count, 'job'),
            ),
          ),
          h(
            'ul.card.rows',
            {},
            jobs.map((job) => this.#item(queue, job)),
          ),
        ),
      ),
    ];
  }

  /** @param {string} queue @param {FailedJob} job */
  #item(queue, { id, code, reason, attempts, failedAt, pull, digest }) {
    return h(
      'li.failed',
      { key: id, 'data-job': id },
      h('p.reason', {}, reason),
      h(
        'p.details',
        {},
        h('code', {}, code),
        age(failedAt),
        h('span', {}, plural(attempts, 'attempt')),
        pull !== undefined && h('a', { href: `#/pulls/${pull}` }, `pull ${pull}`),
        digest !== undefined && h('code', { title: digest }, short(digest)),
      ),
      h(
        'div.buttons',
        {},
        h(
          'button',
          { 'aria-label': `Retry job ${id}`, onclick: () => this.act(() => retry(queue, id)) },
          'Retry',
        ),
        h(
          'button.danger',
          { 'aria-label': `Remove job ${id}`, onclick: () => this.act(() => remove(queue, id)) },
          'Remove',
        ),
      ),
    );
  }
}

/** @param {string} queue @param {string} [job] */
function pathOf(queue, job) {
  const path = `/v1/queues/${encodeURIComponent(queue)}/failed`;
  return job === undefined ? path : `${path}/${encodeURIComponent(job)}`;
}

/** @param {string} queue @param {string} id */
async function retry(queue, id) {
  /** @type {Retried} */
  const { pulls } = await ask(`${pathOf(queue, id)}/retry`, { method: 'POST' });
  return pulls.length === 0 ? 'The job is queued again.' : `Pulled anew: ${pulls.join(', ')}.`;
}

/** @param {string} queue @param {string} id */
async function remove(queue, id) {
  await ask(pathOf(queue, id), { method: 'DELETE' });
  return 'The job is removed.';
}

/** bull-board is a page of its own, which a browser opens with a cookie. */
async function openBoard() {
  await ask('/board/session', { method: 'POST' });
  location.assign('/board');
  return 'bull-board opens.';
}

customElements.define('dray-failed', FailedView);
