#include "kernels/softgpu/device.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "kernels/error.h"

namespace diffscm::softgpu {
namespace {

constexpr size_t kMiB = size_t{1} << 20, kGB = 1'000'000'000;

constexpr Device kDevices[] = {
    {.name = "H100",
     .major = 9,
     .minor = 0,
     .multiprocessors = 132,
     .memory_bytes = 80 * kGB,
     .l2_bytes = 50 * kMiB,
     .shared_bytes = 233472,
     .shared_per_block_bytes = 232448,
     .clock_ghz = 1.98,
     .matrix_clock_ghz = 1.80,
     .bf16_tflops = 989,
     .memory_gb_per_s = 3350},
    {.name = "H200",
     .major = 9,
     .minor = 0,
     .multiprocessors = 132,
     .memory_bytes = 141 * kGB,
     .l2_bytes = 50 * kMiB,
     .shared_bytes = 233472,
     .shared_per_block_bytes = 232448,
     .clock_ghz = 1.98,
     .matrix_clock_ghz = 1.80,
     .bf16_tflops = 989,
     .memory_gb_per_s = 4800},
    {.name = "A100",
     .major = 8,
     .minor = 0,
     .multiprocessors = 108,
     .memory_bytes = 80 * kGB,
     .l2_bytes = 40 * kMiB,
     .shared_bytes = 167936,
     .shared_per_block_bytes = 166912,
     .clock_ghz = 1.41,
     .matrix_clock_ghz = 1.41,
     .bf16_tflops = 312,
     .memory_gb_per_s = 2039},
};

// The part of d with so many multiprocessors.
Device part_of(Device d, int multiprocessors) {
  const double share = static_cast<double>(multiprocessors) / d.multiprocessors;
  d.multiprocessors = multiprocessors;
  d.l2_bytes = static_cast<size_t>(static_cast<double>(d.l2_bytes) * share);
  d.bf16_tflops *= share;
  d.memory_gb_per_s *= share;
  return d;
}

}  // namespace

const Device& named_device(std::string_view name) {
  const size_t colon = std::min(name.find(':'), name.size());
  const std::string_view part = name.substr(std::min(colon + 1, name.size()));
  for (const Device& d : kDevices) {
    if (name.substr(0, colon) != d.name) continue;
    if (colon == name.size()) return d;
    int multiprocessors = 0;
    const auto [end, wrong] =
        std::from_chars(part.data(), part.data() + part.size(), multiprocessors);
    require(wrong == std::errc() && end == part.data() + part.size() && multiprocessors >= 1 &&
                multiprocessors <= d.multiprocessors,
            "DIFFSCM_SOFTGPU={}: give a number of multiprocessors from 1 to {}, as in {}:8", name,
            d.multiprocessors, d.name);
    static std::mutex mutex;
    static std::map<std::string, Device, std::less<>> parts;
    const std::lock_guard lock(mutex);
    const auto [at, fresh] = parts.try_emplace(std::string(name), part_of(d, multiprocessors));
    at->second.name = at->first.c_str();
    return at->second;
  }
  fail("DIFFSCM_SOFTGPU={}: unknown device, choose H100, H200 or A100", name);
}

const Device& named_device() {
  const char* name = std::getenv("DIFFSCM_SOFTGPU");
  return named_device(name == nullptr || *name == 0 ? "H100" : name);
}

}  // namespace diffscm::softgpu
