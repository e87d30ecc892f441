#!/usr/bin/env bash
# Installs what `make lint` judges with, of pinned versions, into target/tools/lint: a spell checker, and the cargo commands that look at
# dependencies (compiled once, about five minutes). Does nothing where they are there already.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/target/tools/lint
python=$tools/python

python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing: apt install python3-venv" >&2; exit 1; }

spelling=typos==1.52.0
if [ "$(cat "$python/stamp" 2>/dev/null)" != "$spelling" ]; then
    echo "installing for lint: $spelling (into target/tools/lint)"
    rm -rf "$python"
    mkdir -p "$tools"
    python3 -m venv "$python"
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check "$spelling"
    echo "$spelling" >"$python/stamp"
fi

for wanted in cargo-deny@0.20.2 cargo-machete@0.9.2; do
    name=${wanted%@*}
    if [ "$(cat "$tools/$name.stamp" 2>/dev/null)" != "$wanted" ] || [ ! -x "$tools/bin/$name" ]; then
        echo "installing for lint: $wanted (into target/tools/lint)"
        # Compiled apart from the project, whose settings and lock file are none of its business.
        (cd / && CARGO_TARGET_DIR=$tools/build "${CARGO:-cargo}" install --quiet --locked --force --root "$tools" "$wanted")
        rm -rf "$tools/build"
        echo "$wanted" >"$tools/$name.stamp"
    fi
done
