import { stages } from './dockerfile.ts';
import { type Document, type Findings, knownVariables, read, readYaml } from './project.ts';

interface Service {
  image?: string;
  build?: { dockerfile: string; target: string };
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: object;
  environment?: Record<string, string>;
  volumes?: string[];
  restart?: string;
  ports?: string[];
}

/** What services of the compose file name is there, and nothing is open that should not be. */
export async function checkCompose(found: Findings): Promise<void> {
  const [file] = readYaml(read('deploy/compose.yaml')) as [
    { services: Record<string, Service>; volumes: Document },
  ];
  const problems: string[] = [];
  const targets = stages().map(({ name }) => name);
  for (const [name, service] of Object.entries(file.services)) {
    const { image, build, depends_on = {}, environment = {}, volumes = [], ports = [] } = service;
    for (const [other, { condition }] of Object.entries(depends_on)) {
      const on = file.services[other];
      if (on === undefined) problems.push(`${name} depends on ${other}, which is not there`);
      else if (condition === 'service_healthy' && on.healthcheck === undefined) {
        problems.push(`${name} waits for the health of ${other}, which has no check`);
      } else if (condition === 'service_completed_successfully' && on.restart !== undefined) {
        problems.push(`${name} waits for the end of ${other}, which is started again`);
      }
    }
    if (build !== undefined) {
      if (!targets.includes(build.target)) problems.push(`${name}: no target ${build.target}`);
      const unknown = Object.keys(environment).filter((each) => !knownVariables().has(each));
      problems.push(...unknown.map((each) => `${name}: no setting ${each}`));
    } else if (!/:[\w.-]+$/.test(image ?? '') || (image ?? '').endsWith(':latest')) {
      problems.push(`${name}: the image ${image} has no fixed tag`);
    }
    for (const volume of volumes) {
      const [source = ''] = volume.split(':');
      if (/^\w+$/.test(source) && !(source in file.volumes)) {
        problems.push(`${name}: no volume ${source}`);
      }
    }
    problems.push(
      ...ports.filter((port) => !port.startsWith('127.0.0.1:')).map((port) => `${name}: ${port}`),
    );
  }
  found.add('deploy/compose.yaml', problems);
}
