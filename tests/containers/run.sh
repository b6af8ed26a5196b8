#!/usr/bin/env bash
# Build the image, and run the tests that need it. Where no container engine can be had, that is said, and is no failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-.venv/bin/python}
IMAGE=kineflow-python:test

code=0
base=$(tests/containers/engine.sh) || code=$?
if [ "$code" = 69 ]; then
    echo
    echo "################################################################################"
    echo "#  SKIPPED: the tests in containers have NOT run: there is no container engine.  #"
    echo "################################################################################"
    exit 0
elif [ "$code" != 0 ]; then
    exit "$code"
fi
"$PYTHON" deploy/build_image.py --base "$base" --tag "$IMAGE" --build-arg TORCH=cpu
KINEFLOW_IMAGE=$IMAGE KINEFLOW_TEST_IMAGE=$IMAGE exec "$PYTHON" -m pytest -m containers tests/containers tests/deploy "$@"
