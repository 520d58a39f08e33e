import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressKind } from '../../../../worker/fleet/registry/address.ts';

describe('addressKind', () => {
  const table = {
    public: ['8.8.8.8', '172.32.0.1', '2606:4700::1', '::ffff:8.8.8.8', '64:ff9b::808:808'],
    private: [
      ...['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1'],
      ...['fd00::1', '::ffff:10.0.0.1', '64:ff9b::a00:1', '2002:a00:1::'],
    ],
    loopback: [
      '127.0.0.1',
      '127.255.255.254',
      '::1',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '::127.0.0.1',
    ],
    forbidden: [
      ...['169.254.169.254', '169.254.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255'],
      ...[
        '100.100.100.200',
        '168.63.129.16',
        'fd20:ce::254',
        '192.0.0.192',
        '::',
        'fe80::1',
        'fe80::1%eth0',
        'febf::1',
        'ff02::1',
      ],
      ...['fd00:ec2::254', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '::169.254.169.254'],
      ...['64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1', '::ffff:0:169.254.169.254', 'localhost', ''],
    ],
  };
  for (const [kind, addresses] of Object.entries(table)) {
    for (const address of addresses) {
      test(`8. ${address || 'nothing'} is ${kind}`, () => assert.equal(addressKind(address), kind));
    }
  }
});
