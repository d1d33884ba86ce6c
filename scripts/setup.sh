#!/usr/bin/env bash
# Sets this checkout up: Debian packages, npm packages, build. Does only what is missing, says what it does, and is quick when
# nothing is. Without root it leaves Debian packages alone and names what is missing.
#
#   scripts/setup.sh [--for-tests]      --for-tests: also promtool, which checks metrics and alert rules, and real clients, servers
#                                       and scanners for the lab; servers are unpacked, not installed: none ever starts by itself
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

FOR_TESTS=no
for argument in "$@"; do
  case "$argument" in
    --for-tests) FOR_TESTS=yes ;;
    *) echo "setup: unknown argument $argument: the only one is --for-tests" >&2; exit 2 ;;
  esac
done

# Debian package -> a command or file that shows that it is there, so that machines without dpkg are judged as well.
PACKAGES=(
  "libpcap-dev /usr/include/pcap/pcap.h"
  "g++ g++"
  "make make"
  "python3 python3"
  "iproute2 ip"
  "ethtool ethtool"
  "openssl openssl"
  "curl curl"
  "iputils-ping ping"
  "traceroute traceroute"
  "nftables nft"
  "procps ps"
)
# For tests: clients and scanners, none of which has a service. libwrap0 is what the unpacked servers need besides.
TEST_PACKAGES=(
  "iperf3 iperf3"
  "openssh-client ssh"
  "tftp-hpa tftp"
  "sip-tester sipp"
  "nmap nmap"
  "hping3 hping3"
  "tcpdump tcpdump"
  "libwrap0 /usr/lib/$(uname -m)-linux-gnu/libwrap.so.0"
)
# For tests, as root: servers that would start with the machine if they were installed. Package -> what shows that it is there.
SERVER_PACKAGES=(
  "openssh-server usr/sbin/sshd"
  "vsftpd usr/sbin/vsftpd"
  "tftpd-hpa usr/sbin/in.tftpd"
  "caddy usr/bin/caddy"
  "etcd-server usr/bin/etcd"
)
# A libcurl that speaks HTTP/3, from Debian's backports, beside the machine's own.
HTTP3_PACKAGES=(libcurl3-gnutls libngtcp2-16 libngtcp2-crypto-gnutls8 libnghttp3-9)
NODE_MAJOR_MIN=20
CACHE=node_modules/.cache/synwall
SERVERS=$CACHE/servers
HTTP3=$CACHE/http3
# All that is only in the making, gone also when this is ended in the middle. apt's own user writes there.
MAKING=$(mktemp -d -t synwall-setup.XXXXXX)
trap 'rm -rf "$MAKING"' EXIT
trap 'exit 130' INT TERM HUP
chmod 755 "$MAKING"

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 2; }

# Runs a long step with its output in a file, which stays when it fails; prints one line when it begins, one when it ends, and
# the output's end on failure.
step() {
  local title=$1 log=$MAKING/log kept
  shift
  local began=$SECONDS
  say "$title ..."
  if "$@" >"$log" 2>&1; then
    say "$title: done in $((SECONDS - began)) s"
  else
    local status=$?
    kept=$(mktemp -t synwall-setup-log.XXXXXX)
    mv "$log" "$kept"
    tail -n 25 "$kept" >&2
    say "$title: failed (exit status $status); the whole output is in $kept"
    return "$status"
  fi
}

has() {
  case "$1" in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] ;;
  esac
}

# Of entries "package what-shows-it": those that are not there.
missing_packages() {
  local entry
  for entry in "$@"; do
    has "${entry#* }" || echo "${entry%% *}"
  done
}

is_root_on_debian() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; }

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -eq 0 ] && return 0
  if ! is_root_on_debian; then
    say "these Debian packages are missing, and installing them needs root: ${missing[*]}"
    say "without them the lab, its real clients or the cap driver may not work"
    return 0
  fi
  step "Debian: reading package lists" apt_get update
  step "Debian: installing ${missing[*]}" apt_get install -y --no-install-recommends "${missing[@]}"
}

fresh() { rm -rf "$1" && mkdir -m 755 "$1"; }

# promtool comes out of Debian's prometheus package without installing it: that would start a server on this machine.
# Joined with && throughout: bash ignores `set -e` in what is called from a condition, as step() does.
fetch_promtool() {
  local directory=$MAKING/promtool
  fresh "$directory" &&
    (cd "$directory" && download_prometheus) &&
    dpkg-deb --fsys-tarfile "$directory"/prometheus_*.deb |
    tar -x --no-same-owner -C "$directory" ./usr/bin/promtool &&
    mkdir -p "$CACHE/bin" &&
    mv "$directory/usr/bin/promtool" "$CACHE/bin/promtool"
}

download_prometheus() {
  apt_get download prometheus || { apt_get update && apt_get download prometheus; }
}

install_promtool() {
  has promtool && return 0
  [ -x "$CACHE/bin/promtool" ] && return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    say "promtool (Debian package prometheus) is missing: its checks will be skipped"
    return 0
  fi
  step "fetching promtool for the tests" fetch_promtool || say "without promtool its checks will be skipped"
}

