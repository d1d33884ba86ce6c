#!/usr/bin/env bash
# Makes what the members of a cluster share and own: a CA, a certificate and key for each, and the cluster secret.
# What is there already is kept, so that a member can be added later with the same CA.
#
#   scripts/make-pki.sh DIRECTORY NAME=ADDRESS...
#   scripts/make-pki.sh pki fw1=192.0.2.1 fw2=192.0.2.2 witness=192.0.2.3
#
# Afterwards copy to each member: ca.crt, cluster.secret, NAME.crt and NAME.key. Keep ca.key away from all of them.
set -euo pipefail

DAYS_CA=3650
DAYS_MEMBER=825
NEW_KEY=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

fail() { echo "make-pki: $*" >&2; exit 2; }

# Runs openssl, which says much when all is well; when it fails, one line says at what and why.
openssl_to() {
  local what=$1 said why
  shift
  if said=$(openssl "$@" 2>&1); then return; fi
  why=$(grep -i -m 1 -e "could not" -e "can't" -e error <<<"$said" || tail -n 1 <<<"$said")
  fail "cannot make $what in $PWD: openssl: $why"
}

[ "$#" -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
command -v openssl >/dev/null 2>&1 || fail "openssl is missing: apt-get install openssl"
directory=$1
shift
for member in "$@"; do
  name=${member%%=*}
  address=${member#*=}
  case "$name" in
    "" | *[!a-z0-9-]*) fail "$member: write NAME=ADDRESS, the name in small letters, digits and dashes" ;;
  esac
  case "$address" in
    "" | *[!0-9.]*) fail "$member: write NAME=ADDRESS, the address like 192.0.2.1" ;;
  esac
done
umask 077
{ mkdir -p "$directory" && cd "$directory"; } 2>/dev/null || fail "cannot make the folder $directory, or may not enter it"

# One at a time, as when several machines are brought up side by side.
exec 9>>.lock
if command -v flock >/dev/null 2>&1; then flock 9; fi

# Each file is made beside its place and moved there when it is whole: what is there is kept, so half of it must not be.
half=$(mktemp -d ./.half.XXXXXX)
trap 'rm -rf "$half"' EXIT

if [ ! -e ca.crt ]; then
  openssl_to ca.crt req -x509 "${NEW_KEY[@]}" -keyout "$half/ca.key" -out "$half/ca.crt" -days "$DAYS_CA" -subj "/CN=synwall cluster CA"
  mv "$half/ca.key" ca.key
  mv "$half/ca.crt" ca.crt
  echo "made ca.crt and ca.key: keep ca.key away from the members"
fi
if [ ! -e cluster.secret ]; then
  openssl_to cluster.secret rand -hex -out "$half/cluster.secret" 32
  mv "$half/cluster.secret" cluster.secret
  echo "made cluster.secret"
fi
for member in "$@"; do
  name=${member%%=*}
  address=${member#*=}
  [ -e "$name.crt" ] && continue
  openssl_to "$name.crt" req -x509 -CA ca.crt -CAkey ca.key "${NEW_KEY[@]}" -keyout "$half/$name.key" -out "$half/$name.crt" \
    -subj "/CN=$name" -days "$DAYS_MEMBER" \
    -addext "subjectAltName=DNS:$name,IP:$address" \
    -addext "basicConstraints=critical,CA:FALSE" -addext "extendedKeyUsage=serverAuth,clientAuth"
  mv "$half/$name.key" "$name.key"
  mv "$half/$name.crt" "$name.crt"
  echo "made $name.crt and $name.key, valid for $DAYS_MEMBER days"
done
