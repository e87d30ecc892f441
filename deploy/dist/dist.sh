#!/usr/bin/env bash
# `make dist`: everything that is handed over, in target/dist: the Debian package, a static binary with its papers, the bill of materials, checksums.
#
# The same comes out wherever the same compiler and C library are: times are those of the last commit, and no path of this machine may be in a
# binary. STATIC_TARGET chooses another target for the static binary, one with musl for example.
set -euo pipefail

cd "$(dirname "$0")/../.."
root=$PWD
out=$root/target/dist
tools=$root/target/tools/cargo
host=$(rustc -vV | sed -n 's/^host: //p')
static_target=${STATIC_TARGET:-$host}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Whoever packs may not be whom the checkout belongs to.
git() { command git -c safe.directory='*' "$@"; }
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
TOKENWATCH_REVISION=$(git rev-parse --short=12 HEAD)
export SOURCE_DATE_EPOCH TOKENWATCH_REVISION
umask 022

for tool in dh dpkg-deb lintian readelf; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt install debhelper dpkg-dev lintian binutils" >&2; exit 1; }
done

# What lists the libraries: into the binary, and into a file. The stamp is written last.
wanted=(cargo-auditable@0.7.7 cargo-cyclonedx@0.5.9)
if [ "$(cat "$tools/stamp" 2>/dev/null)" != "${wanted[*]}" ]; then
    echo "installing: ${wanted[*]} (into target/tools; takes some minutes)"
    for tool in "${wanted[@]}"; do
        cargo install --quiet --locked --root "$tools" "$tool"
    done
    echo "${wanted[*]}" >"$tools/stamp"
fi
export PATH=$tools/bin:$PATH

# Paths end up in messages of panics, in Rust and in C.
registry=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
remap=(--remap-path-prefix="$root"=/usr/src/tokenwatch --remap-path-prefix="$registry"=/cargo --remap-path-prefix="$sysroot"=/rust)
export CFLAGS="-ffile-prefix-map=$root=/usr/src/tokenwatch -ffile-prefix-map=$registry=/cargo"

# Folders of their own: what is built for a static program is no good for another.
build() { # FOLDER TARGET FLAG…
    local folder=$root/target/dist-build/$1 target=$2
    shift 2
    # Within $(…) a failure ends nothing by itself.
    RUSTFLAGS="${remap[*]} $*" CARGO_TARGET_DIR=$folder cargo auditable build --locked --release --target "$target" >&2 || return
    echo "$folder/$target/release/tokenwatch"
}
dynamic=$(build dynamic "$host")
static=$(build static "$static_target" -C target-feature=+crt-static)

for binary in "$dynamic" "$static"; do
    [ "$("$binary" --version)" = "tokenwatch $version" ] || { echo "$binary is of another version" >&2; exit 1; }
    for place in "$root" "$registry" "$sysroot"; do
        found=0
        grep -qaF "$place" "$binary" || found=$?
        # 1 is "not found"; anything else is found, or could not be looked for.
        [ "$found" -eq 1 ] || { echo "$binary holds the path $place, or cannot be read" >&2; exit 1; }
    done
done
headers=$(readelf --program-headers "$static")
if [[ $headers == *INTERP* ]]; then
    echo "$static is not static" >&2
    exit 1
fi

rm -rf "$out"
mkdir -p "$out"
deb=$(deploy/dist/package.sh "$dynamic" "$out")
lintian --no-cfg --allow-root --fail-on=error,warning "$deb"

# The static binary, as a folder that is laid out like the repository.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
name=tokenwatch-$version-linux-${static_target%%-*}
mkdir "$stage/$name"
deploy/dist/papers.sh "$static" "$stage/$name"
install -m 755 "$static" "$stage/$name/tokenwatch"
mv "$stage/$name/share" "$stage/$name/deploy"
cp deploy/tokenwatch.toml "$stage/$name/deploy/"
cp -r systemd "$stage/$name/systemd"
chmod -R u=rwX,go=rX "$stage/$name"
tar --create --directory "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$name" |
    gzip --no-name --best >"$out/$name.tar.gz"

# It writes beside Cargo.toml only. The path of this checkout is part of the names that it gives.
sbom=tokenwatch-$version.cdx
cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$host" --override-filename "$sbom"
sed "s|$root|/usr/src/tokenwatch|g" "$sbom.json" >"$out/$sbom.json"
rm "$sbom.json"

cd "$out"
sha256sum -- * >SHA256SUMS
ls -l
