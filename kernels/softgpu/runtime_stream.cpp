// The CUDA runtime's functions for streams and events.
#include "kernels/softgpu/driver.h"

using namespace diffscm::softgpu;

namespace {

// Somebody who only asks must not ask for ever: each question lets one piece of work run.
void check_ready(Stream& stream, uint64_t place) {
  if (stream.done() >= place) return;
  stream.run_until(stream.done() + 1);
  demand(stream.done() >= place, cudaErrorNotReady, "{} pieces of work are queued",
         place - stream.done());
}

void check_not_captured(const Event& event) {
  demand(!event.captured, cudaErrorCapturedEvent,
         "the event was last recorded while its stream was: there is nothing to wait for");
}

}  // namespace

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call("cudaStreamCreateWithFlags", [&](Driver& d) {
    demand(flags == cudaStreamDefault || flags == cudaStreamNonBlocking, cudaErrorInvalidValue,
           "flags {}", flags);
    *stream = d.streams.add(std::make_shared<Stream>(flags == cudaStreamDefault));
  });
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

// Its queued work is still done.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call(
      "cudaStreamDestroy", [&](Driver& d) { d.streams.remove(stream)->run_all(); },
      Checked::by_nobody);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call("cudaStreamSynchronize", [&](Driver& d) {
    Stream& s = *d.stream(stream);
    d.check_not_captured(s);
    d.check_safe();
    s.run_all();
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call("cudaStreamQuery", [&](Driver& d) {
    Stream& s = *d.stream(stream);
    d.check_not_captured(s);
    d.check_safe();
    check_ready(s, s.place());
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return call("cudaStreamWaitEvent", [&](Driver& d) {
    const auto& s = d.stream(stream);
    const auto& e = d.events.at(event);
    const auto origin = e->stream.lock();
    if (!origin || origin == s) return;
    demand(!e->captured, cudaErrorNotSupported,
           "this device records one stream at a time: the event's is another");
    demand(!s->capture, cudaErrorStreamCaptureIsolation,
           "the stream is being recorded and the event was recorded outside");
    d.submit(*s, "wait for an event", [waited = *e] { waited.wait(); });
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return call("cudaEventCreateWithFlags",
              [&](Driver& d) { *event = d.events.add(std::make_shared<Event>()); });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(
      "cudaEventDestroy", [&](Driver& d) { d.events.remove(event); }, Checked::by_nobody);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call("cudaEventRecord", [&](Driver& d) {
    const auto& s = d.stream(stream);
    *d.events.at(event) = {s, s->place(), s->capture != nullptr};
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call("cudaEventSynchronize", [&](Driver& d) {
    const Event& e = *d.events.at(event);
    check_not_captured(e);
    d.check_safe();
    e.wait();
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call("cudaEventQuery", [&](Driver& d) {
    const Event& e = *d.events.at(event);
    check_not_captured(e);
    d.check_safe();
    if (const auto s = e.stream.lock()) check_ready(*s, e.place);
  });
}
