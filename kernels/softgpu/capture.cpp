#include "kernels/softgpu/capture.h"

namespace diffscm::softgpu {

cudaStreamCaptureMode& thread_capture_mode() {
  static thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

bool forbids_unsafe_calls(const Capture& capture) {
  const bool own = capture.thread == std::this_thread::get_id();
  switch (thread_capture_mode()) {
    case cudaStreamCaptureModeGlobal:
      return own ? capture.mode != cudaStreamCaptureModeRelaxed
                 : capture.mode == cudaStreamCaptureModeGlobal;
    case cudaStreamCaptureModeThreadLocal:
      return own && capture.mode != cudaStreamCaptureModeRelaxed;
    case cudaStreamCaptureModeRelaxed:
      return false;
  }
  return true;
}

}  // namespace diffscm::softgpu
