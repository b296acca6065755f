#!/usr/bin/env bash
# "What would this digit look like, had it been a 5?" for ten digits that the model never saw:
# one command from a fresh checkout to a picture in out/demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/build.sh demo diffscm_demo
diffscm=build/bin/diffscm-demo

# A U-Net that knows the digit guides itself; the generated digits stand in where MNIST is out of reach.
data=mnist
echo "demo: looking for MNIST"
if ! "$diffscm" inspect mnist --quiet >/dev/null 2>&1; then
  data=digits
  echo "demo: no MNIST within reach, so the built-in generated digits stand in for it"
fi

"$diffscm" counterfactual --model "weights/$data-conditional.safetensors" \
  --data "$data" --split test --index 0:10 --do digit=5 --scale 0.7,1,1.3 --report --out out/demo
echo "demo: the picture is $PWD/out/demo/grid.png, the page to play with is $PWD/out/demo/report.html"
echo "demo: for the whole program, build/bin/diffscm: scripts/build.sh"
