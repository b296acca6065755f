// The CUDA runtime's functions for errors. The text of an error says, after CUDA's own words, which
// call failed and why, if this thread's last failure was one of that code.
#include "kernels/softgpu/driver.h"

namespace diffscm::softgpu {
namespace {

struct Words {
  cudaError_t code;
  const char *name, *text;
};
#define WORDS(code, text) \
  { code, #code, text }

// Those that this device gives; the texts are CUDA's.
constexpr Words kWords[] = {
    WORDS(cudaSuccess, "no error"),
    WORDS(cudaErrorInvalidValue, "invalid argument"),
    WORDS(cudaErrorMemoryAllocation, "out of memory"),
    WORDS(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    WORDS(cudaErrorInvalidDeviceFunction, "invalid device function"),
    WORDS(cudaErrorInsufficientDriver,
          "CUDA driver version is insufficient for CUDA runtime version"),
    WORDS(cudaErrorInvalidDevice, "invalid device ordinal"),
    WORDS(cudaErrorInvalidPtx, "a PTX JIT compilation failed"),
    WORDS(cudaErrorNoKernelImageForDevice,
          "no kernel image is available for execution on the device"),
    WORDS(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    WORDS(cudaErrorNotReady, "device not ready"),
    WORDS(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    WORDS(cudaErrorLaunchFailure, "unspecified launch failure"),
    WORDS(cudaErrorNotSupported, "operation not supported"),
    WORDS(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    WORDS(cudaErrorStreamCaptureInvalidated,
          "operation failed due to a previous error during capture"),
    WORDS(cudaErrorStreamCaptureIsolation,
          "dependency created on uncaptured work in another stream"),
    WORDS(cudaErrorStreamCaptureImplicit,
          "operation would make the legacy stream depend on a capturing blocking stream"),
    WORDS(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    WORDS(cudaErrorStreamCaptureWrongThread,
          "attempt to terminate a thread-local capture sequence from another thread"),
    WORDS(cudaErrorCapturedEvent,
          "operation not permitted on an event last recorded in a capturing stream"),
    WORDS(cudaErrorUnknown, "unknown error"),
};

const Words& words(cudaError_t code) {
  for (const Words& w : kWords)
    if (w.code == code) return w;
  return words(cudaErrorUnknown);
}

struct Last {
  cudaError_t error = cudaSuccess;  // what cudaGetLastError gives
  cudaError_t code = cudaSuccess;   // of `reason`, which outlives it
  std::string reason, text;
};
Last& last() {
  static thread_local Last value;
  return value;
}

cudaError_t last_error(bool forget) {
  const std::lock_guard lock(driver_mutex());
  Last& l = last();
  const cudaError_t error = l.error;
  if (forget) l.error = cudaSuccess;
  return error;
}

}  // namespace

cudaError_t remember(std::string_view call, cudaError_t code, std::string_view why) {
  Last& l = last();
  l.error = l.code = code;
  l.reason = fmt::format("{}: {}", call, why);
  return code;
}

}  // namespace diffscm::softgpu

using namespace diffscm::softgpu;

cudaError_t cudaGetLastError() {
  return last_error(true);
}

cudaError_t cudaPeekAtLastError() {
  return last_error(false);
}

const char* cudaGetErrorName(cudaError_t code) {
  return words(code).name;
}

const char* cudaGetErrorString(cudaError_t code) {
  Last& l = last();
  if (code == cudaSuccess || code != l.code) return words(code).text;
  l.text = fmt::format("{}: {}", words(code).text, l.reason);
  return l.text.c_str();
}
