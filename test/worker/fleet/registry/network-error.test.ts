import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import { describe, test } from 'node:test';
import { DrayError } from '../../../../shared/errors.ts';
import { networkError } from '../../../../worker/fleet/registry/network-error.ts';

describe('what the network says', () => {
  const url = new URL('https://registry.example/v2/');
  const failing = (code: string, proxy?: URL) => {
    const error = Object.assign(new Error(`getaddrinfo ${code}`), { code });
    const translated = networkError(error, 'GET /v2/', url, undefined, proxy);
    assert.ok(translated instanceof DrayError);
    return translated;
  };

  test('a host that does not exist is final, a name service that does not answer is not', async () => {
    const { code } = await lookup('nope.invalid').then(
      () => assert.fail('RFC 6761: .invalid never resolves'),
      (error: NodeJS.ErrnoException) => error,
    );
    // EAI_AGAIN: a machine without any name service.
    assert.ok(code === 'ENOTFOUND' || code === 'EAI_AGAIN', code);
    assert.equal(failing('ENOTFOUND').retryable, false);
    assert.match(failing('ENOTFOUND').message, /^There is no host registry\.example /);
    assert.equal(failing('EAI_AGAIN').retryable, true);
    assert.equal(failing('ECONNREFUSED').retryable, true);
  });

  test('a proxy may be what was not found', () => {
    const error = failing('ENOTFOUND', new URL('http://proxy.example:3128'));
    assert.equal(error.retryable, true);
    assert.match(error.message, /through the proxy proxy\.example:3128/);
  });
});
