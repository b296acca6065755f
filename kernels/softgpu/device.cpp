#include "kernels/softgpu/device.h"

#include <cstdlib>

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
     .clock_ghz = 1.755,
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
     .clock_ghz = 1.755,
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
     .bf16_tflops = 312,
     .memory_gb_per_s = 2039},
};

}  // namespace

const Device& named_device(std::string_view name) {
  for (const Device& d : kDevices)
    if (name == d.name) return d;
  fail("DIFFSCM_SOFTGPU={}: unknown device, choose H100, H200 or A100", name);
}

const Device& named_device() {
  const char* name = std::getenv("DIFFSCM_SOFTGPU");
  return named_device(name == nullptr || *name == 0 ? "H100" : name);
}

}  // namespace diffscm::softgpu
