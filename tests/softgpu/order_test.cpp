// Streams and events: work is done in order, and as late as it may be.
#include "tests/softgpu/support.h"

namespace diffscm::softgpu::test {
namespace {

// A host that reads the result of a copy without waiting for it does not see it.
TEST_F(SoftGpu, ACopyToPinnedMemoryIsNotThereBeforeItIsWaitedFor) {
  float* here = pinned(2);
  const float* x = device({1, 2});
  ok(cudaMemcpyAsync(here, x, 8, cudaMemcpyDeviceToHost, stream));
  EXPECT_TRUE(std::isnan(here[1]));
  ok(cudaStreamSynchronize(stream));
  EXPECT_EQ(here[1], 2);
}

// Pinned memory is read when the copy runs, pageable memory when it is queued.
TEST_F(SoftGpu, AQueuedCopyReadsPinnedMemoryLate) {
  float *here = pinned(1), *x = allocate(1), *y = allocate(1);
  float pageable = 5;
  here[0] = 5;
  ok(cudaMemcpyAsync(x, here, 4, cudaMemcpyHostToDevice, stream));
  ok(cudaMemcpyAsync(y, &pageable, 4, cudaMemcpyHostToDevice, stream));
  here[0] = pageable = 6;
  EXPECT_EQ(host(x, 1)[0], 6);
  EXPECT_EQ(host(y, 1)[0], 5);
}

TEST_F(SoftGpu, PinnedMemoryFreedUnderACopy) {
  float *here = pinned(1), *x = allocate(1);
  ok(cudaMemcpyAsync(x, here, 4, cudaMemcpyHostToDevice, stream));
  ok(cudaFreeHost(here));
  expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure,
                 "its pinned memory was freed");
}

TEST_F(SoftGpu, AnEventMarksAPlace) {
  float *here = pinned(2), *x = device({1, 2});
  cudaEvent_t event = nullptr;
  ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  ok(cudaEventSynchronize(event));  // never recorded
  ok(cudaMemcpyAsync(here, x, 4, cudaMemcpyDeviceToHost, stream));
  ok(cudaEventRecord(event, stream));
  ok(cudaMemcpyAsync(here + 1, x + 1, 4, cudaMemcpyDeviceToHost, stream));
  ok(cudaEventSynchronize(event));
  EXPECT_EQ(here[0], 1);
  EXPECT_TRUE(std::isnan(here[1]));
  ok(cudaEventDestroy(event));
}

// Whoever asks again and again gets there.
TEST_F(SoftGpu, AQuestionLetsWorkGoOn) {
  float *here = pinned(1), *x = device({1});
  ok(cudaMemcpyAsync(here, x, 4, cudaMemcpyDeviceToHost, stream));
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
  ok(cudaStreamQuery(stream));
  EXPECT_EQ(here[0], 1);
  cudaGetLastError();
}

TEST_F(SoftGpu, AStreamWaitsForAnEventOfAnother) {
  cudaStream_t other = nullptr;
  ok(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  float *here = pinned(1), *x = device({7});
  cudaEvent_t event = nullptr;
  ok(cudaEventCreate(&event));
  ok(cudaEventRecord(event, stream));
  ok(cudaStreamWaitEvent(other, event, 0));
  ok(cudaMemcpyAsync(here, x, 4, cudaMemcpyDeviceToHost, other));
  ok(cudaStreamSynchronize(other));
  EXPECT_EQ(here[0], 7);
}

// Without the event the two are not ordered, and the copy runs first.
TEST_F(SoftGpu, StreamsAreNotOrderedOtherwise) {
  cudaStream_t other = nullptr;
  ok(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  float *here = pinned(1), *x = device({7});
  ok(cudaMemcpyAsync(here, x, 4, cudaMemcpyDeviceToHost, other));
  ok(cudaStreamSynchronize(other));
  EXPECT_TRUE(std::isnan(here[0]));
}

TEST_F(SoftGpu, TheDefaultStreamWaitsForBlockingStreams) {
  cudaStream_t blocking = nullptr;
  ok(cudaStreamCreate(&blocking));
  float *x = allocate(1), value = 3;
  ok(cudaMemcpyAsync(x, &value, 4, cudaMemcpyHostToDevice, blocking));
  ok(cudaMemcpy(&value, x, 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(value, 3);
}

TEST_F(SoftGpu, AllocatingDoesNotWaitAndFreeingDoes) {
  float *here = pinned(1), *x = device({7});
  ok(cudaMemcpyAsync(here, x, 4, cudaMemcpyDeviceToHost, stream));
  float* y = allocate(1);
  EXPECT_TRUE(std::isnan(here[0]));
  ok(cudaFree(y));
  EXPECT_EQ(here[0], 7);
}

TEST_F(SoftGpu, DestroyedHandles) {
  cudaEvent_t event = nullptr;
  ok(cudaEventCreate(&event));
  ok(cudaEventDestroy(event));
  ok(cudaStreamDestroy(stream));
  const float value = 1;
  float* x = allocate(1);
  expect_refused(cudaMemcpyAsync(x, &value, 4, cudaMemcpyHostToDevice, stream),
                 cudaErrorInvalidResourceHandle, "is a destroyed stream");
  expect_refused(cudaEventRecord(event, nullptr), cudaErrorInvalidResourceHandle,
                 "is a destroyed event");
  expect_refused(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(x)),
                 cudaErrorInvalidResourceHandle, "is not the handle of a stream");
}

}  // namespace
}  // namespace diffscm::softgpu::test
