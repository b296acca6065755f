// Convolution: checks the arguments, picks a rung, calls.
//
// Every rung computes the same contract (kernels/conv2d.h), so this file and
// conv2d_backward_input.cu are all there is to know about which one runs when: bf16 whose channels
// come in eights goes to the tensor cores, everything else to the tiled rung.
// DIFFSCM_CONV=naive|tiled|mma|cudnn forces a rung. The cpu target reads the same variable; each
// target ignores the names that only the other has, so that one environment serves both.
#include <cstdlib>

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
    case ConvRung::kCudnn:
      return "cudnn";
  }
  return "?";
}

std::optional<ConvRung> parse_conv_rung(std::string_view value) {
  if (value.empty() || value == "direct" || value == "winograd") return std::nullopt;
  for (const ConvRung rung : {ConvRung::kNaive, ConvRung::kTiled, ConvRung::kMma, ConvRung::kCudnn})
    if (value == name(rung)) return rung;
  fail("DIFFSCM_CONV={}: unknown rung, choose naive, tiled, mma or cudnn", value);
}

std::optional<ConvRung> conv_rung_from_environment() {
  static const std::optional<ConvRung> rung = [] {
    const char* value = std::getenv("DIFFSCM_CONV");
    return parse_conv_rung(value ? value : "");
  }();
  return rung;
}

void check_conv_shape(const char* operation, const ConvShape& s) {
  require(s.n >= 1 && s.h >= 1 && s.w >= 1 && s.c0 >= 1 && s.c1 >= 0 && s.k >= 1,
          "{}: sizes must be at least 1 (c1: 0), got n={} h={} w={} c0={} c1={} k={}", operation,
          s.n, s.h, s.w, s.c0, s.c1, s.k);
  require(s.r == s.s && (s.r == 1 || s.r == 3), "{}: the filter must be 1x1 or 3x3, got {}x{}",
          operation, s.r, s.s);
  require(s.stride == 1 || s.stride == 2, "{}: stride must be 1 or 2, got {}", operation, s.stride);
  require(!s.upsample || (s.stride == 1 && s.r == 3),
          "{}: an upsampled input needs a 3x3 filter with stride 1, got {}x{} with stride {}",
          operation, s.r, s.s, s.stride);
  require(s.c1 == 0 || (s.stride == 1 && !s.upsample),
          "{}: two inputs (c1={}) need stride 1 and no upsampling, got stride {} and upsample={}",
          operation, s.c1, s.stride, s.upsample);
  constexpr int64_t kLimit = int64_t{1} << 30;  // of what kernels count in 32 bits
  require(s.in_h() < kLimit / s.in_w() && s.c() < kLimit && s.k < kLimit,
          "{}: an image of {}x{} pixels, {} -> {} channels is too large, the limit is 2^30 each",
          operation, s.in_h(), s.in_w(), s.c(), s.k);
}

void check_conv_pointer(const char* operation, const char* argument, const void* pointer) {
  require(pointer != nullptr, "{}: {} is null", operation, argument);
}

void check_conv_second(const char* operation, const char* argument, const ConvShape& s,
                       const void* pointer) {
  require((pointer != nullptr) == (s.c1 > 0), "{}: {} must be given exactly when c1 > 0, got c1={}",
          operation, argument, s.c1);
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
  check_conv_shape(kName, args.shape);
  check_conv_pointer(kName, "x0", args.x0);
  check_conv_pointer(kName, "weight", args.weight);
  check_conv_pointer(kName, "y", args.y);
  check_conv_second(kName, "x1", args.shape, args.x1);
  if (rung == ConvRung::kNaive) return conv2d_naive(args, stream);
  if (rung == ConvRung::kCudnn) return conv2d_cudnn(args, stream);
  if (rung != ConvRung::kTiled) {
    bool supported = false;
    if constexpr (sizeof(T) == sizeof(bf16)) {
      supported = conv2d_mma_supports(args);
      if (supported) return conv2d_mma(args, stream);
    }
    if (rung) require_conv_mma(supported, kName, args.shape, conv_type<T>());
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

// Every rung reads the weight as it is.
void conv2d_pack(const Conv2dPackArgs& args, Stream) {
  constexpr const char* kName = "conv2d_pack";
  check_conv_shape(kName, args.shape);
  if (args.packed) return;
  check_conv_pointer(kName, "floats", args.floats);
  *args.floats = 0;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
