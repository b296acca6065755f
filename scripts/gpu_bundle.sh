#!/usr/bin/env bash
# Packs what scripts/gpu_report.sh and scripts/gpu_train.sh need into one folder, for a GPU machine
# that has neither the libraries nor a network: binaries, and every shared library that is not part
# of any Linux (glibc, libstdc++) or of the driver.
#   scripts/gpu_bundle.sh [FOLDER]      default: gpu-bundle; then there: scripts/gpu_report.sh FOLDER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${1:-gpu-bundle}
scripts/build.sh bench diffscm kernels_tests engine_tests models_tests diffusion_tests causal_tests bench_operators bench_job
mkdir -p "$folder/bin" "$folder/lib"
for name in diffscm kernels_tests engine_tests models_tests diffusion_tests causal_tests bench_operators bench_job; do
  cp "build/bin/$name" "$folder/bin/"
  strip "$folder/bin/$name"
  ldd "build/bin/$name"
done | awk '/=> \// {print $3}' | sort -u \
  | grep -Ev '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux[^/]*|libcuda)\.so' \
  | xargs -r cp -L -t "$folder/lib"
echo "gpu_bundle: $(du -sh "$folder" | cut -f1) in $folder"
