#include "engine/target.h"

#include <array>

#include "engine/dry_run.h"
#include "engine/whole_network.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/targets.h"

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

namespace {

constexpr std::array kTargets{Target::cpu, Target::cuda, Target::emu};

struct Tables {
  const kernels::OperatorTable* operators = nullptr;
  const kernels::Runtime* runtime = nullptr;
  const kernels::WholeNetwork* whole_network = nullptr;
  std::string unusable;
};

Tables find(Target target) {
  const kernels::BuiltTarget built = kernels::built_target(name_of(target));
  return {built.operators, built.runtime, built.whole_network,
          built ? built.runtime->unusable() : built.left_out};
}

// Asked once per target: whether a device can be used does not change while the program runs.
const Tables& tables(Target target) {
  switch (target) {
    case Target::cuda: {
      static const Tables cuda = find(Target::cuda);
      return cuda;
    }
    case Target::emu: {
      static const Tables emu = find(Target::emu);
      return emu;
    }
    case Target::cpu:
      break;
  }
  static const Tables cpu = find(Target::cpu);
  return cpu;
}

const Tables& usable_tables(Target target) {
  const Tables& t = tables(target);
  require(t.unusable.empty(), "device '{}' cannot be used: {}; use --device cpu", name_of(target),
          t.unusable);
  return t;
}

}  // namespace

std::vector<Target> built_targets() {
  std::vector<Target> built;
  for (const Target target : kTargets)
    if (tables(target).operators != nullptr) built.push_back(target);
  return built;
}

std::string unusable_because(Target target) {
  return tables(target).unusable;
}

std::vector<Target> available_targets() {
  std::vector<Target> usable = built_targets();
  std::erase_if(usable, [](Target target) { return !tables(target).unusable.empty(); });
  return usable;
}

Target default_target() {
  return tables(Target::cuda).unusable.empty() ? Target::cuda : Target::cpu;
}

const kernels::OperatorTable& operators(Target target) {
  const kernels::OperatorTable& real = *usable_tables(target).operators;
  return dry_running() ? dry_operators(real) : real;
}

const kernels::Runtime& runtime(Target target) {
  const kernels::Runtime& real = *usable_tables(target).runtime;
  return dry_running() ? dry_runtime(real) : real;
}

const kernels::WholeNetwork* whole_network(Target target) {
  return dry_running() ? nullptr : usable_tables(target).whole_network;
}

void set_threads(int threads) {
  kernels::set_threads(threads);
}

int threads() {
  return kernels::cpu::threads();
}

}  // namespace diffscm
