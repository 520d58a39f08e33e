import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseHostsToml } from '../../../../../worker/fleet/registry/hosts/hosts-toml.ts';
import { failure } from '../support.ts';

const file = '/etc/certs.d/r.test/hosts.toml';

describe("containerd's hosts.toml", () => {
  test('the example of its documentation', () => {
    const hosts = parseHostsToml(
      `
server = "https://registry-1.docker.io"
ca = "own.pem"

[host."https://mirror.registry"]
  capabilities = ["pull"]
  ca = "/etc/certs/mirror.pem"
  skip_verify = false
  [host."https://mirror.registry".header]
    x-custom-2 = ["value1", "value2"]

[host."http://mirror-2.registry:5000/v2/prefix"]
  capabilities = ["pull", "resolve"]
  client = [["client.cert", "client.key"], "both.pem"]
  ca = ["a.pem", "b.pem"]

[host."mirror-3.registry/proxy"]
  skip_verify = true
  override_path = true
  dial_timeout = "1m0.5s"
  header = { authorization = "Basic x" }
`,
      file,
    );
    const all = ['pull', 'resolve', 'push'];
    const plain = { ca: [], client: [], skipVerify: false, headers: {}, connectMs: undefined };
    assert.deepEqual(
      hosts.map(({ url, ...rest }) => ({ url: url?.href, ...rest })),
      [
        {
          ...plain,
          url: 'https://mirror.registry/v2',
          capabilities: ['pull'],
          ca: ['/etc/certs/mirror.pem'],
          headers: { 'x-custom-2': ['value1', 'value2'] },
        },
        {
          ...plain,
          url: 'http://mirror-2.registry:5000/v2/prefix/v2',
          capabilities: ['pull', 'resolve'],
          ca: ['/etc/certs.d/r.test/a.pem', '/etc/certs.d/r.test/b.pem'],
          client: [
            { cert: '/etc/certs.d/r.test/client.cert', key: '/etc/certs.d/r.test/client.key' },
            { cert: '/etc/certs.d/r.test/both.pem', key: undefined },
          ],
        },
        {
          ...plain,
          url: 'https://mirror-3.registry/proxy',
          capabilities: all,
          skipVerify: true,
          headers: { authorization: ['Basic x'] },
          connectMs: 60_500,
        },
        {
          ...plain,
          url: 'https://registry-1.docker.io/v2',
          capabilities: all,
          ca: ['/etc/certs.d/r.test/own.pem'],
        },
      ],
    );
  });

  test('without a server, the last one is the registry itself', () => {
    assert.deepEqual(
      parseHostsToml('[host."https://a.test/v2/"]', file).map(({ url }) => url?.href),
      ['https://a.test/v2', undefined],
    );
    assert.equal(parseHostsToml('', file).length, 1);
  });

  for (const [broken, message] of [
    ['server = ', /not TOML/],
    ['[host."https://a.test"]\ncapabilities = ["fly"]', /capabilities/],
    ['[host."https://u:canary@a.test"]', /no address/],
    ['[host."https://"]', /no address/],
    ['[header]\n"a b" = "canary"', /header "a b"/],
    ['[header]\nx = "canary\\r\\ny: z"', /header "x"/],
    ['[header]\nhost = "canary"', /header "host"/],
    ['dial_timeout = "soon"', /dial_timeout/],
    ['skip_verify = "yes"', /skip_verify/],
  ] as const) {
    test(`what is wrong is said, and no value of it is shown: ${broken}`, () => {
      assert.throws(
        () => parseHostsToml(broken, file),
        (error) => {
          failure('USAGE', { message })(error);
          assert.doesNotMatch(String(error), /canary/);
          return (error as Error).message.includes(file);
        },
      );
    });
  }
});
