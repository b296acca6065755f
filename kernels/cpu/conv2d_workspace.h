// Memory that leaves and drivers work in: one buffer per thread and purpose, kept between calls.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "kernels/cpu/isa.h"

namespace diffscm::kernels::cpu {

enum class Workspace {
  kPacked,    // packed weights, when the caller gave none
  kPartials,  // partial weight gradients of all slices
  kImage,     // zero-bordered rows of one image
  kInput,     // Winograd components of the input, and
  kOutput,    // of the output or its gradient
  kSum,       // products summed over pixels
  kZeros,     // what lies outside an image
  kCount,
};

// At least `floats` floats, 64-byte aligned, with kLanesMax floats of slack for the leaves' reads
// past the end. Contents are those of the last use. Only the calling thread gets this buffer, but
// it may lend it to the threads of a parallel region that it opens.
inline float* workspace(Workspace purpose, int64_t floats) {
  struct Free {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  struct Buffer {
    std::unique_ptr<float[], Free> data;
    int64_t size = 0;
  };
  static thread_local Buffer buffers[static_cast<int>(Workspace::kCount)];
  Buffer& buffer = buffers[static_cast<int>(purpose)];
  if (buffer.size < floats) {
    buffer.data.reset();  // not two at a time
    buffer.size = 0;
    const auto bytes = static_cast<std::size_t>(floats + 2 * kLanesMax) * sizeof(float);
    buffer.data.reset(static_cast<float*>(::operator new[](bytes, std::align_val_t{64})));
    buffer.size = floats;
  }
  return buffer.data.get();
}

}  // namespace diffscm::kernels::cpu
