const script = `
for group in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
  { [ -e "$group" ] && echo $$ >"$group"; } 2>/dev/null
done
exec "$@"
`;

/**
 * Before a command line: in a container of somebody else's, as the pod of a DaemonSet, all ends that is in its control
 * group. What shall outlive it goes to the root of each hierarchy first, also where one of them refuses.
 */
export const goAside: readonly string[] = ['/bin/sh', '-c', script, 'sh'];
