// The rungs of the convolution ladder on the cpu target, callable with an explicit instruction set.
//
// kernels/cpu/conv2d.cpp picks rung and instruction set and calls one of
// these; tests and benchmarks call run_* to force a pair. Every rung computes the contract of
// kernels/conv2d.h for every shape it `supports`.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/conv2d.h"
#include "kernels/cpu/isa.h"

namespace diffscm::kernels::cpu {

enum class Rung {
  kNaive,     // plain loops: what the contract says, nothing else
  kDirect,    // register tiles over a zero-bordered copy of the input
  kWinograd,  // F(4x4, 3x3): 3x3 stride 1 only; other shapes fall to direct
};

// The pair a call runs with. `rung` empty: the best one for the shape, as measured.
struct Selection {
  std::optional<Rung> rung;
  Isa isa;
};

// The values of DIFFSCM_CONV and DIFFSCM_ISA; empty: no wish. Throws Error for an unknown one.
Selection parse_selection(std::string_view conv, std::string_view isa);

// What the environment asks for, read once.
Selection selection_from_environment();

// The rung that `selection` gives this shape. It looks at channels, filter and stride only, never
// at n, h or w, so that one packed weight serves every batch size and resolution.
Rung rung_for(const ConvShape& shape, const Selection& selection);

void run_conv2d(const Conv2dArgs& args, const Selection& selection);
void run_conv2d_backward_input(const Conv2dBackwardInputArgs& args, const Selection& selection);
void run_conv2d_backward_weight(const Conv2dBackwardWeightArgs& args, const Selection& selection);
void run_conv2d_pack(const Conv2dPackArgs& args, const Selection& selection);

// Waking a second thread costs a few microseconds: below this many multiplications one does it all.
inline constexpr int64_t kSerialMultiplications = 1 << 19;
inline bool worth_threads(const ConvShape& shape) {
  return shape.flops() / 2 > kSerialMultiplications;
}

// The rungs themselves. `packed` is never null, but for Winograd's, which then packs by itself.
namespace naive {
void conv2d(const Conv2dArgs& args);
void conv2d_backward_input(const Conv2dBackwardInputArgs& args);
void conv2d_backward_weight(const Conv2dBackwardWeightArgs& args);
}  // namespace naive

namespace direct {
int64_t packed_floats(const ConvShape& shape, bool backward);
void pack(const Conv2dPackArgs& args);
void conv2d(const Conv2dArgs& args, Isa isa);
void conv2d_backward_input(const Conv2dBackwardInputArgs& args, Isa isa);
void conv2d_backward_weight(const Conv2dBackwardWeightArgs& args, Isa isa);
}  // namespace direct

namespace winograd {
bool supports(const ConvShape& shape);
bool prefers(const ConvShape& shape);  // supports it, and is the fastest there
int64_t packed_floats(const ConvShape& shape, bool backward);
void pack(const Conv2dPackArgs& args, Isa isa);
void conv2d(const Conv2dArgs& args, Isa isa);
void conv2d_backward_input(const Conv2dBackwardInputArgs& args, Isa isa);
void conv2d_backward_weight(const Conv2dBackwardWeightArgs& args, Isa isa);
}  // namespace winograd

}  // namespace diffscm::kernels::cpu
