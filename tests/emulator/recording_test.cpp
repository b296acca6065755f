// The runtime table of the target emu: memory, copies, recorded steps.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/device/cuda.h"
#include "kernels/targets.h"

namespace diffscm::kernels::emu {
namespace {

__global__ void add(float* x, float by, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] += by;
}

std::vector<float> read(const float* x, size_t n) {
  std::vector<float> host(n);
  runtime().copy(host.data(), x, n * sizeof(float), Copy::to_host, {});
  return host;
}

TEST(EmulatorRuntime, MemoryIsPoisonedAlignedAndGivenBack) {
  const size_t before = runtime().memory().free_bytes;
  auto* x = static_cast<float*>(runtime().allocate(1000));
  auto* y = static_cast<float*>(runtime().allocate(10));
  ASSERT_NE(x, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(x) % 256, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(y) % 256, 0u);
  for (const float v : read(x, 250)) EXPECT_TRUE(std::isnan(v));
  EXPECT_LT(runtime().memory().free_bytes, before);
  runtime().release(x);
  runtime().release(y);
  EXPECT_EQ(runtime().memory().free_bytes, before);
  EXPECT_EQ(runtime().allocate(size_t{1} << 60), nullptr);
}

TEST(EmulatorRuntime, WorkIsRecordedThenReplayed) {
  auto* x = static_cast<float*>(runtime().allocate(8 * sizeof(float)));
  auto* y = static_cast<float*>(runtime().allocate(8 * sizeof(float)));
  const std::vector<float> ones(8, 1.0f);
  runtime().copy(x, ones.data(), 32, Copy::to_device, {});
  runtime().begin_recording({});
  {
    float by = 2;
    launch<add>(1, 32, 0, {}, x, by, 8);
    by = 100;  // arguments were copied
  }
  runtime().copy(y, x, 32, Copy::within, {});
  EXPECT_THROW(runtime().copy(x, ones.data(), 32, Copy::to_device, {}), Error);
  EXPECT_THROW(runtime().synchronize({}), Error);
  EXPECT_THROW(runtime().begin_recording({}), Error);
  const Recording recording = runtime().end_recording({});
  EXPECT_EQ(read(x, 8), ones) << "nothing runs while it is recorded";
  runtime().replay(recording, {});
  EXPECT_EQ(read(y, 8), std::vector<float>(8, 3.0f));
  runtime().replay(recording, {});
  EXPECT_EQ(read(y, 8), std::vector<float>(8, 5.0f));
  runtime().discard(recording);
  EXPECT_THROW(runtime().end_recording({}), Error);
  EXPECT_THROW(runtime().copy(y, ones.data(), 32, Copy::within, {}), Error);
  runtime().release(x);
  runtime().release(y);
}

TEST(EmulatorRuntime, WorkspaceIsPoisonedForEveryOperator) {
  auto* first = static_cast<float*>(workspace(400, {}));
  launch<add>(1, 128, 0, {}, first, 1.0f, 100);
  auto* second = static_cast<float*>(workspace(200, {}));
  EXPECT_EQ(first, second);
  for (const float v : read(second, 50)) EXPECT_TRUE(std::isnan(v));
}

}  // namespace
}  // namespace diffscm::kernels::emu
