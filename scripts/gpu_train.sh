#!/usr/bin/env bash
# Trains the shipped networks by their full recipes on a GPU, in one call: the mnist-fast pair
# (U-Net 30,000 steps of 256, classifier 3,000 of 256) and the same for digits.
#   scripts/gpu_train.sh [FOLDER of scripts/gpu_bundle.sh]
# Runs go to runs/<data>-<network>; call again after an interruption to go on. When a run is finished
# its model replaces the one in weights/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=build/bin/diffscm
if [[ $# -gt 0 ]]; then
  program=$1/bin/diffscm
  export LD_LIBRARY_PATH="$1/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
else
  scripts/build.sh release diffscm
fi

for data in mnist digits; do
  for network in unet:diffusion classifier:classifier; do
    name=${network%%:*} kind=${network##*:}
    run=runs/$data-$name
    resume=()
    [[ ! -f $run/checkpoint.safetensors ]] || resume=(--resume)
    "$program" train "$kind" --preset mnist-fast --data "$data" --device cuda --precision bf16 \
      --checkpoint-every 2000 --log-every 100 --out "$run" "${resume[@]}"
    cp "$run/model.safetensors" "weights/$data-$name.safetensors.new"
    mv "weights/$data-$name.safetensors.new" "weights/$data-$name.safetensors"
  done
done
echo "gpu_train: done; update weights/README.md with the steps, the device and the date"
