// Entry points of the convolution: checks the arguments, picks a rung and an instruction set,
// calls.
//
// Every rung computes the same contract (kernels/conv2d.h), so this file is all there is to know
// about which one runs when. DIFFSCM_CONV=naive|direct|winograd forces a rung (a forced winograd
// falls to direct where the filter is not 3x3 with stride 1), DIFFSCM_ISA=v1|v3|v4 an instruction
// set.
#include <cstdlib>
#include <string_view>

#include "kernels/cpu/conv2d_rungs.h"
#include "kernels/cpu/conv2d_workspace.h"
#include "kernels/cpu/table.h"
#include "kernels/error.h"

namespace diffscm::kernels::cpu {
namespace {

void check_shape(const char* name, const ConvShape& s) {
  require(s.n >= 1 && s.h >= 1 && s.w >= 1 && s.c0 >= 1 && s.c1 >= 0 && s.k >= 1,
          "{}: sizes must be at least 1 (c1: 0), got n={} h={} w={} c0={} c1={} k={}", name, s.n,
          s.h, s.w, s.c0, s.c1, s.k);
  require(s.r == s.s && (s.r == 1 || s.r == 3), "{}: the filter must be 1x1 or 3x3, got {}x{}",
          name, s.r, s.s);
  require(s.stride == 1 || s.stride == 2, "{}: stride must be 1 or 2, got {}", name, s.stride);
  require(!s.upsample || (s.stride == 1 && s.r == 3),
          "{}: an upsampled input needs a 3x3 filter with stride 1, got {}x{} with stride {}", name,
          s.r, s.s, s.stride);
  require(s.c1 == 0 || (s.stride == 1 && !s.upsample),
          "{}: two inputs (c1={}) need stride 1 and no upsampling, got stride {} and upsample={}",
          name, s.c1, s.stride, s.upsample);
}

void check_pointer(const char* name, const char* argument, const void* pointer) {
  require(pointer != nullptr, "{}: {} is null", name, argument);
}

void check_second(const char* name, const char* argument, const ConvShape& s, const void* pointer) {
  require((pointer != nullptr) == (s.c1 > 0), "{}: {} must be given exactly when c1 > 0, got c1={}",
          name, argument, s.c1);
}

Isa parse_isa(std::string_view name) {
  if (name.empty()) return best_isa();
  require(name == "v1" || name == "v3" || name == "v4",
          "DIFFSCM_ISA={}: unknown instruction set, choose v1, v3 or v4", name);
  const Isa isa = name == "v1" ? Isa::kV1 : name == "v3" ? Isa::kV3 : Isa::kV4;
  require(isa_supported(isa), "DIFFSCM_ISA={}: this processor has no such instructions", name);
  return isa;
}

std::optional<Rung> parse_rung(std::string_view name) {
  if (name.empty()) return std::nullopt;
  if (name == "naive") return Rung::kNaive;
  if (name == "direct") return Rung::kDirect;
  if (name == "winograd") return Rung::kWinograd;
  require(name != "tiled" && name != "mma" && name != "hopper" && name != "cudnn",
          "DIFFSCM_CONV={}: a rung of the cuda target; on cpu choose naive, direct or winograd",
          name);
  fail("DIFFSCM_CONV={}: unknown rung, choose naive, direct or winograd", name);
}

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int64_t packed_floats(const ConvShape& shape, bool backward, Rung rung) {
  if (rung == Rung::kNaive) return 0;
  return rung == Rung::kDirect ? direct::packed_floats(shape, backward)
                               : winograd::packed_floats(shape, backward);
}

void pack(const Conv2dPackArgs& args, Rung rung, Isa isa) {
  if (rung == Rung::kDirect) direct::pack(args);
  if (rung == Rung::kWinograd) winograd::pack(args, isa);
}

// What the caller packed, or a workspace packed now.
template <class Args>
const float* packed_or_pack(const Args& args, bool backward, Rung rung, Isa isa) {
  if (args.packed) return args.packed;
  float* packed = workspace(Workspace::kPacked, packed_floats(args.shape, backward, rung));
  pack({args.shape, backward, args.weight, packed, nullptr}, rung, isa);
  return packed;
}

}  // namespace

Selection parse_selection(std::string_view conv, std::string_view isa) {
  return {parse_rung(conv), parse_isa(isa)};
}

// A rung that only the cuda target has is no wish here: one environment serves both.
Selection selection_from_environment() {
  static const Selection selection = [] {
    std::string_view conv = environment("DIFFSCM_CONV");
    if (conv == "tiled" || conv == "mma" || conv == "hopper" || conv == "cudnn") conv = "";
    return parse_selection(conv, environment("DIFFSCM_ISA"));
  }();
  return selection;
}

Rung rung_for(const ConvShape& shape, const Selection& selection) {
  Rung rung = selection.rung.value_or(winograd::prefers(shape) ? Rung::kWinograd : Rung::kDirect);
  if (rung == Rung::kWinograd && !winograd::supports(shape)) rung = Rung::kDirect;
  return rung;
}

void run_conv2d(const Conv2dArgs& args, const Selection& selection) {
  constexpr const char* kName = "conv2d";
  check_shape(kName, args.shape);
  check_pointer(kName, "x0", args.x0);
  check_pointer(kName, "weight", args.weight);
  check_pointer(kName, "y", args.y);
  check_second(kName, "x1", args.shape, args.x1);
  const Rung rung = rung_for(args.shape, selection);
  if (rung == Rung::kNaive) return naive::conv2d(args);
  Conv2dArgs a = args;
  a.packed = packed_or_pack(args, false, rung, selection.isa);
  rung == Rung::kDirect ? direct::conv2d(a, selection.isa) : winograd::conv2d(a, selection.isa);
}

void run_conv2d_backward_input(const Conv2dBackwardInputArgs& args, const Selection& selection) {
  constexpr const char* kName = "conv2d_backward_input";
  check_shape(kName, args.shape);
  check_pointer(kName, "dy", args.dy);
  check_pointer(kName, "weight", args.weight);
  check_pointer(kName, "dx0", args.dx0);
  check_second(kName, "dx1", args.shape, args.dx1);
  const Rung rung = rung_for(args.shape, selection);
  if (rung == Rung::kNaive) return naive::conv2d_backward_input(args);
  Conv2dBackwardInputArgs a = args;
  a.packed = packed_or_pack(args, true, rung, selection.isa);
  rung == Rung::kDirect ? direct::conv2d_backward_input(a, selection.isa)
                        : winograd::conv2d_backward_input(a, selection.isa);
}

void run_conv2d_backward_weight(const Conv2dBackwardWeightArgs& args, const Selection& selection) {
  constexpr const char* kName = "conv2d_backward_weight";
  check_shape(kName, args.shape);
  check_pointer(kName, "x0", args.x0);
  check_pointer(kName, "dy", args.dy);
  check_pointer(kName, "dweight", args.dweight);
  check_second(kName, "x1", args.shape, args.x1);
  Rung rung = rung_for(args.shape, selection);
  if (rung == Rung::kNaive) return naive::conv2d_backward_weight(args);
  // Nothing is packed here, so this may look at n, h and w: for few pixels the last transform,
  // which costs about as much as 100 pixels do, is not worth it.
  if (!selection.rung && args.shape.n * args.shape.p() * args.shape.q() < 100) rung = Rung::kDirect;
  rung == Rung::kDirect ? direct::conv2d_backward_weight(args, selection.isa)
                        : winograd::conv2d_backward_weight(args, selection.isa);
}

void run_conv2d_pack(const Conv2dPackArgs& args, const Selection& selection) {
  constexpr const char* kName = "conv2d_pack";
  check_shape(kName, args.shape);
  const Rung rung = rung_for(args.shape, selection);
  if (!args.packed) {
    check_pointer(kName, "floats", args.floats);
    *args.floats = packed_floats(args.shape, args.backward, rung);
    return;
  }
  check_pointer(kName, "weight", args.weight);
  pack(args, rung, selection.isa);
}

void conv2d(const Conv2dArgs& args, Stream) {
  run_conv2d(args, selection_from_environment());
}
void conv2d_backward_input(const Conv2dBackwardInputArgs& args, Stream) {
  run_conv2d_backward_input(args, selection_from_environment());
}
void conv2d_backward_weight(const Conv2dBackwardWeightArgs& args, Stream) {
  run_conv2d_backward_weight(args, selection_from_environment());
}
void conv2d_pack(const Conv2dPackArgs& args, Stream) {
  run_conv2d_pack(args, selection_from_environment());
}

}  // namespace diffscm::kernels::cpu
