#!/usr/bin/env bash
# Install deploy/ on the cluster of the kubeconfig, and run recipes on it. Where there is no cluster, that is said, and is
# no failure. What it wants, and what it leaves: tests/kubernetes/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-.venv/bin/python}

skip() {
    echo
    echo "################################################################################"
    echo "#  SKIPPED: the tests on a cluster have NOT run: $1"
    echo "################################################################################"
    exit 0
}

command -v kubectl >/dev/null || skip "there is no kubectl on the path."
kubectl --request-timeout=10s get --raw /readyz >/dev/null 2>&1 ||
    skip "no cluster answers (KUBECONFIG=${KUBECONFIG:-~/.kube/config})."
echo "cluster: $(kubectl config current-context)"
exec "$PYTHON" -m pytest -m kubernetes -s tests/kubernetes "$@"
