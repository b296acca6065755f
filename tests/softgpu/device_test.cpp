// What the device says it is.
#include "kernels/softgpu/device.h"

#include "kernels/error.h"
#include "tests/softgpu/support.h"

namespace diffscm::softgpu {
namespace {

using namespace test;

TEST(SoftGpuDevice, Names) {
  EXPECT_EQ(named_device("H100").multiprocessors, 132);
  EXPECT_EQ(named_device("A100").multiprocessors, 108);
  EXPECT_EQ(named_device("A100").shared_per_block_bytes, 166912u);
  EXPECT_GT(named_device("H200").memory_bytes, named_device("H100").memory_bytes);
  try {
    named_device("h100");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "DIFFSCM_SOFTGPU=h100: unknown device, choose H100, H200 or A100");
  }
}

TEST_F(SoftGpu, Properties) {
  cudaDeviceProp p{};
  ok(cudaGetDeviceProperties(&p, 0));
  EXPECT_STREQ(p.name, "H100 in software (softgpu)");
  EXPECT_EQ(p.major, 9);
  EXPECT_EQ(p.multiProcessorCount, 132);
  EXPECT_EQ(p.sharedMemPerBlockOptin, 232448u);
  int value = 0;
  ok(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
  EXPECT_EQ(value, 132);
  expect_refused(cudaSetDevice(1), cudaErrorInvalidDevice, "device 1: there is one, 0");
  expect_refused(cudaDeviceGetAttribute(&value, cudaDevAttrMaxPitch, 0), cudaErrorNotSupported,
                 "this device has no answer");
}

// The last error is kept until it is asked for.
TEST_F(SoftGpu, LastError) {
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorInvalidDevice), "cudaErrorInvalidDevice");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorNotReady), "device not ready");
}

}  // namespace
}  // namespace diffscm::softgpu
