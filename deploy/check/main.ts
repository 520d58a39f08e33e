/**
 * Checks what is in deploy/, as far as the programs for that are on this machine: npm run check:deploy.
 * What could not be checked is said.
 */
import { checkCompose } from './compose.ts';
import { checkDockerfile } from './dockerfile.ts';
import { checkKubernetes } from './kubernetes.ts';
import { checkMonitoring } from './monitoring.ts';
import { checkPages } from './pages.ts';
import { Findings } from './project.ts';
import { checkUnits } from './units.ts';

const found = new Findings();
const checks = [
  checkMonitoring,
  checkUnits,
  checkDockerfile,
  checkCompose,
  checkKubernetes,
  checkPages,
];
for (const check of checks) {
  await check(found);
}
process.exitCode = found.report();
