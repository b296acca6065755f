#!/usr/bin/env bash
# "What would this digit look like, had it been a 5?" for ten digits that the model never saw:
# one command from a fresh checkout to a picture in out/demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/build.sh demo diffscm
diffscm=build/bin/diffscm

data=mnist
echo "demo: looking for MNIST"
if ! "$diffscm" inspect mnist --quiet >/dev/null 2>&1; then
  data=digits
  echo "demo: no MNIST within reach, so the built-in generated digits stand in for it"
fi

"$diffscm" counterfactual \
  --model "weights/$data-unet.safetensors" --classifier "weights/$data-classifier.safetensors" \
  --data "$data" --split test --index 0:10 --do digit=5 --scale 0.1,0.7,2,4 --out out/demo
echo "demo: the picture is $PWD/out/demo/grid.png (rows: factual, reconstruction, do(digit=5) at s = 0.1, 0.7, 2, 4)"
