#!/usr/bin/env bash
# Lays out in FOLDER what goes with the binary in every form in which it is handed over: man pages, completions, documents, and the files for
# Prometheus, Alertmanager and Grafana.
#
#     deploy/dist/papers.sh BINARY FOLDER
set -euo pipefail

binary=$(realpath "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$2/completions" "$2/share"
cd "$2"

"$binary" man --to man
"$binary" completions bash >completions/tokenwatch
"$binary" completions zsh >completions/_tokenwatch
"$binary" completions fish >completions/tokenwatch.fish

cp "$root"/{README,CHANGELOG,SECURITY,ARCHITECTURE,CONTRIBUTING}.md .
install -D -m 644 -t docs "$root"/docs/*.md
install -D -m 644 -t docs/decisions "$root"/docs/decisions/*.md
install -D -m 644 -t docs/pictures "$root"/docs/pictures/*.png

for what in prometheus alertmanager grafana; do
    cp -r "$root/deploy/$what" "share/$what"
done
# Its tests are for those who change it.
rm -r share/prometheus/tests
chmod -R u=rwX,go=rX .
