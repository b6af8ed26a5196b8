#!/usr/bin/env bash
# Get a container engine and a base image, and print the name of the base image.
#
# An engine that answers is used as it is. As root on Debian, Docker is installed from Debian's packages and started where
# there is none. A base image that cannot be pulled is made with debootstrap: Debian 12 carries Python 3.11.
#
# Exits with 69 (EX_UNAVAILABLE), having said why, where no engine can be had.
set -euo pipefail

BASE=${KINEFLOW_BASE:-$(sed -n "s/^ARG BASE=//p" "$(dirname "$0")/../../Dockerfile")}
MADE_BASE=kineflow-base-python:bookworm
LOG=/tmp/kineflow-dockerd.log

say() { echo "$*" >&2; }
unavailable() { say "no container engine: $*"; exit 69; }
answers() { docker info > /dev/null 2>&1; }
is_debian() { . /etc/os-release 2> /dev/null && [ "${ID:-}" = debian ]; }

install_packages() {
    say "installing $* from Debian's packages"
    apt-get update --quiet=2 >&2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "$@" >&2
}

get_engine() {
    answers && return
    [ "$(id -u)" = 0 ] || unavailable "none answers, and only root can start one"
    if ! command -v dockerd > /dev/null; then
        is_debian || unavailable "dockerd is not installed, and this is no Debian"
        install_packages docker.io iptables || unavailable "Debian's docker.io does not install"
    fi
    # Steps use the host's network or none, so that an engine which cannot filter packets will do.
    start_dockerd || start_dockerd --iptables=false --bridge=none || {
        tail -n 5 "$LOG" >&2
        unavailable "dockerd does not come up (it needs a kernel that lets it mount and make namespaces)"
    }
}

start_dockerd() {
    say "starting dockerd $*; its log is $LOG"
    setsid nohup dockerd "$@" > "$LOG" 2>&1 < /dev/null &
    for _ in $(seq 60); do
        answers && return
        kill -0 $! 2> /dev/null || return 1
        sleep 1
    done
    return 1
}

get_base() {
    docker image inspect "$BASE" > /dev/null 2>&1 && { echo "$BASE"; return; }
    docker image inspect "$MADE_BASE" > /dev/null 2>&1 && { echo "$MADE_BASE"; return; }
    timeout 120 docker pull --quiet "$BASE" >&2 && { echo "$BASE"; return; }
    say "$BASE cannot be pulled; making $MADE_BASE from Debian's packages"
    [ "$(id -u)" = 0 ] || unavailable "only root can make a base image"
    command -v debootstrap > /dev/null || install_packages debootstrap || unavailable "debootstrap does not install"
    make_base
    echo "$MADE_BASE"
}

make_base() {
    local root
    root=$(mktemp -d)
    # Nothing of this machine's package sources stays in the image.
    if debootstrap --variant=minbase --include=ca-certificates,libgomp1,python3,python3-venv bookworm "$root" \
        ${KINEFLOW_DEBIAN_MIRROR:+"$KINEFLOW_DEBIAN_MIRROR"} >&2; then
        rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/etc/apt/sources.list* \
            "$root"/etc/apt/apt.conf.d/*proxy* "$root"/etc/resolv.conf "$root"/etc/hostname "$root"/var/log/*
        tar -C "$root" -c . | docker import - "$MADE_BASE" >&2
        rm -rf "$root"
    else
        tail -n 5 "$root/debootstrap/debootstrap.log" >&2 || true
        rm -rf "$root"
        unavailable "debootstrap has failed"
    fi
}

get_engine
base=$(get_base)
# An engine that comes up may still not be let start anything.
docker run --rm --network none "$base" true >&2 || unavailable "it starts no container"
echo "$base"
