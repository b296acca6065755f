// Weight gradient of a network's first or last convolution: a few channels of f32 on one side, the
// image or what belongs to it, many of bf16 on the other.
//
//   first:  dweight[k, tap, f] = sum over pixels p of dy[p, k] x[p + tap, f]
//   last:   dweight[f, tap, c] = sum over pixels q of x[q, c] dy[q - tap, f]
//
// Either way the many channels of each pixel are read once, where they lie, and meet the few at the
// nine pixels around it. Those are little: a block has them of a band of rows in shared memory,
// with zeros around the image. A thread has eight of the many channels and all taps in 72 sums, and
// walks along half a row of the band. In the end the block adds up its threads' sums, and a second
// kernel those of the blocks, of which there are as many as the shape says: results are
// bit-reproducible.
#include <algorithm>

#include "kernels/cuda/conv2d_rungs.h"
#include "kernels/cuda/matmul_rungs.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kEight = kVector<bf16>;
constexpr int kChunks = 4;  // of eight channels, of a block
constexpr int kParts = 2;   // of a row
constexpr int kBand = 16;   // rows
constexpr int kThreads = kChunks * kParts * kBand, kWarps = kThreads / kWarp;
constexpr int kFlight = 4;            // pixels that a thread reads at once
constexpr int64_t kBlocksMost = 396;  // three for each multiprocessor of a large GPU
constexpr int kTaps = 9;

struct Sides {
  const float* few;  // [n, h, w, fews]
  const bf16* many;  // [n, h, w, manys]
  int h, w, fews, manys;
  int bands, tasks;  // bands of an image, of all
  bool first;        // few is x
  float* out;        // [blocks, K, 9, C]

  // A row of the band in shared memory: a zero, the row's, and zeros to where threads may read.
  __host__ __device__ int pitch() const { return (w + kFlight - 1) / kFlight * kFlight + 2; }
};

template <int kCount>
struct Sums {
  float of_warp[kWarps][kChunks][kCount];
};

template <bool kVectored>
__device__ inline Vector<bf16, kEight> load_eight(const bf16* p) {
  if constexpr (kVectored) {
    return load<kEight>(p);
  } else {
    Vector<bf16, kEight> x;
#pragma unroll
    for (int i = 0; i < kEight; ++i) x[i] = p[i];
    return x;
  }
}

// Adds the products of kFlight pixels' channels m with what lies around them: three rows of the
// band, from `around` on.
__device__ inline void add_pixels(float (&sum)[kTaps][kEight],
                                  const Vector<bf16, kEight> (&m)[kFlight], const float* around,
                                  int pitch) {
  float few[3][kFlight + 2];
#pragma unroll
  for (int r = 0; r < 3; ++r)
#pragma unroll
    for (int i = 0; i < kFlight + 2; ++i) few[r][i] = around[r * pitch + i];
#pragma unroll
  for (int i = 0; i < kFlight; ++i) {
    float x[kEight];
    to_floats(m[i], x);
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap)
#pragma unroll
      for (int c = 0; c < kEight; ++c)
        sum[tap][c] = fmaf(few[tap / 3][i + tap % 3], x[c], sum[tap][c]);
  }
}

