#!/usr/bin/env bash
# Builds sala_<version>_<architecture>.deb from a binary: `deb.sh BINARY [DIRECTORY]`. The binary is built before, by
# make; the package appears in DIRECTORY (target/debian). Needs dpkg-dev.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(realpath "${1:?usage: deb.sh BINARY [DIRECTORY]}")
out=${2:-target/debian}

version=$("$binary" --version | cut -d ' ' -f 2)
architecture=$(dpkg --print-architecture)
# Files are dated by the last commit, so that the same source gives the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
put() { install -D -m "$1" "$2" "$root/tree$3"; }

put 755 "$binary" /usr/bin/sala
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/tree/usr/bin/sala"
for unit in sala.service sala-etcd.service; do
  put 644 "deploy/systemd/$unit" "/usr/lib/systemd/system/$unit"
done
put 644 deploy/debian/sala.yaml.example /etc/sala/sala.yaml.example
doc=/usr/share/doc/sala
put 644 deploy/debian/copyright $doc/copyright
put 644 LICENSE $doc/LICENSE
put 644 README.md $doc/README.md
for page in configuration.md cluster.md deploy/on-premises.md; do
  put 644 "docs/$page" "$doc/$page"
done
put 644 deploy/debian/lintian-overrides /usr/share/lintian/overrides/sala
put 644 deploy/debian/sala.1 /usr/share/man/man1/sala.1
gzip -9n "$root/tree/usr/share/man/man1/sala.1"
printf 'sala (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" \
  "$(sed -n 's/^Maintainer: //p' deploy/debian/control.in)" "$(date -Rud "@$SOURCE_DATE_EPOCH")" |
  gzip -9n >"$root/tree$doc/changelog.gz"
gzip -9nc CHANGELOG.md >"$root/tree$doc/CHANGELOG.md.gz"

# What libraries the binary needs, in which versions: dpkg-shlibdeps reads it off the binary.
mkdir -p "$root/work/debian"
printf 'Source: sala\n\nPackage: sala\nArchitecture: any\n' >"$root/work/debian/control"
depends=$(cd "$root/work" && dpkg-shlibdeps -O -e"$root/tree/usr/bin/sala" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
size=$(du -k --apparent-size -s "$root/tree" | cut -f 1)

control=$root/tree/DEBIAN
mkdir "$control"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" \
  -e "s/@DEPENDS@/$depends/" deploy/debian/control.in >"$control/control"
echo /etc/sala/sala.yaml.example >"$control/conffiles"
for script in postinst prerm postrm; do
  install -m 755 "deploy/debian/$script" "$control/$script"
done
(cd "$root/tree" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\0' |
  sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$root/tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
package=$out/sala_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz -z"${SALA_DEB_COMPRESSION:-6}" --build "$root/tree" "$package" >/dev/null
echo "$package"
