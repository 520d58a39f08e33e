#!/usr/bin/env bash
# The whole story on one machine: an embedded fleet, a sample image in a local registry, pull, run, clean up.
# Everything lives in a temporary folder and on free ports of loopback; nothing of it stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" != 0 ]; then
  echo "quickstart: it mounts file systems and runs a container, which needs root." >&2
  echo "            Run: sudo npm run quickstart" >&2
  exit 1
fi
bash deploy/setup.sh

root=$PWD
node=$root/node_modules/.bin/node
[ -x "$node" ] || node=$(command -v node)
temporary=${TMPDIR:-/tmp}
# The fleet's sockets are in this folder, and a socket's path has at most 107 bytes.
[ ${#temporary} -le 50 ] || temporary=/tmp
work=$(mktemp -d "$temporary/dray-quickstart.XXXXXX")

# Nothing of this machine's own configuration takes part.
unset REDIS_URL AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_REGION
for name in $(compgen -e | grep '^DRAY_' || true); do unset "$name"; done
# The node's network: a bridge would stay behind on this machine.
echo '{"agent":{"network":{"default":"host"}}}' >"$work/config.json"
export DRAY_CONFIG=$work/config.json DRAY_STATE=$work/state

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
tell() { printf '\n%s\n' "$*"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; }
dray() {
  show dray "$@"
  "$root/producer/cli/dray" "$@"
}
fail() {
  echo "quickstart: $*" >&2
  exit 1
}
free_port() {
  "$node" -e "const s = require('net').createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close(); })"
}

# The processes that were started with this run's folder, but for the registry; those that are ending get a while.
leftovers() {
  local entry pid found
  for ((tries = 0; tries < 20; tries++)); do
    found=()
    for entry in /proc/[0-9]*; do
      pid=${entry#/proc/}
      [ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] && [ "$pid" != "$registry_pid" ] || continue
      if grep -qsaF "$work/" "$entry/cmdline" "$entry/environ"; then found+=("$pid"); fi
    done
    [ ${#found[@]} -gt 0 ] || return 0
    sleep 0.1
  done
  echo "${found[@]}"
}

registry_pid='' run_pid='' finished=''
clean() {
  local code=$? left
  trap - EXIT INT TERM
  set +e
  if [ -z "$finished" ]; then
    [ "$code" != 0 ] || code=1
    echo >&2
    echo "quickstart: failed (exit code $code). The ends of the logs:" >&2
    find "$work" -path "$work/state/node" -prune -o -name '*.log' -size +0 -print 2>/dev/null | while read -r log; do
      echo "--- $log" >&2
      tail -n 15 "$log" >&2
    done
    timeout 20 "$root/producer/cli/dray" rm -f foo >/dev/null 2>&1
    timeout 60 "$root/producer/cli/dray" down >/dev/null 2>&1
  fi
  [ -z "$run_pid" ] || kill "$run_pid" 2>/dev/null
  if [ -n "$registry_pid" ]; then
    kill "$registry_pid" 2>/dev/null
    wait "$registry_pid" 2>/dev/null
  fi
  registry_pid=''
  for left in $(leftovers); do
    echo "quickstart: ending what was left: $(tr '\0' ' ' <"/proc/$left/cmdline")" >&2
    kill -KILL "$left" 2>/dev/null
    code=1
  done
  awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/mounts | tac | while read -r left; do
    echo "quickstart: unmounting what was left: $left" >&2
    umount -l "$left"
  done
  # Never through a mount that would not go.
  rm -rf --one-file-system "$work"
  exit "$code"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

tell "A registry for this run, on loopback:"
registry_port=$(free_port)
cat >"$work/registry.yml" <<YAML
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "localhost:$registry_port" }
YAML
show docker-registry serve "$work/registry.yml"
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 </dev/null &
registry_pid=$!
for ((tries = 0; ; tries++)); do
  if (exec 3<>"/dev/tcp/localhost/$registry_port") 2>/dev/null; then break; fi
  kill -0 "$registry_pid" 2>/dev/null || fail "docker-registry ended"
  [ "$tries" -lt 200 ] || fail "docker-registry does not answer"
  sleep 0.05
done
image=localhost:$registry_port/library/redis:latest

tell "A sample image, made from this machine's own packages and pushed there:"
show node deploy/sample/main.ts "$image"
"$node" deploy/sample/main.ts "$image"

tell "Pull it. The first command starts the embedded fleet: a private Redis, a worker and an agent."
dray pull "$image"
dray images

tell "Run it:"
arguments=()
# The container has the host's network: where redis' own port is taken, it gets another.
redis_port=6379
if (exec 3<>/dev/tcp/127.0.0.1/6379) 2>/dev/null; then
  redis_port=$(free_port)
  arguments=(--port "$redis_port" --bind 127.0.0.1)
fi
show dray run --id foo "$image" /usr/bin/redis-server "${arguments[@]}"
"$root/producer/cli/dray" run --id foo "$image" /usr/bin/redis-server "${arguments[@]}" \
  </dev/null > >(tee "$work/foo.log") 2>&1 &
run_pid=$!
for ((tries = 0; ; tries++)); do
  if grep -q 'Ready to accept connections' "$work/foo.log" 2>/dev/null; then break; fi
  kill -0 "$run_pid" 2>/dev/null || fail "the container ended before it was ready"
  [ "$tries" -lt 600 ] || fail "redis did not become ready"
  sleep 0.1
done

tell "A client on the host:"
show redis-cli -h 127.0.0.1 -p "$redis_port" ping
answer=$(redis-cli -h 127.0.0.1 -p "$redis_port" ping)
echo "$answer"
[ "$answer" = PONG ] || fail "redis did not answer PONG"
dray ps

tell "End it:"
dray kill foo
code=0
wait "$run_pid" || code=$?
run_pid=''
echo "dray run ended with exit code $code"
[ "$code" = 137 ] || fail "SIGKILL makes exit code 137, this is $code"
dray ps -a
dray rm foo

tell "Pull it again: nothing is transferred."
dray pull "$image"

tell "Stop the fleet:"
dray down
for left in $(leftovers); do
  fail "still running after dray down: $(tr '\0' ' ' <"/proc/$left/cmdline")"
done
if grep -qF " $work/" /proc/mounts; then fail "still mounted after dray down: $(grep -F " $work/" /proc/mounts)"; fi
finished=yes

cat <<EOT

Done; nothing is left running, and the state of this run is removed. Next:

  npx dray pull docker.io/library/redis:latest     with internet, the same way
  npx dray run --rm docker.io/library/redis:latest
  npx dray images                                  what is there
  npx dray status                                  the embedded fleet (state in /var/lib/drayage)
  npx dray down                                    stops it
  npx dray --help                                  everything else
EOT
