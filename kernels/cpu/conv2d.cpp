// Entry points of the convolution: picks a rung, calls.
//
// Every rung computes the same contract (kernels/conv2d.h), so this file is all there is to know
// about which one runs when. DIFFSCM_CONV=naive|direct|winograd forces a rung (a forced winograd
// falls to direct where the filter is not 3x3 with stride 1).
#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "kernels/cpu/conv2d_rungs.h"
#include "kernels/cpu/conv2d_workspace.h"
#include "kernels/cpu/table.h"
#include "kernels/error.h"

namespace diffscm::kernels::cpu {
namespace {

bool is_of_cuda(std::string_view rung) {
  constexpr std::array kRungs{"tiled", "taps", "mma", "mma-weights", "wgmma", "cudnn"};
  return std::ranges::find(kRungs, rung) != kRungs.end();
}

std::optional<Rung> parse_rung(std::string_view name) {
  if (name.empty()) return std::nullopt;
  if (name == "naive") return Rung::kNaive;
  if (name == "direct") return Rung::kDirect;
  if (name == "winograd") return Rung::kWinograd;
  require(!is_of_cuda(name),
          "DIFFSCM_CONV={}: a rung of the cuda target; on cpu choose naive, direct or winograd",
          name);
  fail("DIFFSCM_CONV={}: unknown rung, choose naive, direct or winograd", name);
}

// Winograd's transform makes four numbers of each weight: those of networks with hundreds of
// channels would not fit where the weights do, and are made when they are needed.
int64_t packed_floats(const ConvShape& shape, bool backward, Rung rung) {
  constexpr int64_t kWide = 512 * 256;
  if (rung == Rung::kNaive) return 0;
  if (rung == Rung::kDirect) return direct::packed_floats(shape, backward);
  return shape.c() * shape.k > kWide ? 0 : winograd::packed_floats(shape, backward);
}

void pack(const Conv2dPackArgs& args, Rung rung, Isa isa) {
  if (rung == Rung::kDirect) direct::pack(args);
  if (rung == Rung::kWinograd) winograd::pack(args, isa);
}

// What the caller packed, or a workspace packed now: but for Winograd's, which packs part by part.
template <class Args>
const float* packed_or_pack(const Args& args, bool backward, Rung rung) {
  if (args.packed || rung == Rung::kWinograd) return args.packed;
  float* packed = workspace(Workspace::kPacked, direct::packed_floats(args.shape, backward));
  direct::pack({args.shape, backward, args.weight, packed, nullptr});
  return packed;
}

}  // namespace

Selection parse_selection(std::string_view conv, std::string_view isa) {
  return {parse_rung(conv), parse_isa(isa)};
}

// A rung that only the cuda target has is no wish here: one environment serves both.
Selection selection_from_environment() {
  static const Selection selection = [] {
    const char* value = std::getenv("DIFFSCM_CONV");
    const std::string_view conv = value ? value : "";
    return Selection{parse_rung(is_of_cuda(conv) ? "" : conv), chosen_isa()};
  }();
  return selection;
}

Rung rung_for(const ConvShape& shape, const Selection& selection) {
  Rung rung = selection.rung.value_or(winograd::prefers(shape) ? Rung::kWinograd : Rung::kDirect);
  if (rung == Rung::kWinograd && !winograd::supports(shape)) rung = Rung::kDirect;
  return rung;
}

void run_conv2d(const Conv2dArgs& args, const Selection& selection) {
  const Rung rung = rung_for(args.shape, selection);
  if (rung == Rung::kNaive) return naive::conv2d(args);
  Conv2dArgs a = args;
  a.packed = packed_or_pack(args, false, rung);
  rung == Rung::kDirect ? direct::conv2d(a, selection.isa) : winograd::conv2d(a, selection.isa);
}

void run_conv2d_backward_input(const Conv2dBackwardInputArgs& args, const Selection& selection) {
  const Rung rung = rung_for(args.shape, selection);
  if (rung == Rung::kNaive) return naive::conv2d_backward_input(args);
  Conv2dBackwardInputArgs a = args;
  a.packed = packed_or_pack(args, true, rung);
  rung == Rung::kDirect ? direct::conv2d_backward_input(a, selection.isa)
                        : winograd::conv2d_backward_input(a, selection.isa);
}

void run_conv2d_backward_weight(const Conv2dBackwardWeightArgs& args, const Selection& selection) {
  Rung rung = rung_for(args.shape, selection);
  if (rung == Rung::kNaive) return naive::conv2d_backward_weight(args);
  // Nothing is packed here, so this may look at n, h and w: for few pixels the last transform,
  // which costs about as much as 100 pixels do, is not worth it.
  if (!selection.rung && args.shape.n * args.shape.p() * args.shape.q() < 100) rung = Rung::kDirect;
  rung == Rung::kDirect ? direct::conv2d_backward_weight(args, selection.isa)
                        : winograd::conv2d_backward_weight(args, selection.isa);
}

void run_conv2d_pack(const Conv2dPackArgs& args, const Selection& selection) {
  const Rung rung = rung_for(args.shape, selection);
  if (!args.packed) {
    *args.elements = packed_floats(args.shape, args.backward, rung);
    return;
  }
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
