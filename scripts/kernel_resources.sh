#!/usr/bin/env bash
# What each CUDA kernel takes, from the compiler's report of the last build: registers, barriers,
# stack, spills, per architecture. (Shared memory is dynamic everywhere: its size is the kernel's
# struct, chosen at launch, so the compiler does not know it.)
#   scripts/kernel_resources.sh [--check] [BUILD FOLDER]
# --check: only the hot kernels, and fail when one of them spills or has a stack frame, or when the
# compiler says of any that it made wgmma wait where the source does not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Where the time goes. A new rung of a hot operator belongs here.
hot='conv2d_.*(mma|tiled|strip|thin|few)|group_norm_|norm_coefficients|chunk_|channel_moments|attention_|matmul_|linear_group_|sum_columns|ddim_update|adamw|whole_network'

check=0
if [[ ${1:-} == --check ]]; then check=1; shift; fi
build=${1:-build}
mapfile -t reports < <(find "$build/kernels/cuda" -name '*.cu.o.ptxas' 2>/dev/null | sort)
if [[ ${#reports[@]} -eq 0 ]]; then
  echo "kernel_resources: no compiler reports under $build/kernels/cuda: build with nvcc first" >&2
  exit 1
fi

# C7510 to C7519: registers of products under way are touched, so these do not overlap any more.
if [[ $check == 1 ]] && grep -h 'C751[0-9]' "${reports[@]}" | c++filt >&2; then
  echo "kernel_resources: the compiler has serialised wgmma" >&2
  exit 1
fi

# One line per kernel: arch registers barriers stack stores loads file name
rows() {
  local report file
  for report in "${reports[@]}"; do
    file=$(basename "$report" .cu.o.ptxas)
    awk -v file="$file" -v quote="'" '
      /Compiling entry function/ { split($0, part, quote); name = part[2]; arch = part[4] }
      /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
      /Used [0-9]+ registers/ {
        match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
        # CUDA 12 says nothing of none.
        barriers = match($0, /used [0-9]+ barriers/) ? substr($0, RSTART + 5, RLENGTH - 14) : 0
        print arch, registers, barriers, stack, stores, loads, file, name
      }' "$report"
  done | c++filt | sed -E 's/diffscm::kernels::(cuda::)?|\(anonymous namespace\):://g; s/void //'
}

rows | awk -v check="$check" -v hot="$hot" '
  BEGIN { printf "%-6s %9s %8s %6s %6s %6s  %s\n", "arch", "registers", "barriers", "stack", "stores", "loads", "kernel" }
  {
    name = $8; for (i = 9; i <= NF; ++i) name = name " " $i
    sub(/\(.*/, "", name)
    is_hot = name ~ hot
    if (check && !is_hot) next
    bad = is_hot && $4 + $5 + $6 > 0
    printf "%-6s %9s %8s %6s %6s %6s  %s %s\n", $1, $2, $3, $4, $5, $6, name, bad ? "  <- spills" : ""
    ++kernels; spilling += bad
  }
  END {
    printf "%d kernels, %d hot ones with spills or a stack frame\n", kernels, spilling
    if (check && kernels == 0) { print "kernel_resources: no hot kernel found" > "/dev/stderr"; exit 1 }
    exit check && spilling > 0
  }'