# Packages taken apart into a folder of this checkout: nothing is registered, nothing starts, nothing is left outside.
# unpack DIRECTORY APT-OPTIONS... -- PACKAGES...
unpack() {
  local target=$1 options=() directory=$MAKING/unpacked
  shift
  while [ "$1" != -- ]; do
    options+=("$1")
    shift
  done
  shift
  fresh "$directory" &&
    (cd "$directory" && apt-get "${options[@]}" download "$@") &&
    mkdir -p "$directory/root" "$(dirname "$target")" &&
    unpack_all "$directory" &&
    rm -rf "$target" &&
    mv "$directory/root" "$target"
}

unpack_all() {
  local file
  for file in "$1"/*.deb; do
    dpkg-deb --fsys-tarfile "$file" | tar -x --no-same-owner -C "$1/root" || return 1
  done
}

unpack_servers() {
  unpack "$SERVERS" -- "$@" || { apt_get update && unpack "$SERVERS" -- "$@"; }
}

# The servers of the lab's real clients, which change user, and the etcd of control.store's tests.
install_servers() {
  local entry names=() isMissing=no
  for entry in "${SERVER_PACKAGES[@]}"; do
    names+=("${entry%% *}")
    [ -x "$SERVERS/${entry#* }" ] || isMissing=yes
  done
  [ "$isMissing" = yes ] || return 0
  is_root_on_debian || return 0
  step "Debian: unpacking ${names[*]}" unpack_servers "${names[@]}" ||
    say "without them the real clients of the lab have nobody to talk to"
}

# With lists of its own: the machine's sources stay as they are.
unpack_http3() {
  local lists=$MAKING/lists options
  fresh "$lists" && mkdir -p "$lists/state/partial" &&
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main" \
      >"$lists/backports.list" &&
    options=(-o "Dir::Etc::sourcelist=$lists/backports.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$lists/state"
      -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=) &&
    apt-get "${options[@]}" update &&
    unpack "$HTTP3" "${options[@]}" -t bookworm-backports -- "${HTTP3_PACKAGES[@]}"
}

install_http3() {
  [ -e "$HTTP3/usr" ] && return 0
  is_root_on_debian && grep -q '^VERSION_CODENAME=bookworm' /etc/os-release || return 0
  step "Debian: unpacking a libcurl with HTTP/3" unpack_http3 || say "without it HTTP/3 is not tried in the lab"
}

check_node() {
  command -v node >/dev/null 2>&1 || fail "Node.js is missing: install Node.js $NODE_MAJOR_MIN or later with npm"
  command -v npm >/dev/null 2>&1 || fail "npm is missing: install it beside Node.js"
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge "$NODE_MAJOR_MIN" ] || fail "Node.js $(node -v) is too old: install $NODE_MAJOR_MIN or later"
}

# node-gyp wants Node.js' headers. Most installations carry them; then nothing needs to be downloaded.
use_local_headers() {
  local prefix
  prefix=$(node -p 'require("node:path").resolve(process.execPath, "../..")')
  if [ -z "${npm_config_nodedir:-}" ] && [ -e "$prefix/include/node/node.h" ]; then
    export npm_config_nodedir=$prefix
  fi
}

# npm leaves node_modules/.package-lock.json behind when it has installed everything.
are_modules_current() {
  [ -e node_modules/.package-lock.json ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]
}

npm_ci() { npm ci --no-audit --no-fund --loglevel=error; }

install_modules() {
  use_local_headers
  if ! are_modules_current; then
    if ! step "npm: installing packages" npm_ci; then
      # cap is the one package that needs a compiler and libpcap; all else works without install scripts.
      step "npm: installing packages without building cap" npm_ci_without_scripts
    fi
  fi
  if ! node -e 'require("cap")' >/dev/null 2>&1; then
    step "npm: building cap" npm rebuild cap --loglevel=error ||
      say "the cap driver will not work here; xdp and memory do"
  fi
}

npm_ci_without_scripts() { npm_ci --ignore-scripts; }

# dist is current when no source, and no folder of sources (files may have gone), is newer than the last build.
is_build_current() {
  [ -e dist/.built ] || return 1
  local newer
  newer=$(find src config cluster chaos bench proto/gen package.json tsconfig.base.json tsconfig.build.json \
    \( -path cluster/raft-ts/dist -o -name node_modules -o -name examples -o -name alerts \) -prune -o \
    \( -name '*.ts' -o -name '*.json' -o -type d \) -newer dist/.built -print -quit 2>/dev/null || true)
  [ -z "$newer" ]
}

# The old output stays until the new one is whole: a compiler error must not take a working command away.
run_build() {
  npm run --silent build && touch dist/.built
}

build() {
  is_build_current || step "building" run_build
}

# One at a time: two commands started together must not install over each other.
exec 9>>.setup-done
if command -v flock >/dev/null 2>&1 && ! flock -n 9; then
  say "waiting for another setup of this checkout"
  flock 9
fi

check_node
if [ "$FOR_TESTS" = yes ]; then
  install_packages "${PACKAGES[@]}" "${TEST_PACKAGES[@]}"
else
  install_packages "${PACKAGES[@]}"
fi
install_modules
if [ "$FOR_TESTS" = yes ]; then
  install_promtool
  install_servers
  install_http3
fi
build
