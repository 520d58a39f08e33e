import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { unknownNames } from '../../deploy/check/pages.ts';
import { read, readYaml, unknownMetrics } from '../../deploy/check/project.ts';
import { checkReferences } from '../../deploy/check/references.ts';
import type { Resource } from '../../deploy/check/resource.ts';
import { checkWorkloads } from '../../deploy/check/workloads.ts';
import { requireTool } from '../support/requirements.ts';

const root = path.resolve(import.meta.dirname, '../..');

describe('what is in deploy/', () => {
  test('passes its checks', async (t) => {
    if (!requireTool(t, 'promtool', 'systemd-analyze')) return;
    const main = path.join(root, 'deploy/check/main.ts');
    const { stdout } = await promisify(execFile)(process.execPath, [main]);
    assert.doesNotMatch(stdout, /FAIL/);
    assert.match(stdout, /^ok {4}promtool test rules/m);
  });

  test('a manifest that is broken does not', () => {
    const cases: [change: (text: string) => string, problem: RegExp][] = [
      [(text) => text.replace('port: metrics }', 'port: nothing }'), /has no port/],
      [(text) => text.replace('runAsNonRoot: true', 'runAsNonRoot: false'), /runs as root/],
      [(text) => text.replace('drop: [ALL]', 'drop: []'), /has capabilities/],
      [(text) => text.replace('drayage-settings', 'drayage-other'), /no ConfigMap drayage-other/],
      [(text) => text.replace('name: DRAY_API_TOKENS', 'name: DRAY_API_TOKEN'), /no setting/],
      [(text) => text.replace('targetPort: http', 'targetPort: https'), /no port https/],
      [(text) => text.replace('- name: tmp\n', '- name: temp\n'), /no volume tmp/],
      [(text) => text.replace('image: drayage-api', 'image: drayage-web'), /is no target/],
      [(text) => text.replace('terminationGracePeriodSeconds: 30', 'x: 1'), /are killed before/],
      [(text) => text.replace(/(selector: .*): drayage-api/, '$1: drayage-web'), /selects no pod/],
    ];
    const whole = read('deploy/kubernetes/api.yaml');
    const made: Resource[] = [
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'drayage-settings' } },
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'drayage-secrets' } },
    ];
    const problemsOf = (text: string) => {
      const resources = [...(readYaml(text) as unknown as Resource[]), ...made].map((each) => ({
        ...each,
        metadata: { ...each.metadata, namespace: 'drayage' },
      }));
      return [...checkWorkloads(resources), ...checkReferences(resources)];
    };
    assert.deepEqual(problemsOf(whole), []);
    for (const [change, problem] of cases) {
      assert.match(problemsOf(change(whole)).join('\n'), problem);
    }
  });

  test('an agent whose pod its containers would not outlive does not', () => {
    const cases: [change: (text: string) => string, problem: RegExp][] = [
      [(text) => text.replace('hostPID: true', 'hostPID: false'), /does not see the pids/],
      [(text) => text.replace('path: /sys/fs/cgroup,', 'path: /tmp,'), /no control groups/],
      [(text) => text.replace(', mountPropagation: Bidirectional', ''), /its state to itself/],
      [(text) => text.replace('path: /run/drayage,', 'path: /run/other,'), /what runs to itself/],
    ];
    const whole = read('deploy/kubernetes/agent.yaml');
    const problemsOf = (text: string) => checkWorkloads(readYaml(text) as unknown as Resource[]);
    assert.deepEqual(problemsOf(whole), []);
    for (const [change, problem] of cases) {
      assert.match(problemsOf(change(whole)).join('\n'), problem);
    }
  });

  test('a page that names what there is not does not', () => {
    assert.deepEqual(
      unknownNames('`dray pull`, `dray_pulls_*`, DRAY_STORE, `dray_gc_runs_total`'),
      [],
    );
    assert.deepEqual(
      unknownNames('`dray pulll`, `dray_pull_*s_x`, DRAY_STORES, dray_gc_run_total'),
      ['no setting DRAY_STORES', 'no metric dray_gc_run_total', 'no command dray pulll'],
    );
  });

  test('an expression on a metric that no program serves does not', () => {
    assert.deepEqual(unknownMetrics('sum(rate(dray_job_wait_seconds_bucket[5m]))'), []);
    assert.deepEqual(unknownMetrics('dray_job_waits_seconds > 1'), ['dray_job_waits_seconds']);
  });
});
