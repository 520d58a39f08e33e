import { h } from './dom.js';
import { ago } from './format.js';

const tones = /** @type {Record<string, string>} */ ({
  ready: 'good',
  done: 'good',
  stored: 'good',
  failed: 'bad',
  lost: 'bad',
  partial: 'warn',
  cordoned: 'warn',
  drained: 'warn',
  cancelled: 'quiet',
  stopped: 'quiet',
  waiting: 'quiet',
  queued: 'quiet',
});

/** A state in its colour, and in words for who sees no colours. @param {string} state */
export function badge(state) {
  return h('span.badge', { class: tones[state] ?? 'busy' }, state);
}

/**
 * A bar; without a value it only says that something goes on.
 * @param {{ value?: number, max?: number, label: string, tone?: string }} options
 */
export function bar({ value, max = 1, label, tone = '' }) {
  const share =
    value === undefined ? {} : { value: max === 0 ? 1 : value, max: max === 0 ? 1 : max };
  return h('progress', { ...share, class: tone, 'aria-label': label, title: label });
}

/** Jobs a minute as a line. @param {number[]} counts the oldest first @param {string} label */
export function sparkline(counts, label) {
  const width = 120;
  const height = 28;
  const most = Math.max(1, ...counts);
  const step = width / Math.max(1, counts.length - 1);
  const points = counts.map((count, i) => {
    const y = height - 2 - (count / most) * (height - 4);
    return `${(i * step).toFixed(1)} ${y.toFixed(1)}`;
  });
  return h(
    'svg.spark',
    {
      viewBox: `0 0 ${width} ${height}`,
      role: 'img',
      'aria-label': label,
      preserveAspectRatio: 'none',
    },
    h('path.area', { d: `M0 ${height} L${points.join(' L')} L${width} ${height} Z` }),
    h('path.line', { d: `M${points.join(' L')}` }),
  );
}

/** @param {string} title @param {string} text @param {string} [command] */
export function empty(title, text, command) {
  return h(
    'div.empty',
    {},
    h('strong', {}, title),
    h('p', {}, text),
    command !== undefined && h('code', {}, command),
  );
}

/** @param {string} time */
export function age(time) {
  return h('time', { datetime: time, title: new Date(time).toLocaleString() }, ago(time));
}

/** A field that narrows a list. @param {string} label @param {(text: string) => void} changed */
export function filter(label, changed) {
  return h('input.filter', {
    type: 'search',
    placeholder: label,
    'aria-label': label,
    oninput: (/** @type {InputEvent} */ event) =>
      changed(/** @type {HTMLInputElement} */ (event.target).value.trim().toLowerCase()),
  });
}

/** Says something for a few seconds, aloud too. @param {string} text */
export function say(text) {
  window.dispatchEvent(new CustomEvent('dray-say', { detail: text }));
}
