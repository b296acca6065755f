// Launching kernels: launch<kernel>(...) of kernel files, and what it hands to the emulator.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/emulator/builtins.h"
#include "kernels/operators.h"

namespace diffscm::kernels::emulator {

inline constexpr unsigned kMaxThreads = 1024;
inline constexpr size_t kMaxSharedBytes = 227 << 10;  // of sm_90

struct Launch {
  std::string_view kernel;
  emu::dim3 grid, block;
  size_t shared_bytes = 0;
  std::function<void()> thread;  // what one thread does

  unsigned threads() const { return block.x * block.y * block.z; }
  uint64_t blocks() const { return uint64_t{grid.x} * grid.y * grid.z; }
};

// Checks the launch against a GPU's limits, then runs it or, while the stream is recorded, keeps
// it.
void submit(Launch launch, Stream stream);

template <auto kernel>
constexpr std::string_view kernel_name() {
  std::string_view name = __PRETTY_FUNCTION__;  // "... [with auto kernel = a::b::gemm<float>; ..."
  name.remove_prefix(name.find("kernel = ") + 9);
  name = name.substr(0, name.find_first_of(";]"));
  const std::string_view arguments = name.substr(std::min(name.find('<'), name.size()));
  const std::string_view path = name.substr(0, name.size() - arguments.size());
  const size_t colon = path.rfind("::");
  return colon == path.npos ? name : name.substr(colon + 2);
}

// Arguments are converted to the kernel's own parameter types, and copied: a recorded launch is run
// later, and more than once.
template <auto kernel, class... P>
void launch_as(void (*)(P...), emu::dim3 grid, emu::dim3 block, size_t shared_bytes, Stream stream,
               std::type_identity_t<P>... arguments) {
  submit({kernel_name<kernel>(), grid, block, shared_bytes,
          [packed = std::tuple<P...>(arguments...)] { std::apply(kernel, packed); }},
         stream);
}

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

// Runs the kernel on the host; an empty grid does nothing. Throws Error when the launch breaks a
// limit, and when the kernel does something that CUDA forbids.
template <auto kernel, class... A>
void launch(dim3 grid, dim3 block, size_t shared_bytes, Stream stream, const A&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  emulator::launch_as<kernel>(kernel, grid, block, shared_bytes, stream, arguments...);
}

// As many as a small GPU has: launchers that divide work among them then use several blocks.
int multiprocessors();

// Device memory for an operator's partial results: poisoned, valid until the operator returns.
void* workspace(size_t bytes, Stream stream);

}  // namespace diffscm::kernels::emu
