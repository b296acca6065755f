#!/usr/bin/env bash
# A virtual environment with the current yardsticks (bench/peers/requirements.txt), for
#   bench/compare.py --python "$(scripts/peers.sh)"
# Prints its Python. It lies in $DIFFSCM_PEERS, or ~/.cache/diffscm/peers, and takes some gigabytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${DIFFSCM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/diffscm/peers}
if ! cmp -s bench/peers/requirements.txt "$folder/requirements.txt"; then
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --requirement bench/peers/requirements.txt >&2
  cp bench/peers/requirements.txt "$folder/"
fi
echo "$folder/bin/python"
