// The exact quantile of |x0| per sample, for dynamic thresholding: one block for each sample finds
// the order statistic by radix selection.
//
// The bits of floats >= 0 order like the floats. So the k-th smallest value is found a digit at a
// time, from the top: count how often each digit occurs among the values that share the digits
// found so far, walk along the counts until k values are passed, keep that digit and what is left
// of k. Three digits of 11, 10 and 10 bits make the 31. The top one holds exponent and three bits
// of the fraction: predictions of size 1 spread over some thirty counters, so atomic additions
// rarely collide. Counts are integers, whose sum has no order: the result is reproducible.
//
// Each pass computes the values again from x and eps, two operations each, since an image is in
// the cache after the first. Selection reads the data four times in one launch with no memory of
// its own, can be recorded, and runs in the emulator; a library sort of segments would read and
// write them as often with several launches and a temporary buffer, to order what nobody looks at.
#include <algorithm>
#include <limits>

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kBins = 2048;
constexpr int kBinsPerThread = kBins / kThreads;
constexpr uint32_t kInfinity = 0x7f800000u;

struct Shared {
  unsigned count[kBins];
  unsigned warp_total[kThreads / kWarp];
  unsigned digit, rank, equal;  // what find_digit found
  unsigned above;               // the smallest value above the one selected
  int has_nan;
  float noise_a, inv_root_a;
};

// The position of the quantile among the sorted values.
struct Position {
  unsigned below;
  double fraction;
};

// Calls f(bits of |x0|) for this thread's share of sample n. `width` divides the elements.
template <int width, class F>
__device__ inline void for_each_value(const AbsQuantileArgs& args, const Shared& shared, int64_t n,
                                      const F& f) {
  const float noise_a = shared.noise_a, inv_root_a = shared.inv_root_a;
  const int64_t begin = n * args.elements, end = begin + args.elements;
  for (int64_t i = begin + threadIdx.x * width; i < end; i += kThreads * width) {
    const auto x = load_numbers<width>(args.x + i), eps = load_numbers<width>(args.eps + i);
#pragma unroll
    for (int j = 0; j < width; ++j)
      f(__float_as_uint(fabsf(fmaf(-noise_a, eps[j], x[j]) * inv_root_a)));
  }
}

// Finds the digit whose values include number `rank` in their order, and how many of them come
// before it. Every thread must call, after a barrier; the result is valid after the next one.
__device__ inline void find_digit(Shared& shared, unsigned rank) {
  const unsigned first = threadIdx.x * kBinsPerThread;
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  unsigned mine = 0;
  for (int i = 0; i < kBinsPerThread; ++i) mine += shared.count[first + i];
  unsigned through = mine;  // the values of all threads up to this one, first within its warp
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const unsigned earlier = __shfl_up_sync(kFullMask, through, offset);
    if (lane >= static_cast<unsigned>(offset)) through += earlier;
  }
  if (lane == kWarp - 1) shared.warp_total[warp] = through;
  __syncthreads();
  for (unsigned w = 0; w < warp; ++w) through += shared.warp_total[w];
  unsigned before = through - mine;
  if (rank < before || rank >= through) return;
  unsigned digit = first;
  while (rank - before >= shared.count[digit]) before += shared.count[digit++];
  shared.digit = digit;
  shared.rank = rank - before;
  shared.equal = shared.count[digit];
}

template <int width>
__device__ inline float quantile_of(const AbsQuantileArgs& args, Position position, Shared& shared,
                                    int64_t n) {
  uint32_t selected = 0;  // the digits found so far
  unsigned rank = position.below;
  int bits_left = 31;
  for (const int digit_bits : {11, 10, 10}) {
    const int known = bits_left;  // values whose bits from here on are `selected` take part
    bits_left -= digit_bits;
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) shared.count[bin] = 0;
    __syncthreads();
    for_each_value<width>(args, shared, n, [&](uint32_t bits) {
      if (bits > kInfinity) atomicMax(&shared.has_nan, 1);
      if (bits >> known == selected)
        atomicAdd(&shared.count[bits >> bits_left & ((1u << digit_bits) - 1)], 1u);
    });
    __syncthreads();
    if (shared.has_nan) return std::numeric_limits<float>::quiet_NaN();
    find_digit(shared, rank);
    __syncthreads();
    selected = selected << digit_bits | shared.digit;
    rank = shared.rank;
  }
  const double low = __uint_as_float(selected);
  if (position.fraction == 0) return __uint_as_float(selected);
  // The next value in order: the same once more, or the smallest that is larger.
  double high = low;
  if (rank + 1 >= shared.equal) {
    unsigned above = kInfinity;
    for_each_value<width>(args, shared, n, [&](uint32_t bits) {
      if (bits > selected && bits < above) above = bits;
    });
    atomicMin(&shared.above, above);
    __syncthreads();
    high = __uint_as_float(shared.above);
  }
  return static_cast<float>(fma(position.fraction, high - low, low));
}

template <int width>
__global__ void __launch_bounds__(kThreads)
    select_quantile(AbsQuantileArgs args, Position position) {
  follow_previous_kernel();
  auto& shared = shared_memory<Shared>();
  for (int64_t n = blockIdx.x; n < args.n; n += gridDim.x) {
    if (threadIdx.x == 0) {
      const double a = args.levels ? args.levels[0] : args.alpha_bar;
      shared.noise_a = static_cast<float>(sqrt(1 - a));
      shared.inv_root_a = static_cast<float>(1 / sqrt(a));
      shared.has_nan = 0;
      shared.above = kInfinity;
    }
    const float quantile = quantile_of<width>(args, position, shared, n);
    if (threadIdx.x == 0) args.quantile[n] = quantile;
    __syncthreads();  // before the next sample's counts
  }
}

}  // namespace

void abs_quantile(const AbsQuantileArgs& args, Stream stream) {
  if (args.n == 0) return;
  require(args.elements < int64_t{1} << 32,
          "abs_quantile: {} elements per sample, but they are counted in 32 bits", args.elements);
  const double at = args.q * static_cast<double>(args.elements - 1);
  const auto below = static_cast<unsigned>(at);
  const Position position = {below, at - below};
  constexpr int kWidth = kVector<float>;
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(args.n, 1 << 30))), threads(kThreads);
  if (aligned16(args.x) && aligned16(args.eps) && args.elements % kWidth == 0)
    launch<select_quantile<kWidth>>(grid, threads, sizeof(Shared), stream, args, position);
  else
    launch<select_quantile<1>>(grid, threads, sizeof(Shared), stream, args, position);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
