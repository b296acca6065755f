#!/usr/bin/env bash
# Builds and runs every test.
#   scripts/test.sh         release build, in build/
#   scripts/test.sh asan    with AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan/
#   scripts/test.sh race    with every kernel of target emu checked for data races, in build-race/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${1:-release}
case $preset in
  release | asan | race) ;;
  *) echo "test: unknown argument '$preset': give nothing, asan or race" >&2; exit 2 ;;
esac
scripts/build.sh "$preset"
exec ctest --preset "$preset" --parallel "$(nproc)"
