#!/usr/bin/env bash
# Everything that only a GPU can tell, in at most 9 minutes: `benchmarks/on_gpu.sh [--dry] [OUT [WHEELS]]`.
#
# Runs the GPU tests, times the flow solvers against the ceilings of the card, decodes clips by NVDEC and by the CPU's
# cores, and trains S3D-G, TSN and a distillation in eager, compiled and graph form. OUT/on_gpu.json (by default gpu-figures/on_gpu.json) has all figures, and
# `python benchmarks/gpu_tables.py OUT/on_gpu.json` makes tables of it; logs lie beside it.
#
# The machine needs a GPU, Python 3.11 or 3.12, torch 2.11 or later with Triton, and no network: WHEELS is a folder
# filled by benchmarks/carry_wheels.sh elsewhere. A part that fails or takes too long stands in the JSON, and the others
# go on. --dry takes tiny sizes, for a CPU too. PYTHON names the interpreter.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
dry=()
if [ "${1:-}" = --dry ]; then dry=(--dry); shift; fi
out=${1:-gpu-figures} wheels=${2:-}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
export PYTHONPATH=$PWD:$PWD/benchmarks PYTHONUNBUFFERED=1

part() {  # NAME SECONDS COMMAND …
  local name=$1 limit=$2 begun=$SECONDS
  shift 2
  echo "$name: at most $limit s" >&2
  timeout --kill-after=5 "$limit" "$@" >"$out/$name.log" 2>&1
  echo "{\"exit\": $?, \"seconds\": $((SECONDS - begun)), \"limit_s\": $limit}" >"$parts/$name.ended.json"
}

if [ -n "$wheels" ]; then
  part install 40 "$PYTHON" benchmarks/on_gpu/install.py "$wheels" "$parts/site"
  PYTHONPATH=$PYTHONPATH:$parts/site
fi
part links 10 "$PYTHON" -m on_gpu.ffmpeg_links "$parts/ffmpeg"
export LD_LIBRARY_PATH=$parts/ffmpeg${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
mapfile -t tests < <(grep -rlE 'pytest\.mark\.gpu' tests --include='test_*.py' | sort)
part tests 100 "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider --junitxml="$parts/tests.xml" "${tests[@]}"
part flow 100 "$PYTHON" -m on_gpu.flow "$parts/flow.json" "${dry[@]}"
part decoding 55 "$PYTHON" -m on_gpu.decoding "$parts/decoding.json" "${dry[@]}"
part training 225 "$PYTHON" -m on_gpu.training "$parts/training.json" --seconds 170 "${dry[@]}"
"$PYTHON" -m on_gpu.collect "$parts" "$out/on_gpu.json" && echo "$out/on_gpu.json"
