#!/usr/bin/env bash
# Makes the pictures of the README from the demo: the status page by a browser, the dashboard by Grafana's own components over a real Prometheus.
# Needs what the tests need (make test-tools), and a few minutes and 500 MB below target/ for the components.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
built=$root/target/tools/pictures
site=http://127.0.0.1:9847
node=$root/target/tools/node
python=$root/target/tools/python
[ ! -x "$python/bin/npm" ] || PATH=$python/bin:$PATH
PATH=$node:$PATH

children=()
trap 'kill "${children[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
until_it_answers() {
    for _ in $(seq 600); do curl -fsS -o /dev/null "$1" 2>/dev/null && return; sleep 0.1; done
    echo "no answer from $1" >&2
    exit 1
}
# picture FILE WIDTH HEIGHT URL [FLAG...]
picture() {
    chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking --force-color-profile=srgb \
        --user-data-dir="$work/browser" --window-size="$2,$3" --virtual-time-budget=20000 --screenshot="$work/$1" "${@:5}" "$4" 2>/dev/null
    mv "$work/$1" "$here/$1"
    echo "docs/pictures/$1"
}

# The page that draws the dashboard.
mkdir -p "$built/public"
cp "$here"/dashboard/* "$built"
cp "$root/deploy/grafana/dashboards/tokenwatch.json" "$built/public"
(
    cd "$built"
    cmp -s package.json installed.json || {
        npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts --legacy-peer-deps
        cp package.json installed.json
    }
    npm run --silent build >build.log || { cat build.log >&2; exit 1; }
)

# The demo, and a Prometheus that looks at it from the first day on.
cargo build --locked --quiet --manifest-path "$root/Cargo.toml"
"$root/target/debug/tokenwatch" demo --forever --folder "$work/demo" >"$work/story" &
children+=($!)
prometheus=$(free_port)
cat >"$work/prometheus.yml" <<EOF
global: { scrape_interval: 1s }
scrape_configs: [{ job_name: tokenwatch, static_configs: [{ targets: ["127.0.0.1:9847"] }] }]
EOF
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --web.listen-address="127.0.0.1:$prometheus" >"$work/prometheus.log" 2>&1 &
children+=($!)
drawn=$(free_port)
(cd "$built" && PROMETHEUS=http://127.0.0.1:$prometheus exec npm run --silent preview -- --host 127.0.0.1 --port "$drawn" >"$work/preview.log" 2>&1) &
children+=($!)
until_it_answers "$site/readyz"
until_it_answers "http://127.0.0.1:$drawn/"

echo "waiting for the end of the story, about a minute"
until grep -q 'calls the doctor' "$work/story"; do sleep 1; done
# Its last word is about a token that was withdrawn; the page shows it once the daemon has looked twice.
until curl -fsS "$site/metrics" | grep -q 'token="helpdesk-whatsapp",finding="revoked"'; do sleep 0.2; done

picture status-page.png 1100 1150 "$site/"
picture status-page-dark.png 1100 1150 "$site/" --blink-settings=preferredColorScheme=0
picture dashboard.png 1400 1330 "http://127.0.0.1:$drawn/?theme=light&span=90"
picture dashboard-dark.png 1400 1330 "http://127.0.0.1:$drawn/?theme=dark&span=90"
