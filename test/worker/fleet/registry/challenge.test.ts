import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseChallenges } from '../../../../worker/fleet/registry/challenge.ts';

const parse = (header: string | string[] | undefined) =>
  parseChallenges(header).map(({ scheme, params }) => ({ scheme, params: { ...params } }));

describe('parseChallenges', () => {
  test('a bearer challenge, with commas inside quotes', () => {
    assert.deepEqual(
      parse('Bearer realm="https://a.test/token",service="a, b",scope="repository:x:pull,push"'),
      [
        {
          scheme: 'bearer',
          params: {
            ...{ realm: 'https://a.test/token', service: 'a, b', scope: 'repository:x:pull,push' },
          },
        },
      ],
    );
  });

  test('several, in one header or in two, with escapes and bare values', () => {
    const expected = [
      { scheme: 'basic', params: { realm: 'a "b"' } },
      { scheme: 'bearer', params: { realm: 'r', error: 'invalid_token' } },
    ];
    assert.deepEqual(
      parse('Basic realm="a \\"b\\"", Bearer Realm=r , error = "invalid_token"'),
      expected,
    );
    assert.deepEqual(
      parse(['basic realm="a \\"b\\""', 'BEARER realm=r,error=invalid_token']),
      expected,
    );
  });

  test('schemes without parameters, and with one in token68 form', () => {
    assert.deepEqual(
      parse('Negotiate abc==, NTLM, Basic realm=""').map(({ scheme }) => scheme),
      ['negotiate', 'ntlm', 'basic'],
    );
  });

  test('none, and rubbish', () => {
    assert.deepEqual(parse(undefined), []);
    assert.deepEqual(parse(''), []);
    assert.deepEqual(parse('"x"'), []);
    assert.deepEqual(parse('Bearer realm="unfinished'), [{ scheme: 'bearer', params: {} }]);
    assert.deepEqual(parse('Basic __proto__="x"')[0]?.scheme, 'basic');
  });
});
