import { stages } from './dockerfile.ts';
import { knownVariables, read } from './project.ts';
import { type Container, matches, type PodSpec, type Resource, workloads } from './resource.ts';

/** Seconds that a program takes at most to hand back its work (shared/program.ts). */
const stopBound = 20;
const inContainer = 'ENV DRAY_AGENT_IN_CONTAINER=true\n';

/** @returns what is wrong with Deployments and DaemonSets */
export function checkWorkloads(resources: readonly Resource[]): string[] {
  const targets = stages().map(({ name }) => name);
  return workloads(resources).flatMap(({ metadata: { name }, spec }) => {
    const { template, selector } = spec;
    const pod = template.spec;
    const problems: string[] = [];
    if (!matches(selector.matchLabels, template.metadata.labels)) {
      problems.push('its selector does not match its pods');
    }
    if ((pod.terminationGracePeriodSeconds ?? 0) <= stopBound) {
      problems.push(`its pods are killed before ${stopBound} s`);
    }
    for (const container of pod.containers) {
      const target = /drayage-(\w+)(:|$)/.exec(container.image)?.[1] ?? '';
      if (!targets.includes(target)) problems.push(`${container.image} is no target`);
      problems.push(...containerProblems(container, pod));
      // The agent mounts: everybody else keeps to Pod Security's `restricted`.
      problems.push(
        ...(target === 'agent' ? outlived(container, pod) : restricted(container, pod)),
      );
    }
    return problems.map((problem) => `${name}: ${problem}`);
  });
}

function containerProblems(container: Container, pod: PodSpec): string[] {
  const { env = [], ports = [], resources, volumeMounts = [] } = container;
  const problems: string[] = [];
  const earlier = new Set<string>();
  for (const each of env) {
    const { name, value } = each as { name: string; value?: string };
    const used = [...(value ?? '').matchAll(/\$\((\w+)\)/g)].map(([, other]) => other ?? '');
    problems.push(
      ...used
        .filter((other) => !earlier.has(other))
        .map((other) => `${name} comes before ${other}`),
    );
    earlier.add(name);
    const isHelper = env.some((other) => JSON.stringify(other).includes(`$(${name})`));
    if (!knownVariables().has(name) && !isHelper) problems.push(`no setting ${name}`);
  }
  const portNames = ports.map((port) => port.name);
  for (const [kind, wanted] of [
    ['startupProbe', '/readyz'],
    ['livenessProbe', '/livez'],
    ['readinessProbe', '/readyz'],
  ] as const) {
    const probe = container[kind]?.httpGet;
    if (probe?.path !== wanted) problems.push(`its ${kind} asks for ${probe?.path}`);
    if (!portNames.includes(probe?.port ?? '')) problems.push(`its ${kind} has no port`);
  }
  const used =
    JSON.stringify(env).match(/DRAY_METRICS_LISTEN","value":"[^"]*:(\d+)"/)?.[1] ?? '9090';
  const metrics = ports.find((port) => port.name === 'metrics')?.containerPort;
  if (String(metrics) !== used) problems.push(`it serves metrics at ${used}, not ${metrics}`);
  for (const { name, containerPort, hostPort } of ports) {
    if (pod.hostNetwork === true && hostPort !== containerPort) problems.push(`port ${name}`);
  }
  if (resources?.limits?.memory === undefined || resources.requests?.cpu === undefined) {
    problems.push('it has no bound of memory, or asks for no CPU');
  }
  const volumes = (pod.volumes ?? []).map((volume) => volume.name);
  const mounted = volumeMounts.map((mount) => mount.name);
  problems.push(
    ...mounted.filter((name) => !volumes.includes(name)).map((name) => `no volume ${name}`),
    ...volumes
      .filter((name) => !mounted.includes(name))
      .map((name) => `${name} is mounted nowhere`),
  );
  return problems;
}

/** What containers need to outlive the pod of their agent, and the next one to find them. */
function outlived({ volumeMounts = [] }: Container, pod: PodSpec): string[] {
  const onNode = (path: string, propagation?: string) => {
    const mount = volumeMounts.find(({ mountPath }) => mountPath === path);
    const volume = pod.volumes?.find(({ name }) => name === mount?.name);
    return volume?.hostPath?.path === path && mount?.mountPropagation === propagation;
  };
  const holds: [string, boolean][] = [
    ['does not see the pids of the node', pod.hostPID === true],
    ['has no control groups of the node', onNode('/sys/fs/cgroup')],
    ['keeps its state to itself', onNode('/var/lib/drayage', 'Bidirectional')],
    ['keeps what runs to itself', onNode('/run/drayage', 'Bidirectional')],
    ['has monitors in its control group', read('deploy/Dockerfile').includes(inContainer)],
  ];
  return holds.filter(([, holds]) => !holds).map(([problem]) => problem);
}

/** Pod Security Standards, restricted; and a file system that nobody writes to. */
function restricted({ securityContext: own }: Container, pod: PodSpec): string[] {
  const { runAsNonRoot, runAsUser = 0, seccompProfile } = pod.securityContext ?? {};
  const holds: [string, boolean][] = [
    ['runs as root', runAsNonRoot === true && runAsUser > 0],
    ['has no seccomp profile', seccompProfile !== undefined],
    ['may gain privileges', own?.allowPrivilegeEscalation === false],
    ['has capabilities', own?.capabilities?.drop?.includes('ALL') === true],
    ['can write to its image', own?.readOnlyRootFilesystem === true],
    ['is privileged', own?.privileged !== true],
  ];
  return holds.filter(([, holds]) => !holds).map(([problem]) => problem);
}
