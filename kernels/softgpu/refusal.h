// A call that the device refuses, with the error code that CUDA gives for it and what CUDA does not
// say: why.
#pragma once

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace diffscm::softgpu {

class Refusal : public std::runtime_error {
 public:
  Refusal(cudaError_t code, const std::string& why) : std::runtime_error(why), code(code) {}
  cudaError_t code;
};

template <class... A>
[[noreturn]] void refuse(cudaError_t code, fmt::format_string<A...> format, A&&... args) {
  throw Refusal(code, fmt::format(format, std::forward<A>(args)...));
}

// Refuses unless `condition` holds.
template <class... A>
void demand(bool condition, cudaError_t code, fmt::format_string<A...> format, A&&... args) {
  if (!condition) [[unlikely]]
    throw Refusal(code, fmt::format(format, std::forward<A>(args)...));
}

}  // namespace diffscm::softgpu
