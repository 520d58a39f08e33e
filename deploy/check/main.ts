/**
 * Checks what is in deploy/, as far as the programs for that are on this machine: npm run check:deploy.
 * What could not be checked is said.
 */
import { checkCompose } from './compose.ts';
import { checkDockerfile } from './dockerfile.ts';
import { checkKubernetes } from './kubernetes.ts';
import { checkMonitoring } from './monitoring.ts';
import { Findings } from './project.ts';
import { checkUnits } from './units.ts';

const found = new Findings();
for (const check of [checkMonitoring, checkUnits, checkDockerfile, checkCompose, checkKubernetes]) {
  await check(found);
}
process.exitCode = found.report();
