// Convolution backward to weight and bias: picks a rung (as conv2d.cu does), calls. The bias
// gradient is dy's column sum, which tensor cores give along with the weight's.
//
// Warpgroups are predicted to be faster nearly everywhere, but have not run on a GPU: what they
// make of a shape the first time is compared with mma.sync's answer.
#include "kernels/cuda/conv2d_backward_weight.h"

#include <array>
#include <mutex>
#include <set>
#include <vector>

#include "kernels/agreement.h"
#include "kernels/cuda/table.h"
#include "kernels/targets.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// Where no rung is asked for.
void by_warpgroups(const BasicConv2dBackwardWeightArgs<bf16>& args, Stream stream) {
#ifdef __CUDACC__  // the emulator's warpgroups are a program that the tests check
  const ConvShape& s = args.shape;
  static std::mutex mutex;
  static std::set<std::array<int64_t, 8>> seen;
  const std::lock_guard lock(mutex);
  // A step that is recorded has been run before.
  if (!recording(stream) && seen.insert({s.n, s.h, s.w, s.c0, s.c1, s.k, s.r, s.upsample}).second) {
    const auto weights = [&] {
      std::vector<float> values(static_cast<size_t>(s.k * s.r * s.s * s.c()));
      runtime().copy(values.data(), args.dweight, values.size() * sizeof(float), Copy::to_host,
                     stream);
      return values;
    };
    conv2d_backward_weight_mma(args, stream);
    const std::vector<float> usual = weights();
    conv2d_backward_weight_wgmma(args, stream);
    constexpr double kRounding = 1e-2;  // far above what another order of sums in f32 changes
    const double apart = relative_distance(weights(), usual);
    require(apart < kRounding,
            "conv2d_backward_weight of {}x{}x{} pixels, {} -> {} channels: on this GPU warpgroups' "
            "sums are {:.2g} of their size off; set DIFFSCM_CONV=mma-weights, and please report it",
            s.n, s.p(), s.q(), s.c(), s.k, apart);
    return;
  }
#endif
  conv2d_backward_weight_wgmma(args, stream);
}

}  // namespace

template <class T>
void run_conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<T>& args,
                                std::optional<ConvRung> rung, Stream stream) {
  constexpr const char* kName = "conv2d_backward_weight";
  const ConvShape& s = args.shape;
  check_conv_size(kName, s);
  if (rung == ConvRung::kNaive) return conv2d_backward_weight_naive(args, stream);
  require(rung != ConvRung::kCudnn,
          "{}: DIFFSCM_CONV=cudnn serves forward and backward to input only; choose mma, tiled or "
          "naive",
          kName);
  if (rung != ConvRung::kTiled) {
    bool supported = false;
    if constexpr (sizeof(T) == sizeof(bf16)) {
      const bool wanted =
          rung ? rung == ConvRung::kWgmma : conv_wish() != "mma-weights" && weight_wgmma_pays(s);
      if (wanted && conv2d_backward_weight_wgmma_supports(args))
        return rung ? conv2d_backward_weight_wgmma(args, stream) : by_warpgroups(args, stream);
      supported = conv2d_backward_weight_mma_supports(args);
      if (supported) return conv2d_backward_weight_mma(args, stream);
    }
    if (rung == ConvRung::kMma) require_conv_mma(supported, kName, s, conv_type<T>());
  }
  if (args.dbias)
    column_sum(BasicColumnSumArgs<T>{s.n * s.p() * s.q(), s.k, args.dy, args.dbias}, stream);
  conv2d_backward_weight_tiled(args, stream);
}
template void run_conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<float>&,
                                         std::optional<ConvRung>, Stream);
template void run_conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<bf16>&,
                                         std::optional<ConvRung>, Stream);

template <class T>
void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  run_conv2d_backward_weight(args, conv_rung_from_environment(), stream);
}
template void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<float>&, Stream);
template void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
