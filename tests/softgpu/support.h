// A fresh device for each test, and what is needed to look at its answers.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/softgpu/kernels.h"

namespace diffscm::softgpu::test {

inline void ok(cudaError_t status) {
  ASSERT_EQ(status, cudaSuccess) << cudaGetErrorString(status);
}

// The status, and that CUDA's text for it goes on with `why`.
inline void expect_refused(cudaError_t status, cudaError_t code, const std::string& why) {
  EXPECT_STREQ(cudaGetErrorName(status), cudaGetErrorName(code));
  const std::string text = cudaGetErrorString(status);
  EXPECT_NE(text.find(why), text.npos) << text;
  EXPECT_EQ(cudaGetLastError(), code);
}

class SoftGpu : public testing::Test {
 protected:
  SoftGpu() {
    cudaDeviceReset();
    cudaGetLastError();
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  }
  ~SoftGpu() override { cudaDeviceReset(); }

  float* device(const std::vector<float>& values) {
    float* data = allocate(values.size());
    ok(cudaMemcpyAsync(data, values.data(), bytes(values.size()), cudaMemcpyHostToDevice, stream));
    return data;
  }
  static float* allocate(size_t count) {
    void* data = nullptr;
    ok(cudaMalloc(&data, bytes(count)));
    return static_cast<float*>(data);
  }
  static float* pinned(size_t count) {
    void* data = nullptr;
    ok(cudaMallocHost(&data, bytes(count)));
    return static_cast<float*>(data);
  }
  std::vector<float> host(const float* data, size_t count) const {
    std::vector<float> values(count);
    ok(cudaMemcpyAsync(values.data(), data, bytes(count), cudaMemcpyDeviceToHost, stream));
    return values;
  }
  static size_t bytes(size_t count) { return count * sizeof(float); }

  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) const {
    ok(cudaStreamBeginCapture(stream, mode));
  }
  cudaGraphExec_t end() const {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    ok(cudaStreamEndCapture(stream, &graph));
    ok(cudaGraphInstantiate(&executable, graph, 0));
    ok(cudaGraphDestroy(graph));
    return executable;
  }

  cudaStream_t stream = nullptr;
};

}  // namespace diffscm::softgpu::test
