#!/usr/bin/env bash
# Makes a Debian machine a member of a cluster: Node.js check, packages, Synwall in /opt/synwall, systemd unit, kernel settings,
# configuration in /etc/synwall. Safe to run again; it never overwrites a configuration, a secret or a key.
#
#   scripts/provision.sh node    --config FILE --pki DIRECTORY [--install-node] [--install-only]
#   scripts/provision.sh witness --config FILE --pki DIRECTORY [--install-node] [--install-only]
#
# --install-only leaves the service as it runs: 'synwall upgrade' restarts one member after the other with what is installed then.
# FILE begins as config/examples/*.yaml; DIRECTORY is what scripts/make-pki.sh made. --install-node fetches Node.js 20 from
# nodejs.org when it is missing, and checks its sum. The service is enabled and started at the end if its configuration is right.
set -euo pipefail

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=/opt/synwall
ETC=/etc/synwall
# An allow-list: what else lies in a checkout (keys, above all) is nothing that a member runs.
SOURCES=(bench bin chaos cluster config docs proto scripts src test)
FILES=(LICENSE README.md package.json package-lock.json tsconfig.base.json tsconfig.build.json tsconfig.json .npmrc)
NODE_MAJOR_MIN=20
# Programs are read by the user synwall, whatever root's own habit is; keys and configuration get their modes one by one.
umask 022

say() { echo "provision: $*"; }
fail() { echo "provision: $*" >&2; exit 2; }
usage() { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

role=${1:-}
case "$role" in node | witness) shift ;; *) usage ;; esac
config="" pki="" install_node=no install_only=no
while [ "$#" -gt 0 ]; do
  case "$1" in
    --config) config=${2:-}; shift 2 ;;
    --pki) pki=${2:-}; shift 2 ;;
    --install-node) install_node=yes; shift ;;
    --install-only) install_only=yes; shift ;;
    *) usage ;;
  esac
done
if [ -z "$config" ] || [ -z "$pki" ]; then usage; fi
[ "$(id -u)" -eq 0 ] || fail "needs root: use sudo"
[ -r "$config" ] || fail "cannot read $config: name the configuration with --config"
[ -d "$pki" ] || fail "$pki is no folder: make it with scripts/make-pki.sh"

has_node() {
  command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 &&
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR_MIN" ]
}

fetch_node() {
  local base=https://nodejs.org/dist/latest-v20.x machine tarball directory
  case "$(uname -m)" in x86_64) machine=x64 ;; aarch64) machine=arm64 ;; *) fail "no Node.js for $(uname -m) here: install it yourself" ;; esac
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends ca-certificates curl xz-utils
  directory=$(mktemp -d)
  curl -fsSL -o "$directory/SHASUMS256.txt" "$base/SHASUMS256.txt"
  tarball=$(awk -v end="linux-$machine.tar.xz" 'index($2, end) { print $2 }' "$directory/SHASUMS256.txt")
  say "fetching $tarball"
  curl -fsSL -o "$directory/$tarball" "$base/$tarball"
  (cd "$directory" && grep " $tarball\$" SHASUMS256.txt | sha256sum --check --quiet)
  tar -xJf "$directory/$tarball" -C /usr/local --strip-components=1 --no-same-owner
  rm -rf "$directory"
}

if ! has_node; then
  [ "$install_node" = yes ] || fail "Node.js $NODE_MAJOR_MIN or later with npm is missing: install it, or add --install-node"
  fetch_node
fi
say "Node.js $(node -v)"

if [ "$SOURCE" != "$TARGET" ]; then
  say "copying to $TARGET"
  # What an upgrade no longer has must not be built any more; packages and the last build stay until they are replaced.
  for folder in "${SOURCES[@]}"; do rm -rf "${TARGET:?}/$folder"; done
  mkdir -p "$TARGET"
  # Keys belong in /etc/synwall, each on its own member: never those that lie in the checkout.
  (cd "$SOURCE" && find "${SOURCES[@]}" "${FILES[@]}" \( -name node_modules -o -name dist -o -name 'pki*' \) -prune -o \
    -type f ! -name '*.key' ! -name '*.secret' ! -name '*.pem' -print0) |
    tar -C "$SOURCE" --null --no-recursion --files-from=- -cf - | tar -C "$TARGET" --no-same-owner -xf -
  rm -f "$TARGET/dist/.built"
  for left in "$TARGET"/pki*; do
    if [ -e "$left" ]; then say "$left holds keys that an earlier version copied there: remove it if you have it elsewhere"; fi
  done
fi
bash "$TARGET/scripts/setup.sh"
# What root runs, nobody else may write, and synwall may read, however the checkout was made. Keys stay as they are.
find "$TARGET" \( -name .git -o -name 'pki*' -o -name '*.key' -o -name '*.secret' \) -prune -o \
  ! -type l -exec chmod a+rX,go-w {} +
ln -sfn "$TARGET/bin/synwall" /usr/local/bin/synwall

if ! getent passwd synwall >/dev/null; then
  say "making the user synwall"
  useradd --system --home-dir /var/lib/synwall --shell /usr/sbin/nologin synwall
fi
# Members renew their certificates themselves: they may write there.
install -d -m 0770 -o root -g synwall "$ETC"

# Owned by synwall and readable by nobody else: the checks at start insist on it.
keep_or_install() {
  local from=$1 to=$2
  if [ -e "$to" ]; then
    say "keeping $to"
  else
    install -m 0600 -o synwall -g synwall "$from" "$to"
    say "installed $to"
  fi
}
name=$(sed -n 's/^ *node: *\([a-z0-9-]*\).*/\1/p' "$config" | head -n 1)
[ -n "$name" ] || fail "$config does not say cluster.node"
[ -e "$pki/$name.crt" ] || fail "$pki has no certificate for $name: run scripts/make-pki.sh $pki $name=ADDRESS"
keep_or_install "$config" "$ETC/$role.yaml"
keep_or_install "$pki/ca.crt" "$ETC/ca.crt"
keep_or_install "$pki/cluster.secret" "$ETC/cluster.secret"
keep_or_install "$pki/$name.crt" "$ETC/$name.crt"
keep_or_install "$pki/$name.key" "$ETC/$name.key"

if [ "$role" = node ]; then
  install -m 0644 "$TARGET/config/sysctl/90-synwall.conf" /etc/sysctl.d/90-synwall.conf
  sysctl --quiet --load /etc/sysctl.d/90-synwall.conf || say "some kernel settings were refused: see above"
fi

unit=synwall-$role.service
install -m 0644 "$TARGET/config/systemd/$unit" "/etc/systemd/system/$unit"
if [ ! -d /run/systemd/system ]; then
  say "no systemd here: start it with synwall $role --config $ETC/$role.yaml"
  exit 0
fi
systemctl daemon-reload
install -d -m 0700 -o synwall -g synwall /var/lib/synwall
if ! runuser -u synwall -- /usr/local/bin/synwall check --config "$ETC/$role.yaml" --role "$role"; then
  fail "the configuration is not right yet: mend it, then systemctl enable --now $unit"
fi
systemctl enable --quiet "$unit"
if [ "$install_only" = yes ]; then
  say "installed; $unit was not restarted: when all members have the new build, run synwall upgrade on one of them"
  exit 0
fi
systemctl restart "$unit"
say "$unit runs: look at it with synwall status and journalctl -u $unit"
