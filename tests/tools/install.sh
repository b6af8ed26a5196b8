#!/bin/sh
# Installs the servers that tests start into environments of their own below .tools/; done already: does nothing.
# OpenStack Swift with its S3 API is a real S3-compatible server; its eventlet must not meet the project's packages.
# Never fails a build: what cannot be installed is said, and the tests that need it are skipped, aloud.
cd "$(dirname "$0")/../.." || exit 0

wanted="swift==2.38.3 pyeclib==1.8.0"
target=.tools/swift
done_mark="$target/installed"

if [ "$(cat "$done_mark" 2>/dev/null)" = "$wanted" ]; then
    echo "$target: installed"
    exit 0
fi
rm -rf "$target"
# shellcheck disable=SC2086  # two requirements
if "${PYTHON:-python3}" -m venv "$target" && "$target/bin/pip" install --quiet --disable-pip-version-check $wanted; then
    echo "$wanted" >"$done_mark"
    echo "$target: $wanted"
else
    rm -rf "$target"
    echo "WARNING: $wanted could not be installed into $target; tests on a real S3 server WILL BE SKIPPED" >&2
fi
