// Recording a stream's work into a graph, and what a thread may not do meanwhile.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace diffscm::softgpu {

struct Work;

struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread = std::this_thread::get_id();  // that began it
  std::vector<std::shared_ptr<const Work>> work = {};
  std::string broken = {};  // the illegal call that invalidated it
};

// This thread's mode, which cudaThreadExchangeStreamCaptureMode changes.
cudaStreamCaptureMode& thread_capture_mode();

// Whether `capture` keeps this thread from calls that could wait for the device or change what a
// graph relies on (cudaMalloc, cudaEventQuery, ...).
// Source: cudaThreadExchangeStreamCaptureMode in NVIDIA's reference of the runtime API.
bool forbids_unsafe_calls(const Capture& capture);

// What cudaStreamEndCapture makes: work in the order of its recording.
struct Graph {
  std::vector<std::shared_ptr<const Work>> work;
};

}  // namespace diffscm::softgpu
