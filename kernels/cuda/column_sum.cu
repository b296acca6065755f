// Column sums: y[c] = sum_r x[r, c], the bias gradient of linear layers and convolutions.
//
// Nothing is computed twice and nothing is reused, so the only aim is to stream x at the speed of
// memory. A block takes a group of columns and a slice of rows. Its threads form a grid: along x
// each holds one 16-byte vector of columns, along y they share the slice's rows; a thread walks
// down with four rows in flight. The threads of one vector are then added as a tree in shared
// memory. The slices' sums are a small matrix of their own, whose columns the same kernel sums.
// Slices follow from the shape alone and every sum has its fixed order: bit-reproducible.
#include <algorithm>

#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kFlight = 4;                 // rows a thread reads at once
constexpr int64_t kRowsPerThreadMin = 16;  // below that a slice costs more than it brings
constexpr int64_t kBlocksWanted = 1024;

template <int kWidth>
struct Sums {
  float at[kThreads][kWidth];
};

// y [slices, columns]; kWidth columns per thread, blockDim.x vectors of columns per block.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads)
    sum_columns(int64_t rows, int64_t columns, int64_t slice_rows, const T* x, float* y) {
  follow_previous_kernel();
  auto& shared = shared_memory<Sums<kWidth>>();
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kWidth;
  const int64_t begin = blockIdx.y * slice_rows;
  const int64_t end = begin + slice_rows < rows ? begin + slice_rows : rows;
  const auto apart = static_cast<int64_t>(blockDim.y);

  float sum[kWidth] = {};
  if (column < columns) {
    int64_t row = begin + threadIdx.y;
    for (; row + (kFlight - 1) * apart < end; row += kFlight * apart) {
      Vector<T, kWidth> v[kFlight];
#pragma unroll
      for (int i = 0; i < kFlight; ++i)
        v[i] = load<kWidth>(x + (row + i * apart) * columns + column);
#pragma unroll
      for (int i = 0; i < kFlight; ++i)
#pragma unroll
        for (int j = 0; j < kWidth; ++j) sum[j] += to_float(v[i][j]);
    }
    for (; row < end; row += apart) {
      const auto v = load<kWidth>(x + row * columns + column);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) sum[j] += to_float(v[j]);
    }
  }

  float(&mine)[kWidth] = shared.at[threadIdx.y * blockDim.x + threadIdx.x];
#pragma unroll
  for (int j = 0; j < kWidth; ++j) mine[j] = sum[j];
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) {
      const float(&other)[kWidth] = shared.at[(threadIdx.y + half) * blockDim.x + threadIdx.x];
#pragma unroll
      for (int j = 0; j < kWidth; ++j) mine[j] += other[j];
    }
  }
  if (threadIdx.y == 0 && column < columns) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) y[blockIdx.y * columns + column + j] = mine[j];
  }
}

// How rows and columns are dealt to blocks.
struct Plan {
  int64_t vectors;  // of columns, per row
  unsigned along_x, along_y;
  int64_t slices, slice_rows;

  Plan(int64_t rows, int64_t columns, int width) : vectors(columns / width) {
    along_x = 1;
    while (along_x < 32 && along_x < vectors) along_x *= 2;
    along_y = kThreads / along_x;
    const int64_t wanted = ceil_div(kBlocksWanted, ceil_div(vectors, along_x));
    const int64_t useful = rows / (along_y * kRowsPerThreadMin);
    slices = std::clamp<int64_t>(useful, 1, wanted);
    slice_rows = ceil_div(std::max<int64_t>(rows, 1), slices);
    slices = ceil_div(std::max<int64_t>(rows, 1), slice_rows);
  }
};

template <int kWidth, class T>
void run(const Plan& plan, int64_t rows, int64_t columns, const T* x, float* y, Stream stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(plan.vectors, plan.along_x)),
                  static_cast<unsigned>(plan.slices));
  launch<sum_columns<kWidth, T>>(grid, dim3(plan.along_x, plan.along_y), sizeof(Sums<kWidth>),
                                 stream, rows, columns, plan.slice_rows, x, y);
}

template <int kWidth, class T>
void sum(int64_t rows, int64_t columns, const T* x, float* y, Stream stream) {
  const Plan plan(rows, columns, kWidth);
  if (plan.slices == 1) return run<kWidth>(plan, rows, columns, x, y, stream);
  auto* partials = static_cast<float*>(workspace(plan.slices * columns * sizeof(float), stream));
  run<kWidth>(plan, rows, columns, x, partials, stream);
  Plan last(plan.slices, columns, 1);
  last.slices = 1;
  last.slice_rows = plan.slices;
  run<1>(last, plan.slices, columns, static_cast<const float*>(partials), y, stream);
}

}  // namespace

template <class T>
void column_sum(const BasicColumnSumArgs<T>& args, Stream stream) {
  if (args.columns == 0) return;
  if (aligned16(args.x) && args.columns % kVector<T> == 0)
    sum<kVector<T>>(args.rows, args.columns, args.x, args.y, stream);
  else
    sum<1>(args.rows, args.columns, args.x, args.y, stream);
}
template void column_sum(const BasicColumnSumArgs<float>&, Stream);
template void column_sum(const BasicColumnSumArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
