#include "kernels/softgpu/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "kernels/softgpu/machine_cost.h"

namespace diffscm::softgpu {
namespace {

// L1 and shared memory of a multiprocessor together: 256 KiB from sm_90 on, 192 KiB on sm_80.
size_t combined_bytes(const Device& device) {
  return size_t{device.major >= 9 ? 256u : 192u} * 1024;
}

// Written under the driver's mutex or with no work under way, as everything here.
Profile* part = nullptr;

}  // namespace

Profile::Profile(const Device& device) : device_(device), l2_(device) {}

Profile* Profile::current(const Device& device) {
  if (part != nullptr) return part;
  static const char* const path = std::getenv("DIFFSCM_SOFTGPU_PROFILE");
  if (path == nullptr || *path == 0) return nullptr;
  static Profile* const profile = [&] {
    static Profile only(device);
    std::atexit([] {
      const std::string_view name = path;
      const std::string text = name.ends_with(".json")
                                   ? only.json()
                                   : only.kernels() + "\n" + only.lines() + "\n" + only.timeline();
      std::FILE* file = name == "-" ? stderr : std::fopen(path, "w");
      if (file == nullptr) {
        fmt::print(stderr, "DIFFSCM_SOFTGPU_PROFILE={}: cannot be written\n", path);
        return;
      }
      std::fputs(text.c_str(), file);
      if (file != stderr) std::fclose(file);
    });
    return &only;
  }();
  return profile;
}

void Profile::set_current(Profile* profile) {
  part = profile;
}

size_t Profile::l1_bytes(int blocks_per_multiprocessor, size_t shared_bytes_per_block) const {
  const auto blocks = static_cast<size_t>(std::max(blocks_per_multiprocessor, 1));
  const size_t shared = std::min(blocks * (shared_bytes_per_block + 1024), device_.shared_bytes);
  return (combined_bytes(device_) - shared) / blocks;
}

void Profile::add(const Launch& launch, const KernelCounters& counters) {
  const Program& program = *launch.program;
  Demand d = demand(device_, program, counters, launch.blocks_per_multiprocessor);
  d.memory_bytes = l2_.memory_bytes(counters.footprint);
  const Prediction p = predict(device_, d);
  entries_.push_back({launch.kernel, launch.shape, p, launch.replayed});

  Total& t = totals_[launch.kernel];
  ++t.launches;
  t.us += p.us;
  t.us_limited[static_cast<size_t>(p.limit)] += p.us;
  t.l2_bytes += d.l2_bytes;
  t.memory_bytes += d.memory_bytes;
  t.registers = launch.registers;
  const uint32_t threads = launch.shape.block.x * launch.shape.block.y * launch.shape.block.z;
  t.warps_per_multiprocessor = std::max(
      t.warps_per_multiprocessor,
      (threads + 31) / 32 * static_cast<uint32_t>(std::max(launch.blocks_per_multiprocessor, 1)));
  auto& lines = lines_[launch.kernel];
  for (size_t i = 0; i < counters.instructions.size(); ++i) {
    const InstructionCounters& c = counters.instructions[i];
    if (c.executed == 0) continue;
    const InstructionClass kind = program.code[i].kind;
    const auto executed = static_cast<double>(c.executed);
    for (Count* count : {&t.count, &lines[program.where(static_cast<uint32_t>(i))]}) {
      count->instructions += executed * machine_instructions(program.origins[i].opcode);
      count->sum += c;
      if (is_global(kind)) {
        count->requests += c.executed;
        count->sectors += c.sectors;
      }
      count->mma += executed * mma_instructions(program.origins[i].opcode);
    }
  }
}

void Profile::add_copy(const std::string& what, uint64_t bytes, bool replayed) {
  // What a copy reads was mostly written shortly before, and is still in the L2 if it fits.
  const auto moved = static_cast<double>(bytes);
  const double beyond = std::max(0.0, moved - static_cast<double>(device_.l2_bytes) / 2);
  const Prediction p = predict_copy(device_, moved, beyond);
  entries_.push_back({what, std::nullopt, p, replayed});
  Total& t = totals_[what];
  ++t.launches;
  t.us += p.us;
  t.l2_bytes += moved;
  t.memory_bytes += beyond;
  t.us_limited[static_cast<size_t>(p.limit)] += p.us;
}

void Profile::forget() {
  entries_.clear();
  totals_.clear();
  lines_.clear();
}

}  // namespace diffscm::softgpu
