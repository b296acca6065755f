// Inner products per sample, summed in double: a block for each slice of a sample. Its threads walk
// over the slice in turn, 16 bytes of either input at a time, and their sums are added in a fixed
// order. A sample of image size is one slice; the slices of a large one (all gradients of a
// network) are added by a second kernel. Slices follow from the sample's size alone, and so does
// the result.
#include <algorithm>

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;

struct WarpSums {
  double at[kThreads / kWarp];
};

constexpr int64_t kSlice = 8192;  // elements
constexpr int64_t kSlicesMax = 1024;

// `width` divides the number of elements and the slices' length. Without partials there is one
// slice, otherwise partials [n, slices] receive the sums.
template <int width>
__global__ void __launch_bounds__(kThreads)
    dot_samples(SampleDotArgs args, int64_t slices, int64_t length, double* partials) {
  follow_previous_kernel();
  auto& scratch = shared_memory<WarpSums>();
  for (int64_t slice = blockIdx.x; slice < args.n * slices; slice += gridDim.x) {
    const int64_t n = slice / slices, end_of_sample = (n + 1) * args.elements;
    const int64_t begin = n * args.elements + slice % slices * length;
    const int64_t end = begin + length < end_of_sample ? begin + length : end_of_sample;
    double sum = 0;
#pragma unroll 2
    for (int64_t i = begin + threadIdx.x * width; i < end; i += kThreads * width) {
      const auto x = load_numbers<width>(args.x + i), z = load_numbers<width>(args.z + i);
#pragma unroll
      for (int j = 0; j < width; ++j)
        sum = fma(static_cast<double>(x[j]), static_cast<double>(z[j]), sum);
    }
    sum = block_sum<kThreads>(sum, scratch.at);
    if (threadIdx.x != 0) continue;
    if (partials)
      partials[slice] = sum;
    else
      args.y[n] = static_cast<float>(sum);
  }
}

__global__ void __launch_bounds__(kThreads)
    add_dots(int64_t n, int64_t slices, const double* partials, float* y) {
  follow_previous_kernel();
  auto& scratch = shared_memory<WarpSums>();
  for (int64_t sample = blockIdx.x; sample < n; sample += gridDim.x) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < slices; i += kThreads) sum += partials[sample * slices + i];
    sum = block_sum<kThreads>(sum, scratch.at);
    if (threadIdx.x == 0) y[sample] = static_cast<float>(sum);
  }
}

}  // namespace

void sample_dot(const SampleDotArgs& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<float>;
  const auto grid = [](int64_t blocks) {
    return dim3(static_cast<unsigned>(std::min<int64_t>(blocks, 1 << 30)));
  };
  const int64_t wanted = std::clamp<int64_t>(args.elements / kSlice, 1, kSlicesMax);
  const int64_t length =
      ceil_div(ceil_div(std::max<int64_t>(args.elements, 1), wanted), kWidth) * kWidth;
  const int64_t slices = std::max<int64_t>(ceil_div(args.elements, length), 1);
  auto* partials = slices == 1
                       ? nullptr
                       : static_cast<double*>(workspace(args.n * slices * sizeof(double), stream));
  if (aligned16(args.x) && aligned16(args.z) && args.elements % kWidth == 0)
    launch<dot_samples<kWidth>>(grid(args.n * slices), kThreads, sizeof(WarpSums), stream, args,
                                slices, length, partials);
  else
    launch<dot_samples<1>>(grid(args.n * slices), kThreads, sizeof(WarpSums), stream, args, slices,
                           length, partials);
  if (partials)
    launch<add_dots>(grid(args.n), kThreads, sizeof(WarpSums), stream, args.n, slices, partials,
                     args.y);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
