import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DrayError } from '../../../shared/errors.ts';
import { parseRedisUrl } from '../../../shared/queue/address.ts';

describe('URLs of a Redis', () => {
  const host = (name: string, port: number) => ({ host: name, port });
  const cases: [string, ReturnType<typeof parseRedisUrl>][] = [
    ['unix:///run/redis.sock', { kind: 'socket', path: '/run/redis.sock', tls: false }],
    ['redis://r', { kind: 'single', host: host('r', 6379), database: 0, tls: false }],
    ['redis://[::1]:7000/2', { kind: 'single', host: host('::1', 7000), database: 2, tls: false }],
    [
      'rediss://worker:p%40ss%3A@r:6380',
      {
        ...{ kind: 'single', host: host('r', 6380), database: 0, tls: true },
        ...{ username: 'worker', password: 'p@ss:' },
      },
    ],
    [
      'redis://:secret@r',
      { kind: 'single', host: host('r', 6379), database: 0, tls: false, password: 'secret' },
    ],
    [
      'rediss+sentinel://u:p@a,b:26380/mymaster/1',
      {
        ...{ kind: 'sentinel', hosts: [host('a', 26379), host('b', 26380)], name: 'mymaster' },
        ...{ database: 1, tls: true, username: 'u', password: 'p' },
      },
    ],
    [
      'redis+cluster://a:7000,b,[fe80::1]:7002',
      {
        ...{ kind: 'cluster', tls: false },
        hosts: [host('a', 7000), host('b', 6379), host('fe80::1', 7002)],
      },
    ],
  ];
  for (const [url, expected] of cases) {
    test(`${url} is read`, () => assert.deepEqual(parseRedisUrl(url), expected));
  }

  for (const url of [
    ...['', 'http://r', 'redis:/r', 'redis://', 'unix://relative', 'redis://a,b', 'redis://r:x'],
    ...['redis://r/one', 'redis://r:70000', 'redis+sentinel://a', 'redis+cluster://a/1'],
    ...['redis://r?password=hunter2', 'redis://u:%zz-hunter2@r', 'redis://a b', 'redis://fe80::1'],
  ]) {
    test(`"${url}" is refused without being quoted`, () => {
      assert.throws(
        () => parseRedisUrl(url),
        (error) => {
          assert.ok(error instanceof DrayError);
          assert.equal(error.code, 'USAGE');
          assert.match(error.hint ?? '', /redis\+sentinel/);
          assert.doesNotMatch(`${error.message} ${error.hint}`, /hunter2/);
          return true;
        },
      );
    });
  }
});
