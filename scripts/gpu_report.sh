#!/usr/bin/env bash
# The GPU report: tests, compute-sanitizer, operators, whole jobs; at most ten minutes, no network.
#   scripts/gpu_report.sh              builds here (nvcc and the libraries of scripts/setup.sh)
#   scripts/gpu_report.sh FOLDER       uses what scripts/gpu_bundle.sh packed elsewhere
# Writes bench/results/<device>/report.md and report.json; further arguments go to bench/gpu_report.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $# -gt 0 && -d $1 ]]; then
  bundle=$(cd "$1" && pwd)
  shift
  export LD_LIBRARY_PATH="$bundle/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  exec python3 bench/gpu_report.py --bin "$bundle/bin" "$@"
fi
scripts/build.sh bench
exec python3 bench/gpu_report.py "$@"
