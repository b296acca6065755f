// Weight gradient of the convolution for up to four output channels, which the last layer of an
// image model has. Part of the tiled rung.
//
// There is nothing to gain from shared tiles: an element of the patches is multiplied by one to
// four values and then done with. So this is a weighted column sum, bound by the caches (the image
// is read once per filter tap): a thread owns four neighbouring columns, walks over pixels with
// their sums for all output channels in registers, and at the end the block adds its threads' sums
// as a tree.
#include "kernels/cuda/conv2d_backward_weight.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kAlongColumns = 8, kAlongPixels = 32;  // threads; 8 x 4 columns are one run of memory
constexpr int kThreads = kAlongColumns * kAlongPixels;
constexpr int kGroup = 4 * kAlongColumns;  // columns per block
constexpr int kFlight = 4;                 // pixels a thread reads at once
constexpr int64_t kBlocksWanted = 1056;    // eight for each multiprocessor of a large GPU

template <int kChannels>
struct ThinSums {
  float at[kAlongPixels][kAlongColumns][kChannels][4];
};

template <int kChannels, bool kVectored, class T>
__global__ void __launch_bounds__(kThreads)
    conv2d_backward_weight_thin_kernel(PatchView<T> view, const T* dy, int64_t k, Split split,
                                       float* out) {
  follow_previous_kernel();
  const int x = static_cast<int>(threadIdx.x) % kAlongColumns;
  const int y = static_cast<int>(threadIdx.x) / kAlongColumns;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kGroup + 4 * x;
  const auto slice = view.slice(split, blockIdx.z);
  const FourColumns<T, kVectored> columns(view, slice, column);
  const T* const first_dy = dy + slice.begin * k;

  float sum[kChannels][4] = {};
  for (int first = y; first < slice.pixels; first += kFlight * kAlongPixels) {
    Vector<float, 4> patch[kFlight];
    float weight[kFlight][kChannels];
#pragma unroll
    for (int i = 0; i < kFlight; ++i) {
      const int pixel = first + i * kAlongPixels;
      const bool inside = pixel < slice.pixels;
      patch[i] = inside ? columns.fetch(view, view.pixel(slice, pixel)) : Vector<float, 4>{};
#pragma unroll
      for (int c = 0; c < kChannels; ++c)
        weight[i][c] = inside && c < k ? to_float(first_dy[pixel * k + c]) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kFlight; ++i)
#pragma unroll
      for (int c = 0; c < kChannels; ++c)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[c][j] = fmaf(weight[i][c], patch[i][j], sum[c][j]);
  }

  auto& shared = shared_memory<ThinSums<kChannels>>();
  float(&mine)[kChannels][4] = shared.at[y][x];
#pragma unroll
  for (int c = 0; c < kChannels; ++c)
#pragma unroll
    for (int j = 0; j < 4; ++j) mine[c][j] = sum[c][j];
  for (int half = kAlongPixels / 2; half > 0; half /= 2) {
    __syncthreads();
    if (y < half) {
      const float(&other)[kChannels][4] = shared.at[y + half][x];
#pragma unroll
      for (int c = 0; c < kChannels; ++c)
#pragma unroll
        for (int j = 0; j < 4; ++j) mine[c][j] += other[c][j];
    }
  }
  if (y > 0) return;
  for (int c = 0; c < k; ++c)
    for (int j = 0; j < 4; ++j)
      if (column + j < view.columns)
        out[(blockIdx.z * k + c) * view.columns + column + j] = mine[c][j];
}

template <int kChannels, bool kVectored, class T>
void run(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  const ConvShape& s = args.shape;
  const PatchView<T> view(args);
  const int64_t groups = ceil_div(view.columns, kGroup);
  sum_over_pixels(
      args, groups, kBlocksWanted, stream, nullptr, [&](const Split& split, float* out, float*) {
        launch<conv2d_backward_weight_thin_kernel<kChannels, kVectored, T>>(
            dim3(static_cast<unsigned>(groups), 1, static_cast<unsigned>(split.slices)), kThreads,
            sizeof(ThinSums<kChannels>), stream, view, args.dy, s.k, split, out);
      });
}

}  // namespace

template <class T>
void conv2d_backward_weight_thin(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream) {
  if (patches_vectored(args))
    args.shape.k == 1 ? run<1, true>(args, stream) : run<kThinChannels, true>(args, stream);
  else
    args.shape.k == 1 ? run<1, false>(args, stream) : run<kThinChannels, false>(args, stream);
}
template void conv2d_backward_weight_thin(const BasicConv2dBackwardWeightArgs<float>&, Stream);
template void conv2d_backward_weight_thin(const BasicConv2dBackwardWeightArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
