// The device as a whole: its memory, streams, events, graphs and kernels, and how the functions of
// the CUDA runtime (runtime_*.cpp) reach it.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/softgpu/capture.h"
#include "kernels/softgpu/device.h"
#include "kernels/softgpu/handles.h"
#include "kernels/softgpu/kernel_files.h"
#include "kernels/softgpu/memory.h"
#include "kernels/softgpu/stream.h"

namespace diffscm::softgpu {

class Driver {
 public:
  Driver();

  const Device& device;
  Memory memory;
  Handles<cudaStream_t, Stream> streams{"stream", 0x5000'0000'0000'0000};
  Handles<cudaEvent_t, Event> events{"event", 0x6000'0000'0000'0000};
  Handles<cudaGraph_t, Graph> graphs{"graph", 0x7000'0000'0000'0000};
  Handles<cudaGraphExec_t, const Graph> executables{"executable graph", 0x7800'0000'0000'0000};

  int architecture() const { return 10 * device.major + device.minor; }

  // Null, cudaStreamLegacy and cudaStreamPerThread are the default stream.
  const std::shared_ptr<Stream>& stream(cudaStream_t handle) const;
  // Queues the work, or records it when the stream is being captured.
  void submit(Stream& stream, std::string what, std::function<void()> run);
  void queue(Stream& stream, WorkPointer work);
  void run_everything();

  // For calls that could wait for the device or change what a graph relies on: refuses them, and
  // breaks the capture, when one is under way that forbids them to this thread.
  void check_safe();
  // For what can never be done to a stream that is captured, such as waiting for it.
  void check_not_captured(Stream& stream);

  // What has not been given back, one line each; "" if nothing.
  std::string leaks() const;

  // After cudaDeviceReset: as at the start, but for registered kernels.
  void reset();

  std::optional<std::string> fault;  // what failed; every call refuses from then on
  std::string current_call;          // for messages

 private:
  std::shared_ptr<Stream> default_stream_ = std::make_shared<Stream>(true);
};

// The CUDA version that the driver supports, e.g. 13000: the runtime's, unless
// DIFFSCM_SOFTGPU_DRIVER says another, e.g. 12.2. An older one than the program's serves no call.
int driver_version();

// Made by the first call. Throws Error when DIFFSCM_SOFTGPU names no device.
Driver& driver();
// Registered before main, and so apart from the driver.
KernelFiles& kernel_files();
// Held while a call is carried out: one thread at a time.
std::recursive_mutex& driver_mutex();

// Keeps what a call returned, as this thread's last error, and the reason.
cudaError_t remember(std::string_view call, cudaError_t code, std::string_view why);

// What destructors call, and so nobody checks: its refusals are printed, too.
enum class Checked { by_caller, by_nobody };

// Carries out one function of the runtime's: its refusals become error codes.
template <class F>
cudaError_t call(const char* name, F&& body, Checked checked = Checked::by_caller);

namespace detail {
void print_refusal(std::string_view call, cudaError_t code, std::string_view why);
}

template <class F>
cudaError_t call(const char* name, F&& body, Checked checked) {
  const std::lock_guard lock(driver_mutex());
  const auto refused = [&](cudaError_t code, const std::string& why) {
    if (checked == Checked::by_nobody) detail::print_refusal(name, code, why);
    return remember(name, code, why);
  };
  try {
    demand(driver_version() / 1000 >= CUDART_VERSION / 1000, cudaErrorInsufficientDriver,
           "the driver is of version {}", driver_version());
    Driver& d = driver();
    if (d.fault) return remember(name, cudaErrorLaunchFailure, "earlier work failed: " + *d.fault);
    d.current_call = name;
    // Whatever work the call runs opens the memory; the program finds it shut again.
    const Memory::Shut shut(d.memory);
    try {
      body(d);
    } catch (const Fault& e) {
      d.fault = e.what();
      return refused(cudaErrorLaunchFailure, e.what());
    }
    return cudaSuccess;
  } catch (const Refusal& e) {
    return refused(e.code, e.what());
  } catch (const std::exception& e) {
    return refused(cudaErrorUnknown, e.what());
  }
}

}  // namespace diffscm::softgpu
