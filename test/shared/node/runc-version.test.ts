import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runcWarning } from '../../../shared/node/runc-version.ts';

const leak = /CVE-2024-21626 \(fixed in 1\.1\.12\)/;
const mounts = /CVE-2025-31133, CVE-2025-52565, CVE-2025-52881 \(fixed in 1\.2\.8/;

test('a runc with known escapes gets a warning that names them and the versions that mended them', () => {
  for (const version of ['1.0.3', '1.1.5', '1.1.11']) {
    assert.match(runcWarning(version) ?? '', leak, version);
    assert.match(runcWarning(version) ?? '', mounts, version);
  }
  for (const version of ['1.1.12', '1.1.15', '1.2.0', '1.2.7', '1.3.2', '1.4.0-rc.2']) {
    assert.doesNotMatch(runcWarning(version) ?? '', leak, version);
    assert.match(runcWarning(version) ?? '', mounts, version);
  }
  for (const version of ['1.2.8', '1.2.10', '1.3.3', '1.4.0-rc.3', '1.4.0', '1.5.0', '2.0.0']) {
    assert.equal(runcWarning(version), undefined, version);
  }
});

test('the version is found in what the program prints; what is no runc gets no warning', () => {
  const debian = 'runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\n';
  assert.match(runcWarning(debian) ?? '', /^runc 1\.1\.5 has known escapes/);
  assert.equal(runcWarning('crun version 1.8.1\ncommit: f8a096b\n'), undefined);
  assert.equal(runcWarning(''), undefined);
});
