import type { Command } from 'commander';

/** A command as `dray --help` lists it; its own module is loaded only when it is called. */
export interface CatalogueEntry {
  name: string;
  summary: string;
  load: () => Promise<{ register: (program: Command) => void }>;
}

export interface CatalogueGroup {
  heading: string;
  /** Whether its commands take `--node`. */
  onNode?: boolean;
  commands: CatalogueEntry[];
}

export const catalogue: readonly CatalogueGroup[] = [
  {
    heading: 'Images:',
    commands: [
      {
        name: 'pull',
        summary: 'bring an image to nodes, ready to run',
        load: () => import('./commands/pull.ts'),
      },
      {
        name: 'fetch',
        summary: 'bring an image into the content store, without unpacking',
        load: () => import('./commands/fetch.ts'),
      },
      {
        name: 'fetch-object',
        summary: 'bring one object into the content store by its digest',
        load: () => import('./commands/fetch-object.ts'),
      },
      { name: 'pulls', summary: 'list pulls', load: () => import('./commands/pulls.ts') },
      {
        name: 'pull-status',
        summary: 'show one pull, or follow it',
        load: () => import('./commands/pull-status.ts'),
      },
      {
        name: 'cancel',
        summary: 'end pulls that nobody wants any more',
        load: () => import('./commands/cancel.ts'),
      },
      {
        name: 'images',
        summary: 'list, name and remove images',
        load: () => import('./commands/images.ts'),
      },
    ],
  },
  {
    heading: 'Registries:',
    commands: [
      {
        name: 'login',
        summary: 'check and keep a login for a registry',
        load: () => import('./commands/login.ts'),
      },
      {
        name: 'logout',
        summary: 'remove the login for a registry',
        load: () => import('./commands/logout.ts'),
      },
      {
        name: 'resolve',
        summary: 'ask the registry what a reference is now',
        load: () => import('./commands/resolve.ts'),
      },
      {
        name: 'manifest',
        summary: 'print an index or manifest',
        load: () => import('./commands/manifest.ts'),
      },
      {
        name: 'config',
        summary: 'print the configuration of an image',
        load: () => import('./commands/config.ts'),
      },
      {
        name: 'referrers',
        summary: 'list what refers to an image',
        load: () => import('./commands/referrers.ts'),
      },
    ],
  },
  {
    heading: 'Content:',
    commands: [
      {
        name: 'content',
        summary: 'list, read, add and remove blobs',
        load: () => import('./commands/content.ts'),
      },
      {
        name: 'active',
        summary: 'list transfers in flight',
        load: () => import('./commands/active.ts'),
      },
      {
        name: 'gc',
        summary: 'remove what nobody needs any more',
        load: () => import('./commands/gc.ts'),
      },
      {
        name: 'unpack',
        summary: 'unpack an image that is in the content store',
        load: () => import('./commands/unpack.ts'),
      },
      {
        name: 'apply',
        summary: 'apply one layer from standard input to a folder',
        load: () => import('./commands/apply.ts'),
      },
      {
        name: 'snapshots',
        summary: "list, prepare and remove the node's snapshots",
        load: () => import('./commands/snapshots.ts'),
      },
    ],
  },
  {
    heading: 'Containers:',
    onNode: true,
    commands: [
      {
        name: 'run',
        summary: 'run a command in a new container',
        load: () => import('./commands/run.ts'),
      },
      {
        name: 'create',
        summary: 'make a container that does not run yet',
        load: () => import('./commands/create.ts'),
      },
      {
        name: 'start',
        summary: 'start containers that have ended',
        load: () => import('./commands/start.ts'),
      },
      {
        name: 'restart',
        summary: 'stop containers and start them again',
        load: () => import('./commands/restart.ts'),
      },
      {
        name: 'exec',
        summary: 'run a command in a container that runs',
        load: () => import('./commands/exec.ts'),
      },
      {
        name: 'attach',
        summary: 'show a running container here, and pass input on to it',
        load: () => import('./commands/attach.ts'),
      },
      {
        name: 'stop',
        summary: 'ask containers to end, then kill them',
        load: () => import('./commands/stop.ts'),
      },
      {
        name: 'pause',
        summary: 'freeze containers',
        load: () => import('./commands/pause.ts'),
      },
      {
        name: 'unpause',
        summary: 'let paused containers go on',
        load: () => import('./commands/unpause.ts'),
      },
      {
        name: 'stats',
        summary: 'show what containers use',
        load: () => import('./commands/stats.ts'),
      },
      {
        name: 'events',
        summary: 'show what happens to containers',
        load: () => import('./commands/events.ts'),
      },
      {
        name: 'cp',
        summary: 'copy files from a container or into it',
        load: () => import('./commands/cp.ts'),
      },
      {
        name: 'volume',
        summary: 'list, make, inspect and remove volumes',
        load: () => import('./commands/volume.ts'),
      },
      { name: 'ps', summary: 'list containers', load: () => import('./commands/ps.ts') },
      {
        name: 'port',
        summary: 'print which ports of the node lead to a container',
        load: () => import('./commands/port.ts'),
      },
      {
        name: 'logs',
        summary: 'print what a container wrote',
        load: () => import('./commands/logs.ts'),
      },
      {
        name: 'wait',
        summary: 'wait for the end of containers',
        load: () => import('./commands/wait.ts'),
      },
      {
        name: 'kill',
        summary: 'send a signal to containers',
        load: () => import('./commands/kill.ts'),
      },
      { name: 'rm', summary: 'remove containers', load: () => import('./commands/rm.ts') },
      {
        name: 'inspect',
        summary: 'print all that is known of containers',
        load: () => import('./commands/inspect.ts'),
      },
    ],
  },
  {
    heading: 'Fleet:',
    commands: [
      {
        name: 'up',
        summary: 'start the embedded fleet: Redis, worker and agent',
        load: () => import('./commands/up.ts'),
      },
      {
        name: 'down',
        summary: 'stop the embedded fleet; containers run on',
        load: () => import('./commands/down.ts'),
      },
      {
        name: 'status',
        summary: 'show what runs, and how it is',
        load: () => import('./commands/status.ts'),
      },
      {
        name: 'top',
        summary: 'watch queues, pulls and nodes, or list the processes of a container',
        load: () => import('./commands/top.ts'),
      },
      {
        name: 'nodes',
        summary: 'list, cordon, drain and remove the nodes of the fleet',
        load: () => import('./commands/nodes.ts'),
      },
      {
        name: 'desired',
        summary: 'list and remove what nodes shall hold from now on',
        load: () => import('./commands/desired.ts'),
      },
      {
        name: 'registry',
        summary: 'show and set what the fleet may ask of registries',
        load: () => import('./commands/registry.ts'),
      },
      {
        name: 'serve',
        summary: 'serve the HTTP API',
        load: () => import('./commands/serve.ts'),
      },
      {
        name: 'token',
        summary: 'make, list and remove the tokens of the HTTP API',
        load: () => import('./commands/token.ts'),
      },
      {
        name: 'worker',
        summary: 'be a worker of a fleet',
        load: () => import('./commands/worker.ts'),
      },
      { name: 'agent', summary: "be a node's agent", load: () => import('./commands/agent.ts') },
    ],
  },
  {
    heading: 'Others:',
    commands: [
      {
        name: 'completion',
        summary: 'print what a shell needs to complete commands',
        load: () => import('./commands/completion.ts'),
      },
      {
        name: 'doctor',
        summary: 'check what drayage stands on, and say what to do',
        load: () => import('./commands/doctor.ts'),
      },
      { name: 'version', summary: 'print versions', load: () => import('./commands/version.ts') },
    ],
  },
];
