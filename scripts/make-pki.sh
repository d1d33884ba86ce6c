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

[ "$#" -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
directory=$1
shift
umask 077
mkdir -p "$directory"
cd "$directory"

if [ ! -e ca.crt ]; then
  openssl req -x509 "${NEW_KEY[@]}" -keyout ca.key -out ca.crt -days "$DAYS_CA" -subj "/CN=synwall cluster CA" 2>/dev/null
  echo "made ca.crt and ca.key: keep ca.key away from the members"
fi
if [ ! -e cluster.secret ]; then
  openssl rand -hex 32 >cluster.secret
  echo "made cluster.secret"
fi
for member in "$@"; do
  name=${member%%=*}
  address=${member#*=}
  case "$name" in
    "" | *[!a-z0-9-]*) echo "make-pki: $member: write NAME=ADDRESS, the name in small letters, digits and dashes" >&2; exit 2 ;;
  esac
  [ -e "$name.crt" ] && continue
  openssl req -x509 -CA ca.crt -CAkey ca.key "${NEW_KEY[@]}" -keyout "$name.key" -out "$name.crt" \
    -subj "/CN=$name" -days "$DAYS_MEMBER" \
    -addext "subjectAltName=DNS:$name,IP:$address" \
    -addext "basicConstraints=critical,CA:FALSE" -addext "extendedKeyUsage=serverAuth,clientAuth" 2>/dev/null
  echo "made $name.crt and $name.key, valid for $DAYS_MEMBER days"
done
