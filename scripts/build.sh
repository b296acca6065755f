#!/usr/bin/env bash
# Configures and builds one of CMakePresets.json.
#   scripts/build.sh [release|demo|bench|debug|asan|race] [target ...]   default: release, everything
# demo, release and bench share build/: each adds to what the ones before it have compiled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${1:-release}
shift || true
case $preset in
  bench) scripts/setup.sh bench ;;
  release | demo | debug | asan | race) scripts/setup.sh ;;
  *) echo "build: unknown preset '$preset': choose release, demo, bench, debug, asan or race" >&2; exit 2 ;;
esac

# One job per core, as far as memory allows: a compiler may take a gigabyte.
jobs=$(nproc)
free_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo 2>/dev/null || true)
by_memory=$((${free_kib:-$((jobs << 20))} >> 20))
jobs=$((by_memory < 1 ? 1 : by_memory < jobs ? by_memory : jobs))

echo "build: $preset, $jobs jobs"
# The demo takes nothing away from a folder that has more.
if [[ $preset != demo || ! -f build/build.ninja ]]; then
  cmake --preset "$preset" >/dev/null
fi
cmake --build --preset "$preset" --parallel "$jobs" ${1:+--target "$@"}
