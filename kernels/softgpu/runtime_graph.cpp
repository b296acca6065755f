// The CUDA runtime's functions for recorded streams: capture, graphs, replay.
#include "kernels/softgpu/driver.h"

using namespace diffscm::softgpu;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call("cudaStreamBeginCapture", [&](Driver& d) {
    Stream& s = *d.stream(stream);
    demand(&s != d.stream(nullptr).get(), cudaErrorStreamCaptureUnsupported,
           "the default stream cannot be recorded");
    demand(!s.capture, cudaErrorIllegalState, "the stream is being recorded already");
    s.capture = std::make_unique<Capture>(Capture{.mode = mode});
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call("cudaStreamEndCapture", [&](Driver& d) {
    *graph = nullptr;
    Stream& s = *d.stream(stream);
    demand(s.capture != nullptr, cudaErrorIllegalState, "the stream is not being recorded");
    demand(s.capture->mode == cudaStreamCaptureModeRelaxed ||
               s.capture->thread == std::this_thread::get_id(),
           cudaErrorStreamCaptureWrongThread, "another thread began the recording");
    const auto capture = std::move(s.capture);
    demand(capture->broken.empty(), cudaErrorStreamCaptureInvalidated,
           "the recording was broken by {}", capture->broken);
    *graph = d.graphs.add(std::make_shared<Graph>(Graph{capture->work}));
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return call("cudaStreamIsCapturing", [&](Driver& d) {
    const Stream& s = *d.stream(stream);
    *status = !s.capture                  ? cudaStreamCaptureStatusNone
              : s.capture->broken.empty() ? cudaStreamCaptureStatusActive
                                          : cudaStreamCaptureStatusInvalidated;
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return call("cudaThreadExchangeStreamCaptureMode",
              [&](Driver&) { std::swap(*mode, thread_capture_mode()); });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags) {
  return call("cudaGraphInstantiate", [&](Driver& d) {
    demand(flags == 0, cudaErrorNotSupported, "flags {}: this device knows none", flags);
    *executable = d.executables.add(std::make_shared<const Graph>(*d.graphs.at(graph)));
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call("cudaGraphLaunch", [&](Driver& d) {
    Stream& s = *d.stream(stream);
    demand(!s.capture, cudaErrorNotSupported, "this device has no graphs within graphs");
    for (const WorkPointer& work : d.executables.at(executable)->work) d.queue(s, work);
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return call("cudaGraphGetNodes", [&](Driver& d) {
    demand(nodes == nullptr, cudaErrorNotSupported, "this device only counts nodes");
    *count = d.graphs.at(graph)->work.size();
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call(
      "cudaGraphDestroy", [&](Driver& d) { d.graphs.remove(graph); }, Checked::by_nobody);
}

// Replays that are queued are still done.
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call(
      "cudaGraphExecDestroy", [&](Driver& d) { d.executables.remove(executable); },
      Checked::by_nobody);
}
