// Convolution of an input that is normalised on the way: picks the strip, or does it in two steps.
#include <algorithm>

#include "kernels/cuda/conv2d_rungs.h"
#include "kernels/cuda/device/approximate.h"
#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// What the filter is to see, [N, H, W, C].
__global__ void __launch_bounds__(kElementThreads) normalise(NormalisedConv2dArgs args, bf16* out) {
  follow_previous_kernel();
  const ConvShape& s = args.conv.shape;
  const int64_t c = s.c(), elements = s.n * s.h * s.w * c;
  const int64_t threads = int64_t{gridDim.x} * kElementThreads;
  for (int64_t i = int64_t{blockIdx.x} * kElementThreads + threadIdx.x; i < elements;
       i += threads) {
    const int64_t pixel = i / c, channel = i % c;
    const float* a = args.coefficients + pixel / (s.h * s.w) * 2 * c + channel;
    const float x = to_float(channel < s.c0 ? args.conv.x0[pixel * s.c0 + channel]
                                            : args.conv.x1[pixel * s.c1 + (channel - s.c0)]);
    const float z = fmaf(a[0], x, a[c]);
    out[i] = from_float<bf16>(z * sigmoid_approximate(z));
  }
}

// The shortcut on its own, to where the result will be.
void convolve_shortcut(const NormalisedConv2dArgs& args, std::optional<ConvRung> rung,
                       Stream stream) {
  const ConvShape& s = args.conv.shape;
  const ConvShortcut& cut = args.shortcut;
  const ConvShape shape{
      .n = s.n, .h = s.p(), .w = s.q(), .c0 = cut.c0, .c1 = cut.c1, .k = s.k, .r = 1, .s = 1};
  check_conv_size("conv2d_normalised", shape);
  run_conv2d<bf16>({shape, cut.x0, cut.x1, cut.weight, nullptr, cut.bias, nullptr, args.conv.y},
                   rung, stream);
}

}  // namespace

void run_conv2d_normalised(const NormalisedConv2dArgs& args, std::optional<ConvRung> rung,
                           Stream stream) {
  check_conv_size("conv2d_normalised", args.conv.shape);
  if (rung == ConvRung::kWgmma) rung.reset();
  if (!rung && conv2d_normalised_strip_supports(args)) return conv2d_normalised_strip(args, stream);
  if (args.shortcut.x0) {
    convolve_shortcut(args, rung, stream);
    NormalisedConv2dArgs rest = args;
    rest.conv.residual = args.conv.y;
    rest.shortcut = {};
    return run_conv2d_normalised(rest, rung, stream);
  }
  BasicConv2dArgs<bf16> conv = args.conv;
  ConvShape& s = conv.shape;
  const int64_t elements = s.n * s.h * s.w * s.c();
  int64_t sums = 0;  // of weights, which the mma rung would have in the workspace, too
  if (!conv.packed) conv2d_mma_pack({s, false, conv.weight, nullptr, &sums}, stream);
  auto* out =
      static_cast<bf16*>(workspace(static_cast<size_t>(elements + sums) * sizeof(bf16), stream));
  if (sums > 0) {
    conv2d_mma_pack({s, false, conv.weight, out + elements, nullptr}, stream);
    conv.packed = out + elements;
  }
  launch<normalise>(element_grid(elements, 1), kElementThreads, 0, stream, args, out);
  conv.x0 = out;
  conv.x1 = nullptr;
  s.c0 = s.c();
  s.c1 = 0;
  // Not by warpgroups: their slices would need the workspace that holds the image.
  if (!rung && conv2d_mma_supports(conv)) rung = ConvRung::kMma;
  run_conv2d(conv, rung, stream);
}

void conv2d_normalised_bf16(const NormalisedConv2dArgs& args, Stream stream) {
  run_conv2d_normalised(args, conv_rung_from_environment(), stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
