#!/usr/bin/env bash
# Installs the Debian packages of missing commands: `packages.sh COMMAND:PACKAGE…`. Says what it installs and asks
# nothing. Where apt is missing it says what to install by hand.
set -euo pipefail

present() {
  case $1 in
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=()
for pair in "$@"; do
  present "${pair%%:*}" || missing+=("${pair#*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "Missing: ${missing[*]}. This is no Debian or Ubuntu: install them by hand, then run make again." >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  sudo=(sudo)
  [ -t 0 ] || sudo+=(--non-interactive)
fi
echo "Installing missing Debian packages: ${missing[*]}"
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
