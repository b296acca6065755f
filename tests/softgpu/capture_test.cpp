// Recording and replay, and what hardware refuses meanwhile.
#include <thread>

#include "tests/softgpu/support.h"

namespace diffscm::softgpu::test {
namespace {

TEST_F(SoftGpu, ARecordedCopyRunsAtEachReplay) {
  float *x = device({1, 2}), *y = device({0, 0});
  begin();
  ok(cudaMemcpyAsync(y, x, 8, cudaMemcpyDeviceToDevice, stream));
  const cudaGraphExec_t graph = end();
  EXPECT_EQ(host(y, 2)[1], 0);
  ok(cudaGraphLaunch(graph, stream));
  EXPECT_EQ(host(y, 2)[1], 2);
  ok(cudaMemsetAsync(x, 0, 8, stream));
  ok(cudaGraphLaunch(graph, stream));
  EXPECT_EQ(host(y, 2)[1], 0);
}

// The call is refused and the whole recording is lost.
template <class F>
void expect_breaks(cudaStream_t stream, const char* name, F&& call) {
  SCOPED_TRACE(name);
  ok(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  expect_refused(call(), cudaErrorStreamCaptureUnsupported, name);
  cudaStreamCaptureStatus status{};
  ok(cudaStreamIsCapturing(stream, &status));
  EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
  cudaGraph_t graph = nullptr;
  expect_refused(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated,
                 std::string("was broken by ") + name);
  EXPECT_EQ(graph, nullptr);
}

TEST_F(SoftGpu, WhatBreaksARecording) {
  float *x = device({1}), *here = pinned(1), pageable = 0;
  cudaEvent_t event = nullptr;
  ok(cudaEventCreate(&event));
  ok(cudaEventRecord(event, stream));
  void* p = nullptr;
  expect_breaks(stream, "cudaMalloc", [&] { return cudaMalloc(&p, 4); });
  expect_breaks(stream, "cudaFree", [&] { return cudaFree(x); });
  expect_breaks(stream, "cudaMallocHost", [&] { return cudaMallocHost(&p, 4); });
  expect_breaks(stream, "cudaFreeHost", [&] { return cudaFreeHost(here); });
  expect_breaks(stream, "cudaStreamSynchronize", [&] { return cudaStreamSynchronize(stream); });
  expect_breaks(stream, "cudaStreamQuery", [&] { return cudaStreamQuery(stream); });
  expect_breaks(stream, "cudaDeviceSynchronize", [] { return cudaDeviceSynchronize(); });
  expect_breaks(stream, "cudaEventSynchronize", [&] { return cudaEventSynchronize(event); });
  expect_breaks(stream, "cudaEventQuery", [&] { return cudaEventQuery(event); });
  expect_breaks(stream, "cudaMemcpy",
                [&] { return cudaMemcpy(&pageable, x, 4, cudaMemcpyDeviceToHost); });
  // Nothing would keep the memory there until the replay.
  expect_breaks(stream, "cudaMemcpyAsync",
                [&] { return cudaMemcpyAsync(x, &pageable, 4, cudaMemcpyHostToDevice, stream); });
  EXPECT_EQ(host(x, 1)[0], 1);
}

TEST_F(SoftGpu, WorkOnABrokenRecordingIsRefused) {
  float* x = device({1});
  begin();
  cudaStreamSynchronize(stream);
  expect_refused(cudaMemsetAsync(x, 0, 4, stream), cudaErrorStreamCaptureInvalidated,
                 "was broken by cudaStreamSynchronize");
}

// As kernels/cuda allocates its workspace while a step is recorded.
TEST_F(SoftGpu, AThreadThatAsksMayAllocate) {
  begin();
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  ok(cudaThreadExchangeStreamCaptureMode(&mode));
  EXPECT_EQ(mode, cudaStreamCaptureModeGlobal);
  float* x = allocate(1);
  ok(cudaThreadExchangeStreamCaptureMode(&mode));
  ok(cudaMemsetAsync(x, 0, 4, stream));
  const cudaGraphExec_t graph = end();
  ok(cudaGraphLaunch(graph, stream));
  EXPECT_EQ(host(x, 1)[0], 0);
}

// A thread-local recording leaves other threads alone, a global one does not.
TEST_F(SoftGpu, OtherThreads) {
  const auto elsewhere = [] {
    cudaError_t status{};
    std::thread([&] {
      void* p = nullptr;
      status = cudaMalloc(&p, 4);
    }).join();
    return status;
  };
  begin(cudaStreamCaptureModeThreadLocal);
  EXPECT_EQ(elsewhere(), cudaSuccess);
  end();
  begin(cudaStreamCaptureModeGlobal);
  EXPECT_EQ(elsewhere(), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
}

TEST_F(SoftGpu, AnotherThreadCannotEndARecording) {
  begin();
  std::thread([&] {
    cudaGraph_t graph = nullptr;
    expect_refused(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureWrongThread,
                   "another thread began");
  }).join();
  end();
}

TEST_F(SoftGpu, EventsOfARecordingCannotBeWaitedFor) {
  cudaEvent_t event = nullptr;
  ok(cudaEventCreate(&event));
  begin();
  ok(cudaEventRecord(event, stream));
  expect_refused(cudaEventQuery(event), cudaErrorCapturedEvent, "nothing to wait for");
  end();
  expect_refused(cudaEventSynchronize(event), cudaErrorCapturedEvent, "nothing to wait for");
  ok(cudaEventRecord(event, stream));
  ok(cudaEventSynchronize(event));
}

TEST_F(SoftGpu, BeginningTwiceAndEndingNone) {
  cudaGraph_t graph = nullptr;
  expect_refused(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState, "not being recorded");
  begin();
  expect_refused(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed),
                 cudaErrorIllegalState, "being recorded already");
  expect_refused(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed),
                 cudaErrorStreamCaptureUnsupported, "default stream");
  end();
}

TEST_F(SoftGpu, TheDefaultStreamWouldWaitForARecordedOne) {
  cudaStream_t blocking = nullptr;
  ok(cudaStreamCreate(&blocking));
  float* x = allocate(1);
  ok(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeRelaxed));
  expect_refused(cudaMemsetAsync(x, 0, 4, nullptr), cudaErrorStreamCaptureImplicit,
                 "waits for blocking streams");
}

TEST_F(SoftGpu, AGraphThatWasDestroyed) {
  begin();
  const cudaGraphExec_t graph = end();
  ok(cudaGraphExecDestroy(graph));
  expect_refused(cudaGraphLaunch(graph, stream), cudaErrorInvalidResourceHandle,
                 "is a destroyed executable graph");
  expect_refused(cudaGraphExecDestroy(graph), cudaErrorInvalidResourceHandle, "destroyed");
}

// A replay that is queued when its graph is destroyed still runs.
TEST_F(SoftGpu, AGraphThatIsDestroyedWhileItRuns) {
  float* x = device({1});
  begin();
  ok(cudaMemsetAsync(x, 0, 4, stream));
  const cudaGraphExec_t graph = end();
  ok(cudaGraphLaunch(graph, stream));
  ok(cudaGraphExecDestroy(graph));
  EXPECT_EQ(host(x, 1)[0], 0);
}

TEST_F(SoftGpu, HostMemoryThatARecordedCopyUsesIsGone) {
  float *here = pinned(1), *x = allocate(1);
  begin();
  ok(cudaMemcpyAsync(x, here, 4, cudaMemcpyHostToDevice, stream));
  const cudaGraphExec_t graph = end();
  ok(cudaFreeHost(here));
  pinned(1);  // may well have the address
  ok(cudaGraphLaunch(graph, stream));
  expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure,
                 "before it ran, its pinned memory was freed");
}

TEST_F(SoftGpu, DeviceMemoryThatARecordedCopyUsesIsGone) {
  float *x = device({1}), *y = allocate(1);
  begin();
  ok(cudaMemcpyAsync(y, x, 4, cudaMemcpyDeviceToDevice, stream));
  const cudaGraphExec_t graph = end();
  ok(cudaFree(x));
  ok(cudaGraphLaunch(graph, stream));
  expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure,
                 "its device memory was freed");
}

TEST_F(SoftGpu, NodesAreCounted) {
  float* x = allocate(1);
  cudaGraph_t graph = nullptr;
  begin();
  for (int i = 0; i < 3; ++i) ok(cudaMemsetAsync(x, i, 4, stream));
  ok(cudaStreamEndCapture(stream, &graph));
  size_t count = 0;
  ok(cudaGraphGetNodes(graph, nullptr, &count));
  EXPECT_EQ(count, 3u);
}

}  // namespace
}  // namespace diffscm::softgpu::test
