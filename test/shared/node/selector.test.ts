import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { formatLabels, parseLabels } from '../../../shared/node/labels.ts';
import {
  formatSelector,
  matches,
  parseSelector,
  type Requirement,
} from '../../../shared/node/selector.ts';

const key = fc.stringMatching(/^[a-z][a-z0-9]{0,5}(\/[a-z]{1,5})?$/);
const value = fc.stringMatching(/^([A-Za-z0-9]([A-Za-z0-9._-]{0,6}[A-Za-z0-9])?)?$/);
const requirement: fc.Arbitrary<Requirement> = fc.oneof(
  fc.record({
    key,
    operator: fc.constantFrom('in' as const, 'not-in' as const),
    values: fc.array(value, { minLength: 1, maxLength: 4 }),
  }),
  fc.record({
    key,
    operator: fc.constantFrom('exists' as const, 'absent' as const),
    values: fc.constant<string[]>([]),
  }),
);
const labels = fc.dictionary(key, value, { maxKeys: 6 });

describe('selectors', () => {
  test('are as they are in Kubernetes', () => {
    const node = { zone: 'a', gpu: 'none', 'example.com/tier': '1' };
    for (const [selector, expected] of [
      ['', true],
      ['zone=a', true],
      ['zone == a', true],
      ['zone=a,gpu!=none', false],
      ['zone=a, gpu != all', true],
      ['zone in (a, b),gpu', true],
      ['zone notin (a,b)', false],
      ['missing notin (a)', true],
      ['missing!=a', true],
      ['missing', false],
      ['!missing,zone', true],
      ['! zone', false],
      ['example.com/tier in (1)', true],
    ] as const) {
      assert.equal(matches(parseSelector(selector), node), expected, selector);
    }
  });

  test('what is none is refused with what is wrong, at once', () => {
    for (const text of [
      ...[
        '=a',
        'zone=a,',
        ',',
        'zone=a,,gpu',
        'zone in a',
        'zone in (a',
        'zone in a)',
        'zone in ((a))',
      ],
      ...[
        'a b',
        'zone=a b',
        'zone=-a',
        'zone>1',
        '!',
        '!=a',
        'zone=a;rm',
        'zone\u0000=a',
        'a='.repeat(4_000),
      ],
    ]) {
      assert.throws(() => parseSelector(text), { code: 'USAGE' }, text.slice(0, 40));
    }
    const begun = performance.now();
    assert.throws(() => parseSelector(`${'a in ('.repeat(600)}`), { code: 'USAGE' });
    // Whoever looked at each way to read it would be at it for ever.
    assert.ok(performance.now() - begun < 10_000);
  });

  test('any that is written is read back to the same conditions', () => {
    fc.assert(
      fc.property(fc.array(requirement, { maxLength: 6 }), (conditions) => {
        const text = formatSelector(conditions);
        assert.equal(formatSelector(parseSelector(text)), text);
        assert.deepEqual(parseSelector(text), structuredClone(conditions));
      }),
    );
  });

  test('a condition and its opposite divide all nodes; more conditions choose no more of them', () => {
    fc.assert(
      fc.property(
        labels,
        fc.array(requirement, { maxLength: 4 }),
        requirement,
        (own, others, one) => {
          const opposites = {
            in: 'not-in',
            'not-in': 'in',
            exists: 'absent',
            absent: 'exists',
          } as const;
          const opposite = { ...one, operator: opposites[one.operator] };
          assert.notEqual(matches([one], own), matches([opposite], own));
          if (matches([...others, one], own)) assert.ok(matches(others, own));
        },
      ),
    );
  });

  test('any text is read or refused, and nothing else', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (text) => {
        try {
          assert.deepEqual(parseSelector(formatSelector(parseSelector(text))), parseSelector(text));
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'USAGE');
        }
      }),
    );
  });
});

test('labels are read, and written in order', () => {
  assert.equal(formatLabels(parseLabels('zone=a, gpu=none,empty=')), 'empty=,gpu=none,zone=a');
  for (const text of [
    'zone',
    '=a',
    'zone=a b',
    'name=x',
    'os=linux',
    `a=${'x'.repeat(64)}`,
    'a=b,',
  ]) {
    assert.throws(() => parseLabels(text), { code: 'USAGE' }, text);
  }
});