// Block (b, g, f): tasks b, b + gridDim.x ..., the g-th 32 of the many channels, channel f of the
// few.
template <bool kVectored>
__global__ void __launch_bounds__(kThreads, 3) conv2d_backward_weight_few_kernel(Sides s) {
  follow_previous_kernel();
  float* const band = &shared_memory<float>();
  const int t = static_cast<int>(threadIdx.x), chunk = t % kChunks, part = t / kChunks % kParts;
  const int row = t / (kChunks * kParts), few = static_cast<int>(blockIdx.z);
  const int channel = (static_cast<int>(blockIdx.y) * kChunks + chunk) * kEight;
  const int pitch = s.pitch(), half = (s.w + 2 * kFlight - 1) / (2 * kFlight) * kFlight;
  const int begin = part * half, end = part == 0 && half < s.w ? half : s.w;

  float sum[kTaps][kEight] = {};
#pragma unroll 1
  for (int task = static_cast<int>(blockIdx.x); task < s.tasks;
       task += static_cast<int>(gridDim.x)) {
    const int n = task / s.bands, row0 = task % s.bands * kBand;
    const int rows = s.h - row0 < kBand ? s.h - row0 : kBand;
    const float* image = s.few + static_cast<int64_t>(n) * s.h * s.w * s.fews + few;
    for (int r = t / kWarp; r < rows + 2; r += kWarps) {
      const int y = row0 + r - 1, begin = y * s.w - 1;
      const bool within = y >= 0 && y < s.h;
      for (int i = t % kWarp; i < pitch; i += kWarp)
        band[r * pitch + i] = within && i > 0 && i <= s.w ? image[(begin + i) * s.fews] : 0;
    }
    __syncthreads();
    if (row < rows && channel < s.manys) {
      const bf16* many =
          s.many + ((static_cast<int64_t>(n) * s.h + row0 + row) * s.w) * s.manys + channel;
#pragma unroll 1
      for (int x = begin; x < end; x += kFlight) {
        Vector<bf16, kEight> m[kFlight];
#pragma unroll
        for (int i = 0; i < kFlight; ++i)
          m[i] = x + i < end ? load_eight<kVectored>(many + (x + i) * s.manys)
                             : Vector<bf16, kEight>{};
        add_pixels(sum, m, band + row * pitch + x, pitch);
      }
    }
    __syncthreads();
  }

  // Over the rows and parts of the warp, then over the warps.
  constexpr int kCount = kTaps * kEight;
  auto& sums = shared_memory<Sums<kCount>>();
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    float x = sum[i / kEight][i % kEight];
#pragma unroll
    for (int apart = kChunks; apart < kWarp; apart *= 2) x += __shfl_xor_sync(kFullMask, x, apart);
    if (t % kWarp < kChunks) sums.of_warp[t / kWarp][chunk][i] = x;
  }
  __syncthreads();
  const int64_t size = int64_t{kTaps} * s.fews * s.manys;
  for (int i = t; i < kChunks * kCount; i += kThreads) {
    const int c = (static_cast<int>(blockIdx.y) * kChunks + i / kCount) * kEight + i % kEight;
    if (c >= s.manys) continue;
    float x = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) x += sums.of_warp[warp][i / kCount][i % kCount];
    // The pixel around that comes first has, of the few as dy, the last tap.
    const int around = i % kCount / kEight;
    const int64_t at = s.first ? (int64_t{c} * kTaps + around) * s.fews + few
                               : (int64_t{few} * kTaps + kTaps - 1 - around) * s.manys + c;
    s.out[blockIdx.x * size + at] = x;
  }
}

void sum_products(const ConvShape& s, const float* few, const bf16* many, bool first,
                  float* dweight, Stream stream) {
  const int64_t bands = ceil_div(s.h, kBand), tasks = s.n * bands, size = s.k * kTaps * s.c0;
  constexpr int64_t kLimit = int64_t{1} << 31;  // what is counted in 32 bits
  require(
      tasks < kLimit && s.h * s.w * (first ? s.c0 : s.k) < kLimit && s.w * (s.c0 + s.k) < kLimit,
      "conv2d_backward_weight: {} images of {}x{}, {} -> {} channels, are too large", s.n, s.h, s.w,
      s.c0, s.k);
  const int64_t blocks = ceil_div(tasks, ceil_div(tasks, kBlocksMost));
  float* const partials = blocks == 1
                              ? dweight
                              : static_cast<float*>(workspace(
                                    static_cast<size_t>(blocks * size) * sizeof(float), stream));
  const Sides sides{.few = few,
                    .many = many,
                    .h = static_cast<int>(s.h),
                    .w = static_cast<int>(s.w),
                    .fews = static_cast<int>(first ? s.c0 : s.k),
                    .manys = static_cast<int>(first ? s.k : s.c0),
                    .bands = static_cast<int>(bands),
                    .tasks = static_cast<int>(tasks),
                    .first = first,
                    .out = partials};
  const dim3 grid(static_cast<unsigned>(blocks),
                  static_cast<unsigned>(ceil_div(sides.manys, kChunks * kEight)),
                  static_cast<unsigned>(sides.fews));
  const size_t band = static_cast<size_t>(sides.pitch()) * (kBand + 2) * sizeof(float);
  const size_t shared = std::max(band, sizeof(Sums<kTaps * kEight>));
  if (aligned16(many))
    launch<conv2d_backward_weight_few_kernel<true>>(grid, kThreads, shared, stream, sides);
  else
    launch<conv2d_backward_weight_few_kernel<false>>(grid, kThreads, shared, stream, sides);
  if (blocks > 1)
    sum_slices<float>(partials, static_cast<int>(blocks), s.k, size / s.k, nullptr, nullptr,
                      dweight, size / s.k, stream);
}

template <class T, class X>
void sum_dy(const BasicConv2dBackwardWeightArgs<T, X>& args, Stream stream) {
  const ConvShape& s = args.shape;
  if (args.dbias)
    column_sum(BasicColumnSumArgs<T>{s.n * s.h * s.w, s.k, args.dy, args.dbias}, stream);
}

}  // namespace

void conv2d_backward_weight_f32_bf16(const BasicConv2dBackwardWeightArgs<float, bf16>& args,
                                     Stream stream) {
  sum_products(args.shape, args.dy, args.x0, /*first=*/false, args.dweight, stream);
  sum_dy(args, stream);
}
void conv2d_backward_weight_bf16_f32(const BasicConv2dBackwardWeightArgs<bf16, float>& args,
                                     Stream stream) {
  sum_products(args.shape, args.x0, args.dy, /*first=*/true, args.dweight, stream);
  sum_dy(args, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
