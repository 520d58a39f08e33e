import type { NetworkMode } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';

const ofIPC =
  /^(kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|fs\.mqueue\.[a-z_]+)$/;
const ofNetwork = /^net(\.[A-Za-z0-9_/-]+)+$/;

/** moby's default: what needs a capability otherwise does no harm in a network of its own. */
const usual = {
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
};

/**
 * The settings of a container's own namespaces. @throws CONFIG_INVALID for those that would be the node's
 */
export function sysctlsFor(
  requested: Readonly<Record<string, string>>,
  { network, userNamespace }: { network: NetworkMode; userNamespace: boolean },
): Record<string, string> {
  for (const name of Object.keys(requested)) {
    if (ofIPC.test(name) || (ofNetwork.test(name) && network !== 'host')) continue;
    throw new DrayError('CONFIG_INVALID', `The setting ${name.slice(0, 100)} is the node's`, {
      hint: 'Only those of its own namespaces can be set: kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*, and net.* with --net bridge or none.',
    });
  }
  // In a user namespace the range of groups would have to be mapped.
  const own = network === 'host' || userNamespace ? {} : usual;
  return { ...own, ...requested };
}
