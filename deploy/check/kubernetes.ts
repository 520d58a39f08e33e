import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deploy, type Findings, read, readYaml, run } from './project.ts';
import { checkReferences } from './references.ts';
import type { Resource } from './resource.ts';
import { checkWorkloads } from './workloads.ts';

const folders = ['.', 'autoscaling', 'monitoring'];

/** The manifests: rendered by kustomize where it is, else as they are; then each by what Kubernetes wants of it. */
export async function checkKubernetes(found: Findings): Promise<void> {
  const temporary = await mkdtemp(path.join(tmpdir(), 'dray-check-'));
  try {
    await cp(path.join(deploy, 'kubernetes'), temporary, { recursive: true });
    for (const name of ['settings.env', 'secrets.env']) {
      await cp(path.join(temporary, `${name}.example`), path.join(temporary, name));
    }
    const resources: Resource[] = [];
    for (const folder of folders) {
      const { code, output } = await run('kubectl', ['kustomize', path.join(temporary, folder)]);
      const what = `kustomize deploy/kubernetes/${folder}`;
      if (code === 127)
        found.leave(what, 'kubectl is not installed: the files are checked as they are');
      else found.add(what, code === 0 ? [] : output.split('\n'));
      resources.push(
        ...(code === 0 ? (readYaml(output) as unknown as Resource[]) : asTheyAre(folder)),
      );
    }
    found.add('the workloads', checkWorkloads(resources));
    found.add('what the manifests refer to', checkReferences(resources));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** The resources of a folder without kustomize: what its generators make is only named. */
function asTheyAre(folder: string): Resource[] {
  const of = (file: string) =>
    readYaml(read(path.join('deploy/kubernetes', folder, file))) as unknown as Resource[];
  const [kustomization] = of('kustomization.yaml') as unknown as [
    {
      namespace: string;
      resources: string[];
      configMapGenerator?: { name: string }[];
      secretGenerator?: { name: string }[];
    },
  ];
  const { namespace, configMapGenerator = [], secretGenerator = [] } = kustomization;
  const made = (kind: string, apiVersion: string) => (each: { name: string }) => ({
    ...{ kind, apiVersion },
    metadata: { name: each.name },
  });
  return [
    ...kustomization.resources.flatMap(of),
    ...configMapGenerator.map(made('ConfigMap', 'v1')),
    ...secretGenerator.map(made('Secret', 'v1')),
  ].map((resource) => ({ ...resource, metadata: { namespace, ...resource.metadata } }) as Resource);
}
