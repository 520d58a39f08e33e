/** What somebody who knows docker's commands writes instead, where dray has another word or another way. */
const instead: Readonly<Record<string, string>> = {
  container: 'The verbs of containers stand alone: dray ps, dray rm, dray inspect, dray logs',
  image: 'dray images lists them; dray images tag, dray images rm, dray pull',
  rmi: 'dray images rm REF; its content goes with dray gc',
  tag: 'dray images tag REF NAME',
  history: 'dray config REF prints the configuration of an image, with its history',
  network: 'Networks are an option of a container: dray run --net bridge, host or none',
  system: 'dray gc removes what nobody needs; dray status and dray doctor show how things are',
  info: 'dray status, dray nodes and dray doctor show how things are',
  node: 'dray nodes',
  prune:
    'dray gc removes what nobody needs; containers: dray ps -aq -f status=exited | xargs dray rm',
  export: 'dray cp ID:/ - writes the files of a container as a tar archive',
  diff: 'dray cp ID:/ - writes the files of a container as a tar archive',
  rename: 'The id of a container is its name: make it anew with dray run --name',
  update: 'Limits and policies are those of its start: make it anew with dray run',
  build:
    'Images are built elsewhere (docker, buildah) and pushed to a registry; dray pull brings them to nodes',
  commit:
    'Images are built elsewhere (docker, buildah) and pushed to a registry; dray pull brings them to nodes',
  push: 'Images are pushed elsewhere (docker, skopeo); dray pull brings them to nodes',
  save: 'Images come from registries; dray content get DIGEST prints one blob',
  load: 'Images come from registries: dray pull REF',
  import: 'Images come from registries: dray pull REF',
  search: 'dray resolve REF asks a registry for an image by its name',
  plugin: 'There are none',
  swarm: 'A fleet is made of dray worker and dray agent: see the README',
  compose: 'Each container is run by itself: dray run --help',
};

/** A hint for a command that there is not, if it is one of docker's. */
export function insteadOf(word: string): string | undefined {
  return Object.hasOwn(instead, word) ? instead[word] : undefined;
}

/** The same for what the command line's parser says of an option. */
export function insteadOfOption(message: string): string | undefined {
  const [, flag] = /unknown option '(--[a-z-]+)=(?:true|false)'/.exec(message) ?? [];
  return flag === undefined ? undefined : `It takes no value: write ${flag}, or leave it out`;
}
