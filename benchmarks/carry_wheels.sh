#!/usr/bin/env bash
# Fill a folder with what benchmarks/on_gpu.sh needs on a machine without network: `carry_wheels.sh [--bare] [FOLDER]`.
#
# For Python 3.12 on x86-64 Linux, in the versions of constraints.txt; never torch or Triton, which the machine has. By
# default what a machine with torch, numpy, OpenCV, numba and pytest still lacks (47 MiB); --bare takes all of these too
# (228 MiB).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
packages=(annotated-types av pydantic pydantic-core torchcodec typing-inspection)
if [ "${1:-}" = --bare ]; then
  shift
  packages+=(filelock hypothesis iniconfig llvmlite numba numpy opencv-contrib-python-headless packaging pluggy pygments
    pytest pyyaml safetensors scipy sortedcontainers typing-extensions)
fi
folder=${1:-.whl}
wanted=()
for package in "${packages[@]}"; do
  wanted+=("$(grep -m1 -E "^${package}==" "$root/constraints.txt")")
done
platforms=()
for platform in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do
  platforms+=(--platform "${platform}_x86_64")
done
mkdir -p "$folder"
"${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
  "${platforms[@]}" --dest "$folder" "${wanted[@]}"
du -h "$folder"/*.whl >&2
du -sh "$folder" >&2
