// Convolution: picks a rung, calls.
//
// Every rung computes the same contract (kernels/conv2d.h), so this file and
// conv2d_backward_input.cu are all there is to know about which one runs when: bf16 whose channels
// come in eights goes to the tensor cores, by warpgroups if it is wide and the device has them,
// everything else to the tiled rung. DIFFSCM_CONV=naive|tiled|mma|cudnn forces a rung; taps picks
// as ever, but never the strip, nor an enlarged image's phases (conv2d_mma.cu); wgmma picks as
// ever, but warpgroups wherever mma would be and they can; mma-weights picks as ever, but no
// warpgroups for weight gradients (conv2d_backward_weight.cu). The cpu target reads the same
// variable; each target ignores the names that only the other has, so that one environment serves
// both.
#include <cstdlib>
#include <string>

#include "kernels/cuda/conv2d_rungs.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

const char* name(ConvRung rung) {
  switch (rung) {
    case ConvRung::kNaive:
      return "naive";
    case ConvRung::kTiled:
      return "tiled";
    case ConvRung::kMma:
      return "mma";
    case ConvRung::kWgmma:
      return "wgmma";
    case ConvRung::kCudnn:
      return "cudnn";
  }
  return "?";
}

std::optional<ConvRung> parse_conv_rung(std::string_view value) {
  for (const char* other : {"", "taps", "mma-weights", "direct", "winograd"})
    if (value == other) return std::nullopt;
  for (const ConvRung rung :
       {ConvRung::kNaive, ConvRung::kTiled, ConvRung::kMma, ConvRung::kWgmma, ConvRung::kCudnn})
    if (value == name(rung)) return rung;
  fail("DIFFSCM_CONV={}: unknown rung, choose naive, tiled, taps, mma, mma-weights, wgmma or cudnn",
       value);
}

std::string_view conv_wish() {
  static const std::string wish = [] {
    const char* value = std::getenv("DIFFSCM_CONV");
    return value ? value : "";
  }();
  return wish;
}

std::optional<ConvRung> conv_rung_from_environment() {
  static const std::optional<ConvRung> rung = parse_conv_rung(conv_wish());
  return rung;
}

void check_conv_size(const char* operation, const ConvShape& s) {
  constexpr int64_t kLimit = int64_t{1} << 30;  // of what kernels count in 32 bits
  require(s.in_h() < kLimit / s.in_w() && s.c() < kLimit && s.k < kLimit,
          "{}: an image of {}x{} pixels, {} -> {} channels is too large, the limit is 2^30 each",
          operation, s.in_h(), s.in_w(), s.c(), s.k);
  require(s.k < 2 * kLimit / (s.r * s.s * s.c() + 1),
          "{}: a filter of {}x{}, {} -> {} channels has more than 2^31 weights", operation, s.r,
          s.s, s.c(), s.k);
}

void require_conv_mma(bool supported, const char* operation, const ConvShape& s, const char* type) {
  require(supported,
          "{}: DIFFSCM_CONV=mma cannot do {} with c0={} c1={} k={}: it takes bf16, aligned to 16 "
          "bytes, with channels in multiples of 8; choose tiled or naive",
          operation, type, s.c0, s.c1, s.k);
}

template <class T>
void run_conv2d(const BasicConv2dArgs<T>& args, std::optional<ConvRung> rung, Stream stream) {
  constexpr const char* kName = "conv2d";
  const ConvShape& s = args.shape;
  check_conv_size(kName, s);
  if (rung == ConvRung::kNaive) return conv2d_naive(args, stream);
  if (rung == ConvRung::kCudnn) return conv2d_cudnn(args, stream);
  if (rung != ConvRung::kTiled) {
    bool supported = false;
    if constexpr (sizeof(T) == sizeof(bf16)) {
      if ((rung ? rung == ConvRung::kWgmma : wgmma_pays(s, s.n * s.p() * s.q(), s.k, true)) &&
          conv2d_wgmma_supports(args))
        return conv2d_wgmma(args, stream);
      supported = conv2d_mma_supports(args);
      if (supported) return conv2d_mma(args, stream);
    }
    if (rung == ConvRung::kMma) require_conv_mma(supported, kName, args.shape, conv_type<T>());
  }
  conv2d_tiled(args, stream);
}
template void run_conv2d(const BasicConv2dArgs<float>&, std::optional<ConvRung>, Stream);
template void run_conv2d(const BasicConv2dArgs<bf16>&, std::optional<ConvRung>, Stream);

template <class T>
void conv2d(const BasicConv2dArgs<T>& args, Stream stream) {
  run_conv2d(args, conv_rung_from_environment(), stream);
}
template void conv2d(const BasicConv2dArgs<float>&, Stream);
template void conv2d(const BasicConv2dArgs<bf16>&, Stream);

// Weights are f32, and few channels on one side: nothing for the tensor cores or the library,
// whatever DIFFSCM_CONV wishes for the other convolutions of a network.
template <class T, class Y>
void run_mixed(const BasicConv2dArgs<T, Y>& args, Stream stream) {
  check_conv_size("conv2d", args.shape);
  if (conv_rung_from_environment() == ConvRung::kNaive) return conv2d_naive(args, stream);
  conv2d_tiled(args, stream);
}
void conv2d_f32_bf16(const BasicConv2dArgs<float, bf16>& args, Stream stream) {
  run_mixed(args, stream);
}
void conv2d_bf16_f32(const BasicConv2dArgs<bf16, float>& args, Stream stream) {
  run_mixed(args, stream);
}

// Only the mma rung wants more than the weight as it is, and nothing of what always goes to wgmma.
template <class T>
void conv2d_pack(const BasicConv2dPackArgs<T>& args, Stream stream) {
  const std::optional<ConvRung> rung = conv_rung_from_environment();
  if constexpr (sizeof(T) == sizeof(bf16))
    if (rung ? rung == ConvRung::kMma : !wgmma_pays(args.shape, 0, 0, true))
      return conv2d_mma_pack(args, stream);
  if (!args.packed) *args.elements = 0;
}
template void conv2d_pack(const BasicConv2dPackArgs<float>&, Stream);
template void conv2d_pack(const BasicConv2dPackArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
