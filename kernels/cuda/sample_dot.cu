// Inner products per sample, summed in double: one block for each sample. Its threads walk over the
// sample in turn, 16 bytes of either input at a time, and their sums are added in a fixed order, so
// the result depends on the sample alone. (A single huge sample leaves most of the GPU idle; the
// callers have many samples of image size.)
#include <algorithm>

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;

struct WarpSums {
  double at[kThreads / kWarp];
};

// `width` divides the number of elements.
template <int width>
__global__ void __launch_bounds__(kThreads) dot_samples(SampleDotArgs args) {
  auto& scratch = shared_memory<WarpSums>();
  for (int64_t n = blockIdx.x; n < args.n; n += gridDim.x) {
    const int64_t begin = n * args.elements, end = begin + args.elements;
    double sum = 0;
#pragma unroll 2
    for (int64_t i = begin + threadIdx.x * width; i < end; i += kThreads * width) {
      const auto x = load_numbers<width>(args.x + i), z = load_numbers<width>(args.z + i);
#pragma unroll
      for (int j = 0; j < width; ++j)
        sum = fma(static_cast<double>(x[j]), static_cast<double>(z[j]), sum);
    }
    sum = block_sum<kThreads>(sum, scratch.at);
    if (threadIdx.x == 0) args.y[n] = static_cast<float>(sum);
  }
}

}  // namespace

void sample_dot(const SampleDotArgs& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<float>;
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(args.n, 1 << 30))), threads(kThreads);
  if (aligned16(args.x) && aligned16(args.z) && args.elements % kWidth == 0)
    launch<dot_samples<kWidth>>(grid, threads, sizeof(WarpSums), stream, args);
  else
    launch<dot_samples<1>>(grid, threads, sizeof(WarpSums), stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
