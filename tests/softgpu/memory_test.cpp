// Memory of the device: what is in it, whose it is, who may touch it.
#include "kernels/softgpu/memory.h"

#include <limits>

#include "kernels/error.h"
#include "kernels/softgpu/driver.h"
#include "tests/softgpu/support.h"

namespace diffscm::softgpu {
namespace {

using namespace test;

uintptr_t address(const void* p) {
  return reinterpret_cast<uintptr_t>(p);
}

TEST(SoftGpuMemory, KnowsToTheByteWhatIsAllocated) {
  Memory memory(1 << 20);
  auto* a = static_cast<std::byte*>(memory.allocate(100));
  auto* b = static_cast<std::byte*>(memory.allocate(5000));
  EXPECT_EQ(address(a) % 256, 0u);
  EXPECT_EQ(memory.find(address(a) + 99)->number, 1u);
  EXPECT_EQ(memory.find(address(a) + 100), nullptr);
  EXPECT_EQ(memory.find(address(b) - 1), nullptr);
  EXPECT_TRUE(memory.holds(b, 5000));
  EXPECT_FALSE(memory.holds(b + 1, 5000));
  EXPECT_EQ(memory.place(address(a) + 103), "3 bytes past the end of allocation 1 (100 bytes)");
  EXPECT_EQ(memory.place(address(b) - 8), "8 bytes before allocation 2 (5000 bytes)");
  EXPECT_EQ(memory.place(address(b) + 8), "byte 8 of allocation 2 (5000 bytes)");
  EXPECT_EQ(memory.place(12), "in no allocation of the device");
}

TEST(SoftGpuMemory, AnAddressIsNeverGivenTwice) {
  Memory memory(1 << 20);
  void* a = memory.allocate(1000);
  memory.release(a);
  EXPECT_EQ(memory.used_bytes(), 0u);
  for (int i = 0; i < 100; ++i) {
    void* b = memory.allocate(1000);
    EXPECT_NE(a, b);
    memory.release(b);
  }
  EXPECT_EQ(memory.find(address(a)), nullptr);
  EXPECT_EQ(memory.place(address(a) + 4), "in allocation 1 (1000 bytes), which was freed");
  EXPECT_THROW(memory.release(a), Error);
}

TEST(SoftGpuMemory, IsAsLargeAsItWasMade) {
  Memory memory(10000);
  EXPECT_NE(memory.allocate(6000), nullptr);
  EXPECT_EQ(memory.allocate(4001), nullptr);
  EXPECT_EQ(memory.allocate(std::numeric_limits<size_t>::max()), nullptr);
  EXPECT_NE(memory.allocate(4000), nullptr);
}

TEST_F(SoftGpu, MemoryStartsAsNan) {
  const std::vector<float> values = host(allocate(100), 100);
  for (const float v : values) EXPECT_TRUE(std::isnan(v));
}

using SoftGpuDeathTest = SoftGpu;

TEST_F(SoftGpuDeathTest, HostCodeMustNotFollowADevicePointer) {
  const float* x = device({1, 2, 3});
  ok(cudaStreamSynchronize(stream));
  EXPECT_DEATH(static_cast<void>(*const_cast<const volatile float*>(x + 2)),
               "host code touched device memory: .* is byte 8 of allocation [0-9]+ .12 bytes.");
}

TEST_F(SoftGpu, Leaks) {
  ok(cudaStreamDestroy(stream));
  EXPECT_EQ(driver().leaks(), "");
  float *x = allocate(4), *here = pinned(2);
  ok(cudaStreamCreate(&stream));
  const uint64_t number = driver().memory.find(address(x))->number;
  EXPECT_EQ(driver().leaks(), fmt::format("softgpu: never freed: allocation {} (16 bytes)\n"
                                          "softgpu: never freed: pinned allocation {} (8 bytes)\n"
                                          "softgpu: never destroyed: 1 streams\n",
                                          number, number + 1));
  ok(cudaFree(x));
  ok(cudaFreeHost(here));
  EXPECT_EQ(driver().leaks(), "softgpu: never destroyed: 1 streams\n");
}

TEST_F(SoftGpuDeathTest, LeaksAreReportedAtTheEndOfTheProgram) {
  const auto end = [] {
    setenv("DIFFSCM_SOFTGPU_LEAKS", "1", 1);
    allocate(4);
    std::exit(0);
  };
  EXPECT_EXIT(end(), testing::ExitedWithCode(0), "never freed: allocation [0-9]+ .16 bytes.");
}

TEST_F(SoftGpu, FreeingWhatIsNoAllocation) {
  float* x = allocate(4);
  expect_refused(cudaFree(x + 1), cudaErrorInvalidValue, "is not the begin of device memory");
  ok(cudaFree(x));
  expect_refused(cudaFree(x), cudaErrorInvalidValue, "which was freed");
  expect_refused(cudaFreeHost(x), cudaErrorInvalidValue, "is not the begin of pinned memory");
}

TEST_F(SoftGpu, OutOfMemory) {
  void* x = &x;
  expect_refused(cudaMalloc(&x, size_t{1} << 50), cudaErrorMemoryAllocation, "bytes asked for");
  EXPECT_EQ(x, nullptr);
  size_t free = 0, total = 0;
  allocate(1000);
  ok(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(total - free, 4000u);
}

// What a copy is said to be must be what it is, and all of it must be memory.
TEST_F(SoftGpu, CopiesAreChecked) {
  float *x = allocate(4), here[4] = {};
  const auto copy = [&](void* to, const void* from, size_t n, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, n, kind, stream);
  };
  expect_refused(copy(x, here, 20, cudaMemcpyHostToDevice), cudaErrorInvalidValue,
                 "it writes 20 bytes at");
  expect_refused(copy(here, x + 1, 16, cudaMemcpyDeviceToHost), cudaErrorInvalidValue,
                 "it reads 16 bytes at");
  expect_refused(copy(here, here, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue,
                 "from host memory to host memory");
  expect_refused(copy(nullptr, here, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue, "is null");
  ok(cudaFree(x));
  expect_refused(copy(x, here, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue,
                 "which was freed");
}

}  // namespace
}  // namespace diffscm::softgpu
