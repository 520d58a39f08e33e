import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { deploy, type Findings, read, readYaml, run, unknownMetrics } from './project.ts';

interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  annotations?: { runbook?: string };
}

const folder = path.join(deploy, 'monitoring');

/** The rules and their tests, the dashboard, and that each alert stands in the page for operators. */
export async function checkMonitoring(found: Findings): Promise<void> {
  const rules = readYaml(read('deploy/monitoring/rules.yaml'))[0] as {
    groups: { rules: Rule[] }[];
  };
  const all = rules.groups.flatMap((group) => group.rules);
  for (const args of [
    ['check', 'rules', 'rules.yaml'],
    ['test', 'rules', 'rules.test.yaml'],
  ]) {
    const { code, output } = await run('promtool', args, { cwd: folder });
    const what = `promtool ${args.join(' ')}`;
    if (code === 127) found.leave(what, 'promtool is not installed');
    else found.add(what, code === 0 ? [] : output.split('\n'));
  }
  const tests = read('deploy/monitoring/rules.test.yaml');
  const alerts = all.flatMap(({ alert }) => (alert === undefined ? [] : [alert]));
  found.add('every alert is tested to fire, and to be quiet', [
    ...alerts.filter((name) => !tests.includes(`alertname: ${name}, exp_alerts: []`)),
    ...alerts.filter((name) => !new RegExp(`alertname: ${name}\\n\\s+exp_alerts:\\n`).test(tests)),
  ]);
  found.add(
    'the rules ask for metrics that there are',
    all.flatMap(({ expr }) => unknownMetrics(expr)),
  );
  const page = read('deploy/OPERATIONS.md');
  found.add(
    'every alert is explained in OPERATIONS.md',
    all.flatMap(({ alert, annotations }) =>
      alert === undefined ||
      (page.includes(`#### ${alert}\n`) &&
        annotations?.runbook === `deploy/OPERATIONS.md#${alert.toLowerCase()}`)
        ? []
        : [alert],
    ),
  );
  const copy = readYaml(read('deploy/kubernetes/monitoring/rules.yaml'))[0]?.spec;
  found.add(
    "the operator's rules are those of rules.yaml",
    isDeepStrictEqual(copy, rules) ? [] : ['kubernetes/monitoring/rules.yaml differs'],
  );
  await checkDashboard(found);
}

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string }[];
}

async function checkDashboard(found: Findings): Promise<void> {
  const { panels } = JSON.parse(read('deploy/monitoring/dashboard.json')) as { panels: Panel[] };
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const overlaps = panels.flatMap((a, i) =>
    panels.slice(i + 1).flatMap((b) => (overlap(a, b) ? [`${a.title} covers ${b.title}`] : [])),
  );
  const isShown = panels.every(
    ({ type, targets = [], gridPos: { x, w } }) =>
      x + w <= 24 && (type === 'row' || targets.length > 0),
  );
  const ids = new Set(panels.map(({ id }) => id));
  found.add('the dashboard has its panels beside each other, each with something to show', [
    ...overlaps,
    ...(isShown ? [] : ['a panel is too wide, or has no target']),
    ...(ids.size === panels.length ? [] : ['two panels have the same id']),
  ]);
  found.add(
    'the dashboard asks for metrics that there are',
    expressions.flatMap((expression) => unknownMetrics(expression)),
  );
  // Grafana puts the interval in.
  const rules = expressions.map((expr, i) => ({
    record: `panel:${i}`,
    expr: expr.replaceAll('$__rate_interval', '5m'),
  }));
  const temporary = await mkdtemp(path.join(tmpdir(), 'dray-check-'));
  try {
    const file = path.join(temporary, 'panels.yaml');
    await writeFile(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
    const { code, output } = await run('promtool', ['check', 'rules', file]);
    if (code === 127) found.leave("the dashboard's expressions", 'promtool is not installed');
    else found.add("the dashboard's expressions", code === 0 ? [] : output.split('\n'));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

function overlap({ gridPos: a }: Panel, { gridPos: b }: Panel): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}
