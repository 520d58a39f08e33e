import { knownVariables, unknownMetrics } from './project.ts';
import { matches, type Resource, type Workload, workloads } from './resource.ts';

/** Secrets that the operator makes, as OPERATIONS.md says. */
const madeByHand = [
  'drayage-registries',
  'drayage-api-tokens',
  'drayage-webhook',
  'drayage-agent-secrets',
];

const versions: Record<string, string> = {
  Namespace: 'v1',
  ConfigMap: 'v1',
  Secret: 'v1',
  Service: 'v1',
  Deployment: 'apps/v1',
  DaemonSet: 'apps/v1',
  PodDisruptionBudget: 'policy/v1',
  NetworkPolicy: 'networking.k8s.io/v1',
  ScaledObject: 'keda.sh/v1alpha1',
  PodMonitor: 'monitoring.coreos.com/v1',
  PrometheusRule: 'monitoring.coreos.com/v1',
};

/** @returns what resources refer to and is not there */
export function checkReferences(resources: readonly Resource[]): string[] {
  const seen = new Set<string>();
  const pods = workloads(resources);
  const names = (kind: string) =>
    resources.filter((each) => each.kind === kind).map((each) => each.metadata.name);
  return resources.flatMap((resource) => {
    const { apiVersion, kind, metadata, spec, data = {} } = resource;
    const key = `${kind} ${metadata.name}`;
    const problems: string[] = [];
    if (seen.has(key)) problems.push('is there twice');
    seen.add(key);
    if (versions[kind] !== apiVersion) problems.push(`${apiVersion} has no ${kind}`);
    if (kind !== 'Namespace' && metadata.namespace !== 'drayage') problems.push('is elsewhere');
    switch (kind) {
      case 'Service':
        problems.push(...selected(spec.selector, portsOf(spec.ports, 'targetPort'), pods));
        break;
      case 'PodDisruptionBudget':
        problems.push(...selected(spec.selector.matchLabels, [], pods));
        break;
      case 'PodMonitor':
        problems.push(
          ...selected(spec.selector.matchLabels, portsOf(spec.podMetricsEndpoints, 'port'), pods),
        );
        break;
      case 'NetworkPolicy': {
        const ports = (spec.ingress as { ports: object[] }[]).flatMap((rule) => rule.ports);
        problems.push(...selected(spec.podSelector.matchLabels, portsOf(ports, 'port'), pods));
        break;
      }
      case 'ScaledObject': {
        const target: string = spec.scaleTargetRef.name;
        if (!names('Deployment').includes(target)) problems.push(`no Deployment ${target}`);
        const queries = (spec.triggers as { metadata: { query: string } }[]).map(
          (trigger) => trigger.metadata.query,
        );
        problems.push(...queries.flatMap(unknownMetrics).map((name) => `no metric ${name}`));
        break;
      }
      case 'ConfigMap':
      case 'Secret':
        problems.push(
          ...Object.keys(data)
            .filter((name) => !knownVariables().has(name))
            .map((name) => `no setting ${name}`),
        );
        break;
      case 'Deployment':
      case 'DaemonSet':
        problems.push(...environment(resource as Workload, names));
        break;
    }
    return problems.map((problem) => `${key}: ${problem}`);
  });
}

function portsOf(ports: readonly object[], name: 'port' | 'targetPort'): string[] {
  return ports.map((port) => String((port as Record<string, unknown>)[name]));
}

/** A selector finds pods, and all of them have the ports. */
function selected(
  selector: Record<string, string>,
  ports: readonly string[],
  pods: readonly Workload[],
): string[] {
  const found = pods.filter(({ spec }) => matches(selector, spec.template.metadata.labels));
  if (found.length === 0) return ['it selects no pod'];
  return found.flatMap(({ metadata, spec }) => {
    const has = spec.template.spec.containers.flatMap(({ ports = [] }) => ports.map((p) => p.name));
    return ports
      .filter((port) => !has.includes(port))
      .map((port) => `${metadata.name} has no port ${port}`);
  });
}

function environment(workload: Workload, names: (kind: string) => string[]): string[] {
  const { containers, volumes = [] } = workload.spec.template.spec;
  const wanted: [string, string | undefined][] = [
    ...containers.flatMap(({ envFrom = [] }) =>
      envFrom.flatMap(({ configMapRef, secretRef }): [string, string | undefined][] => [
        ['ConfigMap', configMapRef?.name],
        ['Secret', secretRef?.name],
      ]),
    ),
    ...volumes.map(({ secret }): [string, string | undefined] => ['Secret', secret?.secretName]),
  ];
  return wanted.flatMap(([kind, name]) =>
    name === undefined ||
    names(kind).includes(name) ||
    (kind === 'Secret' && madeByHand.includes(name))
      ? []
      : [`no ${kind} ${name}`],
  );
}
