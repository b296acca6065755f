#include "engine/target.h"

#include <omp.h>

#include "kernels/cpu/table.h"

namespace diffscm {

const char* name_of(Target target) {
  switch (target) {
    case Target::cpu:
      return "cpu";
    case Target::cuda:
      return "cuda";
    case Target::emu:
      return "emu";
  }
  return "?";
}

Target parse_target(std::string_view name) {
  for (const Target target : {Target::cpu, Target::cuda, Target::emu})
    if (name == name_of(target)) return target;
  fail("unknown device '{}': choose cuda, cpu or emu", name);
}

std::vector<Target> available_targets() {
  return {Target::cpu};
}

Target default_target() {
  return available_targets().front();
}

const kernels::OperatorTable& operators(Target target) {
  require(target == Target::cpu, "device '{}' is not part of this build: use --device cpu",
          name_of(target));
  return kernels::cpu::operators();
}

void set_threads(int threads) {
  require(threads >= 0 && threads <= 4096,
          "--threads {} is out of range: give 1 to 4096, or 0 for all", threads);
  if (threads > 0) omp_set_num_threads(threads);
}

int threads() {
  return omp_get_max_threads();
}

}  // namespace diffscm
