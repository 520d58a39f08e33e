import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DrayError } from '../../../shared/errors.ts';
import { formatReference, parseReference } from '../../../shared/image/reference.ts';

const hex = 'f'.repeat(64);
const sha256 = `sha256:${hex}`;
const sha512 = `sha512:${'e'.repeat(128)}`;

/** From the tables of distribution/reference (reference_test.go, normalize_test.go). */
const good: [text: string, full: string][] = [
  ['redis', 'docker.io/library/redis:latest'],
  ['redis:7', 'docker.io/library/redis:7'],
  ['docker.io/redis', 'docker.io/library/redis:latest'],
  ['index.docker.io/redis', 'docker.io/library/redis:latest'],
  ['index.docker.io/a/b', 'docker.io/a/b:latest'],
  ['library/redis', 'docker.io/library/redis:latest'],
  ['foo/bar', 'docker.io/foo/bar:latest'],
  ['test.com/repo:tag', 'test.com/repo:tag'],
  ['test:5000/repo', 'test:5000/repo:latest'],
  ['test:5000/repo:tag', 'test:5000/repo:tag'],
  [`test:5000/repo@${sha256}`, `test:5000/repo@${sha256}`],
  [`test:5000/repo:tag@${sha256}`, `test:5000/repo:tag@${sha256}`],
  [`repo@${sha512}`, `docker.io/library/repo@${sha512}`],
  ['a/b/c/d', 'docker.io/a/b/c/d:latest'],
  ['localhost/a', 'localhost/a:latest'],
  ['localhost:5000/a', 'localhost:5000/a:latest'],
  ['LOCALHOST/a', 'LOCALHOST/a:latest'],
  ['sub-dom1.foo.com/bar/baz/quux', 'sub-dom1.foo.com/bar/baz/quux:latest'],
  ['sub-dom1.foo.com/bar/baz/quux:some-long-tag', 'sub-dom1.foo.com/bar/baz/quux:some-long-tag'],
  [
    'b.gcr.io/test.example.com/my-app:test.example.com',
    'b.gcr.io/test.example.com/my-app:test.example.com',
  ],
  ['xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com/myimage:xn--n3h.com'],
  ['foo_bar.com:8080', 'docker.io/library/foo_bar.com:8080'],
  ['foo/foo_bar.com:8080', 'docker.io/foo/foo_bar.com:8080'],
  ['foo.bar--baz', 'docker.io/library/foo.bar--baz:latest'],
  ['a__b/c', 'docker.io/a__b/c:latest'],
  ['test.com/a---b', 'test.com/a---b:latest'],
  ['192.168.1.1/a', '192.168.1.1/a:latest'],
  ['192.168.1.1:8080/a:tag', '192.168.1.1:8080/a:tag'],
  ['[2001:db8::1]/a', '[2001:db8::1]/a:latest'],
  ['[2001:db8::1]:5000/a:tag', '[2001:db8::1]:5000/a:tag'],
  ['[::1]:5000/repo', '[::1]:5000/repo:latest'],
  ['Docker.Example.com/a', 'Docker.Example.com/a:latest'],
  [`a:${'t'.repeat(128)}`, `docker.io/library/a:${'t'.repeat(128)}`],
  [`${'a/'.repeat(110)}a`, `docker.io/${'a/'.repeat(110)}a:latest`],
  [`${hex.slice(1)}`, `docker.io/library/${hex.slice(1)}:latest`],
];

const bad = [
  '',
  ':justtag',
  `@${sha256}`,
  'repo@sha256:ffffffffffffffffffffffffffffffffff',
  `validname@invaliddigest:${'f'.repeat(128)}`,
  `repo@SHA256:${hex}`,
  `repo@sha256:${hex.toUpperCase()}`,
  'Uppercase:tag',
  'test:5000/Uppercase/lowercase:tag',
  'lowercase:',
  'lowercase:-tag',
  'lowercase:.tag',
  `a:${'t'.repeat(129)}`,
  `${'a/'.repeat(128)}a:tag`,
  'aa/asdf$$^/aa',
  'https://github.com/docker/docker',
  'docker/Docker',
  '-docker',
  'docker-',
  'docker///docker',
  'docker/',
  '/docker',
  'docker.io/',
  'docker.io/docker/Docker',
  'a/../b',
  'a/./b',
  'a/_b',
  'a..b/..',
  'a___b',
  'a.-b',
  'repo name',
  'repo\n',
  'répo',
  '[fe80::1%eth0]:5000/repo',
  '[2001:db8::1/repo',
  '2001:db8::1/repo',
  'test.com:port/repo',
  `${hex}`,
  `a@${sha256}@${sha256}`,
];

describe('parseReference', () => {
  for (const [text, full] of good) {
    test(`${text.slice(0, 60)} is ${full.slice(0, 80)}`, () => {
      const reference = parseReference(text);
      assert.equal(formatReference(reference), full);
      assert.deepEqual(parseReference(full), reference, 'the full form stays');
    });
  }

  for (const text of bad) {
    test(`${JSON.stringify(text.slice(0, 60))} is no reference`, () => {
      assert.throws(
        () => parseReference(text),
        (error) => error instanceof DrayError && error.code === 'REFERENCE_INVALID' && !!error.hint,
      );
    });
  }

  test('the parts stand apart', () => {
    assert.deepEqual(parseReference(`ghcr.io/a/b:v1@${sha256}`), {
      ...{ registry: 'ghcr.io', repository: 'a/b', tag: 'v1', digest: sha256 },
    });
    assert.deepEqual(parseReference('redis'), {
      ...{ registry: 'docker.io', repository: 'library/redis', tag: 'latest' },
    });
  });

  test('upper case is named, with the name that would do', () => {
    assert.throws(() => parseReference('docker.io/Foo/Bar'), {
      message: /upper-case/,
      hint: /"foo\/bar"/,
    });
  });
});
