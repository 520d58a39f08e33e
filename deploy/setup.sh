#!/usr/bin/env bash
# Makes this checkout ready to run: npm's packages, and the programs that drayage calls.
# Idempotent: what is there is left alone. Starts no service, and stops none.
#
#   deploy/setup.sh            what drayage and the quickstart need
#   deploy/setup.sh --test     what the tests need as well
#   deploy/setup.sh --bench    what the benchmark needs as well
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { echo "setup: $*"; }
fail() {
  echo "setup: $1" >&2
  shift
  for line in "$@"; do echo "       $line" >&2; done
  exit 1
}

# What must be there = the Debian package that brings it. A leading / means a file, else a program.
needed=(
  redis-server=redis-server
  redis-cli=redis-tools
  runc=runc
  conmon=conmon
  catatonit=catatonit
  /usr/lib/cni/bridge=containernetworking-plugins
  iptables=iptables
  igzip=isal
  docker-registry=docker-registry
  /usr/share/containers/seccomp.json=golang-github-containers-common
)
for argument in "$@"; do
  case $argument in
    --test)
      needed+=(
        skopeo=skopeo umoci=umoci podman=podman containerd=containerd ctr=containerd
        busybox=busybox-static tmux=tmux zstd=zstd promtool=prometheus openssl=openssl mkfs.ext4=e2fsprogs
        strace=strace zsh=zsh fish=fish ip=iproute2 nsenter=util-linux
        ceph-mon=ceph-mon ceph-osd=ceph-osd radosgw=radosgw radosgw-admin=ceph-common
        ceph=ceph-common monmaptool=ceph-base ceph-authtool=ceph-common
      ) ;;
    --bench) needed+=(containerd=containerd ctr=containerd pigz=pigz curl=curl mkfs.ext4=e2fsprogs) ;;
    -h | --help)
      sed -n '2,8s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) fail "unknown option $argument" "Usage: deploy/setup.sh [--test] [--bench]" ;;
  esac
done

is_there() {
  case $1 in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Package scripts start what they install; this forbids it as long as the installation runs.
policy=/usr/sbin/policy-rc.d
forbid_starting() {
  if [ -e "$policy" ] || [ -L "$policy" ]; then return; fi
  trap allow_starting EXIT
  trap 'exit 130' INT TERM
  as_root sh -c 'printf "#!/bin/sh\n# drayage set-up: removed when it ends\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
}
allow_starting() {
  if grep -qs 'drayage set-up' "$policy"; then as_root rm -f "$policy"; fi
}

# Nothing of what was installed for drayage starts with the machine: drayage starts its own.
disable_units() {
  command -v systemctl >/dev/null || return 0
  local unit units=()
  for unit in $(dpkg-query -L "$@" 2>/dev/null | grep -E '/systemd/system/[^/@]+\.(service|socket|timer|target)$'); do
    units+=("${unit##*/}")
  done
  [ ${#units[@]} = 0 ] || as_root systemctl disable --quiet "${units[@]}" >/dev/null 2>&1 || true
}

# What a package manager prints is of use only when it fails.
quietly() {
  local output
  output=$("$@" 2>&1 </dev/null) && return
  printf '%s\n' "$output" >&2
  return 1
}

install_packages() {
  local packages=("$@")
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=600)
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    fail "these packages are missing, and installing them needs root: ${packages[*]}" \
      "As root: apt-get install --no-install-recommends ${packages[*]}"
  fi
  say "installing with apt-get: ${packages[*]}"
  if ! quietly as_root "${apt[@]}" -o APT::Update::Error-Mode=any update; then
    say "apt-get update reported the problem above; going on with the package lists that are there"
  fi
  forbid_starting
  quietly as_root "${apt[@]}" install --yes --no-install-recommends "${packages[@]}" ||
    fail "apt-get could not install: ${packages[*]}" "Its messages stand above. Mend that, then run this again."
  allow_starting
  disable_units "${packages[@]}"
}

[ "$(uname -s)" = Linux ] || fail "drayage runs on Linux; this is $(uname -s)"
did=()

# Two set-ups of one checkout take turns.
exec 9<package.json
command -v flock >/dev/null && flock 9

if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  command -v npm >/dev/null || fail "npm is missing" "Install Node.js with npm (any version from 20), then run this again."
  say "installing npm packages (npm ci)"
  # The Node of this repository is an optional package, and its checks are development ones.
  npm ci --include=dev --include=optional --no-audit --no-fund --loglevel=error ||
    fail "npm ci failed" "Its messages stand above."
  touch node_modules/.package-lock.json
  did+=("npm packages")
fi

node=node_modules/.bin/node
[ -x "$node" ] || node=$(command -v node || true)
version=$([ -z "$node" ] || "$node" --version 2>/dev/null || true)
case $version in
  v24.[0-9].* | v24.1[01].* | v[0-9].* | v1[0-9].* | v2[0-3].* | '')
    fail "Node ${version:-is missing}${version:+ is too old}: drayage needs 24.12 or newer" \
      "On Linux x64 it comes with npm ci. Elsewhere ($(uname -m)) put Node 24.12 or newer on PATH."
    ;;
esac

# The command starts sooner from one file; without it, it runs its sources.
quietly "$node" producer/cli/bundle/build.ts || say "the command could not be put into one file (above), and runs its sources"

missing=()
packages=()
for pair in "${needed[@]}"; do
  if ! is_there "${pair%%=*}"; then
    missing+=("${pair%%=*}")
    case " ${packages[*]-} " in
      *" ${pair#*=} "*) ;;
      *) packages+=("${pair#*=}") ;;
    esac
  fi
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "these must be present: ${missing[*]}" \
    "This is not a Debian or Ubuntu: install them with the system's own package manager (Debian's names: ${packages[*]})."
  install_packages "${packages[@]}"
  hash -r
  for name in "${missing[@]}"; do
    is_there "$name" || fail "$name is still missing after the installation" "Install it by hand, then run this again."
  done
  did+=("${packages[@]}")
fi

if [ ${#did[@]} = 0 ]; then
  say "everything is there (Node ${version#v})"
else
  say "done: installed ${did[*]}; no service was started"
fi
