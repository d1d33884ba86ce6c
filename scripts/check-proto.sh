#!/usr/bin/env bash
# Checks the .proto sources (buf lint) and that proto/gen is what they generate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

buf lint proto
fresh=$(mktemp -d -t synwall-proto.XXXXXX)
trap 'rm -rf "$fresh"' EXIT
buf generate proto --template proto/buf.gen.yaml --output "$fresh"
if ! diff -r "$fresh/proto/gen" proto/gen; then
  echo "proto: proto/gen is out of date: run npx buf generate proto --template proto/buf.gen.yaml" >&2
  exit 1
fi
echo "proto: sources are clean, generated code is current"
