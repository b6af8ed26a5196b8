#!/usr/bin/env bash
# Install deploy/ on the cluster of the kubeconfig, and run recipes on it. Where there is no cluster, that is said, and is
# a failure only if an image is named to be tested. What it wants, and what it leaves: tests/kubernetes/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-.venv/bin/python}

skip() {
    echo
    echo "################################################################################"
    echo "#  SKIPPED: the tests on a cluster have NOT run: $1"
    echo "################################################################################"
    [ -z "${KINEFLOW_TEST_IMAGE:-}" ] || exit 1
    exit 0
}

command -v kubectl >/dev/null || skip "there is no kubectl on the path."
answer=$(kubectl --request-timeout=10s get --raw /readyz 2>&1) ||
    skip "no cluster answers (KUBECONFIG=${KUBECONFIG:-~/.kube/config}): ${answer##*$'\n'}"
echo "cluster: $(kubectl config current-context)"
exec "$PYTHON" -m pytest -m kubernetes -s tests/kubernetes "$@"
