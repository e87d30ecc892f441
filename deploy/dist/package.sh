#!/usr/bin/env bash
# Packs a binary that is built already: BINARY becomes OUT/tokenwatch_VERSION_ARCH.deb, with the unit, man pages, completions and documents
# around it. Says the path of the package and nothing else. The test calls it with a debug binary, `make dist` with the release.
#
#     deploy/dist/package.sh BINARY OUT
#
# SOURCE_DATE_EPOCH is the time of everything in the package; else it is that of the last commit. DEBFULLNAME and DEBEMAIL say who packs.
set -euo pipefail

[ "$#" -eq 2 ] || { sed -n '5s/^# *//p' "$0" >&2; exit 64; }
for tool in dh dpkg-deb; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt install debhelper dpkg-dev" >&2; exit 1; }
done
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
root=$(cd "$(dirname "$0")/../.." && pwd)
version=$("$binary" --version | cut -d' ' -f2)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/CHANGELOG.md")}
export SOURCE_DATE_EPOCH
umask 022

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
source=$stage/tokenwatch-$version
mkdir -p "$source"
cd "$source"

# What the program says about itself.
"$root/deploy/dist/papers.sh" "$binary" .
# Debian's own name for it is changelog.gz; debhelper would take this one for it.
rm CHANGELOG.md
install -D -m 755 "$binary" bin/tokenwatch
install -D -m 644 "$root/deploy/tokenwatch.toml" etc/tokenwatch.toml.example
install -D -m 644 -t examples "$root"/systemd/polkit-1/rules.d/50-tokenwatch.rules

cp -r "$root/deploy/debian" debian
install -m 644 "$root/systemd/system/tokenwatch.service" debian/tokenwatch.service
install -m 644 "$root/systemd/sysusers.d/tokenwatch.conf" debian/tokenwatch.sysusers
install -m 644 "$root/systemd/tmpfiles.d/tokenwatch.conf" debian/tokenwatch.tmpfiles
packer="${DEBFULLNAME:-tokenwatch maintainers} <${DEBEMAIL:-maintainers@tokenwatch.invalid}>"
sed -i "s/^Maintainer: .*/Maintainer: $packer/" debian/control
"$root/deploy/dist/changelog.awk" -v version="$version" -v packer="$packer" \
    -v today="$(date -u -R -d "@$SOURCE_DATE_EPOCH")" "$root/CHANGELOG.md" >debian/changelog

debian/rules binary >build.log 2>&1 || { cat build.log >&2; exit 1; }
cp ../*.deb "$out/"
echo "$out/$(basename ../*.deb)"
