import type { Command } from 'commander';
import { collect, pullPolicyOption } from '../options.ts';

/** The options of `dray run` that become a container's {@link RunOptions}, as they were written. */
export interface RunFlags {
  entrypoint?: string;
  env?: string[];
  envFile?: string[];
  workdir?: string;
  user?: string;
  groupAdd?: string[];
  label?: string[];
  interactive?: boolean;
  tty?: boolean;
  init?: boolean;
  restart: string;
  stopSignal?: string;
  stopTimeout?: string;
  volume?: string[];
  mount?: string[];
  tmpfs?: string[];
  readOnly?: boolean;
  shmSize?: string;
  network?: string;
  publish?: string[];
  publishAll?: boolean;
  expose?: string[];
  hostname?: string;
  addHost?: string[];
  dns?: string[];
  dnsSearch?: string[];
  cpus?: string;
  cpuShares?: string;
  cpusetCpus?: string;
  memory?: string;
  memorySwap?: string;
  pidsLimit?: string;
  ulimit?: string[];
  capAdd?: string[];
  capDrop?: string[];
  securityOpt?: string[];
  privileged?: boolean;
  device?: string[];
  sysctl?: string[];
  oomScoreAdj?: string;
  userns: string;
  runtime?: string;
  healthCmd?: string;
  healthInterval?: string;
  healthTimeout?: string;
  healthStartPeriod?: string;
  healthRetries?: string;
  /** False with --no-healthcheck. */
  healthcheck: boolean;
}

/** Adds the image, its command, and how the container is made. */
export function containerCommand(command: Command): Command {
  return command
    .argument('<reference>', 'the image')
    .argument('[command...]', "instead of the image's own; its entrypoint stays in front")
    .passThroughOptions()
    .option('--id, --name <id>', "the container's id (default: twelve random digits)")
    .addOption(pullPolicyOption('missing', '; never: fail where the image is not there'))
    .option('-q, --quiet', 'show no progress of a pull')
    .option('--platform <os/arch>', "of an index (default: this machine's)")
    .option('--cidfile <file>', 'write its id to a new file')
    .option('--rm', 'remove the container once it has ended');
}

/** Adds the options of a container to a command, by the names that the field has for them. */
export function addRunFlags(command: Command): Command {
  return command
    .optionsGroup('The process:')
    .option('-e, --env <KEY=VALUE>', 'set a variable; KEY alone takes the value from here', collect)
    .option('--env-file <file>', 'variables, a line each; --env comes after them', collect)
    .option('--entrypoint <program>', "instead of the image's; its command goes with it")
    .option('-w, --workdir <folder>', 'where the command starts; made when it is missing')
    .option('-u, --user <user[:group]>', "names or numbers, looked up in the image's own files")
    .option('--group-add <group>', 'a further group, by name or number', collect)
    .option('-i, --interactive', 'keep standard input open, and pass it on')
    .option('-t, --tty', 'its standard streams are a terminal')
    .option('--init', 'a small init as its first process, which passes signals on and reaps')
    .option('-l, --label <KEY=VALUE>', "over the image's own labels", collect)
    .option(
      '--restart <policy>',
      'no, on-failure[:N] or always (also after a reboot of the node)',
      'no',
    )
    .option('--stop-signal <signal>', "instead of the image's")
    .option('--stop-timeout <seconds>', 'between the stop signal and SIGKILL (default: 10)')
    .optionsGroup('Files:')
    .option('-v, --volume <[SRC:]TARGET[:ro]>', 'a path of the node, or a volume', collect)
    .option(
      '--mount <mount>',
      'type=bind|volume|tmpfs,source=…,target=… and readonly, tmpfs-size=…, tmpfs-mode=…',
      collect,
    )
    .option('--tmpfs <TARGET[:OPTIONS]>', 'in memory: size=…,mode=…,uid=…,gid=…,ro,exec', collect)
    .option('--read-only', 'let the root file system not be written')
    .option('--shm-size <size>', 'of /dev/shm (default: 64m)')
    .optionsGroup('Network:')
    .option(
      '--net, --network <network>',
      "bridge: an address on the node's bridge; host: the node's network; none: only loopback (default: the agent's)",
    )
    .option(
      '-p, --publish <[[IP:]HOST:]PORT>',
      'let a port of the node lead here; PORT alone: one that is free, see dray port',
      collect,
    )
    .option('-P, --publish-all', 'the same for every port that the image exposes')
    .option('--expose <port>', 'a port that is of interest: 80, 53/udp', collect)
    .option('--hostname <name>', "the container's host name")
    .option('--add-host <NAME:ADDRESS>', 'a line for /etc/hosts', collect)
    .option('--dns <address>', "a name server, instead of the node's", collect)
    .option('--dns-search <domain>', "where names are looked up, instead of the node's", collect)
    .optionsGroup('Limits:')
    .option('--cpus <number>', 'CPU time, in processors')
    .option('--cpu-shares <weight>', 'against other containers (1024 is usual)')
    .option('--cpuset-cpus <list>', 'the processors that it may run on: 0-3,5')
    .option('-m, --memory <size>', 'more is ended by the kernel: 64m, 2g')
    .option(
      '--memory-swap <size>',
      'memory and swap together; -1: no limit (default: as much swap as memory)',
    )
    .option('--pids-limit <number>', 'processes and threads; -1: no limit')
    .option('--ulimit <NAME=SOFT[:HARD]>', 'nofile, nproc, core, memlock and the others', collect)
    .optionsGroup('Rights:')
    .option('--cap-add <capability>', 'or ALL', collect)
    .option('--cap-drop <capability>', 'or ALL', collect)
    .option(
      '--security-opt <option>',
      'seccomp=unconfined|FILE, apparmor=PROFILE, no-new-privileges=false',
      collect,
    )
    .option('--privileged', 'all capabilities and devices, no filters: as root on the node')
    .option('--device <SOURCE[:TARGET][:rwm]>', 'a device of the node', collect)
    .option('--sysctl <NAME=VALUE>', 'a setting of its own namespaces', collect)
    .option('--oom-score-adj <number>', 'from -1000 to 1000')
    .option(
      '--userns <map>',
      'HOSTID:SIZE: ids from 0 on are those of the node from HOSTID on',
      'host',
    )
    .option('--runtime <runtime>', 'another OCI runtime, as crun (default: runc)')
    .optionsGroup('Health:')
    .option('--health-cmd <command>', "a line for its /bin/sh, instead of the image's check")
    .option('--health-interval <time>', 'between two checks (default: 30s)')
    .option('--health-timeout <time>', 'after which a check has failed (default: 30s)')
    .option('--health-start-period <time>', 'in which failures do not count (default: none)')
    .option('--health-retries <number>', 'failures in a row that make it unhealthy (default: 3)')
    .option('--no-healthcheck', "not even the image's");
}
