// Launches: what runs, and what hardware refuses or fails on.
#include <array>

#include "tests/softgpu/support.h"

namespace diffscm::softgpu::test {
namespace {

class Launch : public SoftGpu {
 protected:
  cudaError_t launch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes = 0) const {
    float* x = allocate(1024);
    void* args[] = {&x};
    return cudaLaunchKernel(kernel, grid, block, args, shared_bytes, stream);
  }
};

TEST_F(Launch, KernelsRunInOrder) {
  float* x = device({1, 2, 3});
  add_one(x, 3, stream);
  add_one(x, 2, stream);
  ok(cudaGetLastError());
  EXPECT_EQ(host(x, 3), (std::vector<float>{3, 4, 4}));
}

TEST_F(Launch, ArgumentsAreReadWhenAKernelIsRecorded) {
  float* x = device({1});
  begin();
  add_one(x, 1, stream);
  const cudaGraphExec_t graph = end();
  for (int i = 0; i < 3; ++i) ok(cudaGraphLaunch(graph, stream));
  EXPECT_EQ(host(x, 1)[0], 4);
}

TEST_F(Launch, Variables) {
  float* x = allocate(4);
  read_table(x, stream);
  EXPECT_EQ(host(x, 4), (std::vector<float>{2, 3, 5, 7}));
}

// The planted bug: only the machine's own reading of the text can show it.
TEST_F(Launch, OperandsOfInlinePtx) {
  float* x = allocate(2);
  subtract(5, 3, x, stream);
  subtract_wrongly(5, 3, x + 1, stream);
  EXPECT_EQ(host(x, 2), (std::vector<float>{2, -2}));
}

TEST_F(Launch, ApproximateTanh) {
  const std::vector<float> x{-100, -3, -0.01f, 0, 1e-40f, 0.5f, 2, 20};
  float* const y = device(x);
  approximate_tanh(y, static_cast<int>(x.size()), stream);
  const std::vector<float> found = host(y, x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::tanh(double{x[i]});
    EXPECT_NEAR(found[i], exact, std::abs(exact) * 0x1p-11) << x[i];
  }
}

TEST_F(Launch, OutOfBounds) {
  float* x = device({1, 2, 3});
  add_one_unchecked(x, 4, stream);
  ok(cudaGetLastError());  // nobody knows yet
  const cudaError_t status = cudaStreamSynchronize(stream);
  EXPECT_EQ(status, cudaErrorLaunchFailure);
  const std::string text = cudaGetErrorString(status);
  for (const char* part : {"add_one_unchecked_kernel", "kernels.cu:16", "0 bytes past the end of"})
    EXPECT_NE(text.find(part), text.npos) << text;
}

TEST_F(Launch, UseAfterFree) {
  float* x = device({1});
  ok(cudaFree(x));
  add_one(x, 1, stream);
  expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure, "which was freed");
}

TEST_F(Launch, HostPointer) {
  float here = 0;
  add_one(&here, 1, stream);
  expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure, "no allocation");
}

TEST_F(Launch, Misaligned) {
  float *x = device({1, 2, 3, 4, 5}), *sum = allocate(1);
  read_vector(x, sum, stream);
  EXPECT_EQ(host(sum, 1)[0], 10);
  read_vector(x + 1, sum, stream);
  expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure, "align");
}

// After a fault nothing works until the device is reset, and every call says what it was.
TEST_F(Launch, AFaultStays) {
  add_one(nullptr, 1, stream);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorLaunchFailure);
  void* p = nullptr;
  expect_refused(cudaMalloc(&p, 4), cudaErrorLaunchFailure, "add_one_kernel");
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  ok(cudaDeviceReset());
  cudaGetLastError();
  ok(cudaMalloc(&p, 4));
}

TEST_F(Launch, GridsAndBlocks) {
  expect_refused(launch(kStaticShared, {1, 65536}, 32), cudaErrorInvalidConfiguration,
                 "grid.y is 65536, the limit 65535");
  expect_refused(launch(kStaticShared, {1, 1, 65536}, 32), cudaErrorInvalidConfiguration, "grid.z");
  expect_refused(launch(kStaticShared, 0, 32), cudaErrorInvalidConfiguration, "grid.x is 0");
  expect_refused(launch(kStaticShared, 1, {1, 1, 65}), cudaErrorInvalidConfiguration, "block.z");
  expect_refused(launch(kStaticShared, 1, 1025), cudaErrorInvalidConfiguration, "block.x is 1025");
  expect_refused(launch(kStaticShared, 1, {32, 33}), cudaErrorInvalidConfiguration,
                 "threads of a block is 1056");
  expect_refused(launch(kAtMost64Threads, 1, 65), cudaErrorLaunchOutOfResources,
                 "65 threads, compiled for at most 64");
}

TEST_F(Launch, SharedMemoryHasToBeAskedFor) {
  constexpr int kMost = 232448;
  const auto allow = [](int bytes) {
    return cudaFuncSetAttribute(kDynamicShared, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  };
  ok(allow(48 * 1024));
  expect_refused(launch(kDynamicShared, 1, 32, 48 * 1024 + 1), cudaErrorInvalidValue,
                 "49153 bytes of dynamic shared memory, 49152 are allowed");
  expect_refused(allow(kMost + 1), cudaErrorInvalidValue, "a block has at most 232448");
  ok(allow(kMost));
  ok(launch(kDynamicShared, 1, 32, kMost));
  ok(cudaStreamSynchronize(stream));
}

TEST_F(Launch, WhatIsNoKernel) {
  const int no_kernel = 0;
  expect_refused(launch(&no_kernel, 1, 1), cudaErrorInvalidDeviceFunction, "is no kernel");
}

TEST_F(Launch, AttributesOfKernels) {
  cudaFuncAttributes a{};
  ok(cudaFuncGetAttributes(&a, kStaticShared));
  EXPECT_EQ(a.sharedSizeBytes, 4096u);
  EXPECT_EQ(a.localSizeBytes, 0u);
  EXPECT_EQ(a.maxThreadsPerBlock, 1024);
  EXPECT_GE(a.numRegs, 8);
  EXPECT_LE(a.numRegs, 32);
  ok(cudaFuncGetAttributes(&a, kAtMost64Threads));
  EXPECT_EQ(a.maxThreadsPerBlock, 64);
}

TEST_F(Launch, Occupancy) {
  const auto blocks = [](const void* kernel, int threads, size_t shared) {
    int count = 0;
    ok(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&count, kernel, threads, shared));
    return count;
  };
  EXPECT_EQ(blocks(kAtMost64Threads, 32, 0), 32);    // blocks of a multiprocessor
  EXPECT_EQ(blocks(kAtMost64Threads, 1024, 0), 2);   // its threads
  EXPECT_EQ(blocks(kDynamicShared, 32, 100000), 2);  // its shared memory
  EXPECT_EQ(blocks(kDynamicShared, 32, 232448), 1);
  EXPECT_EQ(blocks(kDynamicShared, 32, 233000), 0);
}

}  // namespace
}  // namespace diffscm::softgpu::test
