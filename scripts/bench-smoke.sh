#!/usr/bin/env bash
# Runs every bench at smoke size, so that none rots. The figures mean nothing at that size and are not shown unless one fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

shopt -s nullglob
benches=(bench/*.bench.ts)
[ "${#benches[@]}" -gt 0 ] || { echo "bench-smoke: there is no bench/*.bench.ts" >&2; exit 1; }

output=$(mktemp -t synwall-bench.XXXXXX)
trap 'rm -f "$output"' EXIT
failed=0
for bench in "${benches[@]}"; do
  began=$SECONDS
  if node --import tsx "$bench" --smoke >"$output" 2>&1; then
    echo "bench-smoke: $bench: runs ($((SECONDS - began)) s)"
  else
    status=$?
    tail -n 30 "$output"
    echo "bench-smoke: $bench: failed (exit status $status)"
    failed=$((failed + 1))
  fi
done
[ "$failed" -eq 0 ]
