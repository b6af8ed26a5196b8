#!/usr/bin/env bash
# Write deploy/locks anew, after a change of pyproject.toml or constraints.txt: versions and hashes of what the image holds.
#
# torch is apart, because there are several builds of it. The hash of the CPU build is that of the file that pip's settings
# find here (an index or a folder that has +cpu builds).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}

tools=.tools/uv
[ -x "$tools/bin/uv" ] || { "$PYTHON" -m venv "$tools" && "$tools/bin/pip" install --quiet uv==0.13.9; }
setting() { "$PYTHON" -m pip config list | sed -n "s/^[^.]*\.$1='\(.*\)'$/\1/p" | tail -n 1; }
links=$(setting find-links)
SSL_CERT_FILE=${SSL_CERT_FILE:-$(setting cert)}
[ -n "$SSL_CERT_FILE" ] && export SSL_CERT_FILE || unset SSL_CERT_FILE

compile() {  # OUTPUT ARGUMENT …
    "$tools/bin/uv" pip compile --quiet --upgrade --constraint constraints.txt --python-version 3.11 \
        --python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate --no-header \
        --output-file "deploy/locks/$1" "${@:2}"
}
with_cpu_builds=(${links:+--find-links "$links"})
compile requirements.txt pyproject.toml --extra cluster --extra export --extra imagenet --extra server --extra transformers --no-emit-package torch "${with_cpu_builds[@]}"
known=$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' deploy/locks/requirements.txt)
# shellcheck disable=SC2086  # many arguments
{
    printf '%s\n' torch triton cuda-bindings | compile torch-cuda.txt - $known
    echo torch | compile torch-cpu.txt - $known "${with_cpu_builds[@]}"
}
