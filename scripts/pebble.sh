#!/usr/bin/env bash
# Puts Pebble into .tools/pebble: the ACME server that Let's Encrypt tests clients with, and its DNS server. With a
# recent Go it is built from the Go module proxy; otherwise Debian's package serves, which knows no profiles and
# suggests no renewal windows.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v2.10.1

# From 1.21 on Go fetches by itself the toolchain that a module asks for.
recent() {
  local go
  go=$(go env GOVERSION 2>/dev/null) && [ "$(printf '%s\n' go1.21 "$go" | sort -V | head -n 1)" = go1.21 ]
}

if [ -f .tools/pebble/version ] && [ "$(cat .tools/pebble/version)" = "$version" ]; then
  exit 0
fi
mkdir -p .tools/pebble
if recent; then
  echo "Building Pebble $version into .tools/pebble"
  GOBIN=$PWD/.tools/pebble GOFLAGS=-mod=mod GOTOOLCHAIN=auto go install \
    "github.com/letsencrypt/pebble/v2/cmd/pebble@$version" \
    "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@$version"
  echo "$version" >.tools/pebble/version
else
  scripts/packages.sh pebble:pebble
  ln -sf "$(command -v pebble)" "$(command -v pebble-challtestsrv)" .tools/pebble/
fi
