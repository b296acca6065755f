#!/usr/bin/env bash
# Installs what diffscm needs from Debian 12's packages, and only what is missing.
#   scripts/setup.sh         to build, run and test
#   scripts/setup.sh bench   also the benchmarks' yardsticks: Google Benchmark, oneDNN, PyTorch
set -euo pipefail

packages=(g++ cmake ninja-build pkg-config ca-certificates
  libcli11-dev libfmt-dev libtomlplusplus-dev nlohmann-json3-dev
  zlib1g-dev libzip-dev libpng-dev libjpeg-dev libwebp-dev libarchive-dev libstb-dev libcurl4-openssl-dev libssl-dev
  libmuparser-dev libgtest-dev)
# nvcc compresses what it puts into objects; the CUDA device in software reads them.
if command -v nvcc >/dev/null || [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]]; then
  packages+=(libzstd-dev liblz4-dev)
fi
case "${1:-}" in
  "") ;;
  bench) packages+=(libbenchmark-dev libdnnl-dev python3-torch python3-numpy) ;;
  *) echo "setup: unknown argument '$1': give nothing, or bench" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "setup: not a Debian system; make sure you have the equivalents of: ${packages[*]}"
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: please install as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
echo "setup: installing ${missing[*]}"
# The package lists are fetched only when they are absent or too old for the install to work.
# --simulate needs no root and touches nothing.
if ! apt-get install --simulate -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
  "${as_root[@]}" apt-get update -qq
  install
else
  install || { "${as_root[@]}" apt-get update -qq && install; }
fi
echo "setup: done"
