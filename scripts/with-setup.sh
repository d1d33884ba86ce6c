#!/usr/bin/env bash
# Sets the checkout up if something is missing (setup.sh), then becomes the given command.
#
#   scripts/with-setup.sh [--for-tests] COMMAND...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

options=()
if [ "${1:-}" = --for-tests ]; then
  options=(--for-tests)
  shift
fi
[ "$#" -gt 0 ] || { echo "with-setup: name a command to run" >&2; exit 2; }

bash scripts/setup.sh "${options[@]}"
export PATH="$PATH:/usr/sbin:/sbin:$PWD/node_modules/.cache/synwall/bin"
exec "$@"
