// Matrix products, and the column sum of a bias gradient.
//
// The product runs on the register-tiled leaf that the convolutions use (conv2d_leaf_product.h): b
// is packed into panels of 16 columns (a transposition when b is [n, k], as weights of linear
// layers are), and tasks are blocks of rows and columns of c. Each element of c is summed over k in
// the same order whatever the tiling, so results depend neither on threads nor on the number of
// rows (the batch). A BLAS would promise neither; OpenBLAS moreover falls back to its slowest
// kernels on processors newer than itself, where this product was six times as fast.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/conv2d_leaves.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {
namespace {

constexpr int64_t kChunkRows = 64;                     // of column_sum
constexpr int64_t kTaskRows = 56, kTaskColumns = 256;  // of c: 4 x 14 rows, 8 pairs of panels
constexpr int64_t kDepth = 512;                        // of k: two panels of that depth take 64 KiB

using Float4 = float __attribute__((vector_size(16), aligned(4)));

// Four rows of four become four columns.
inline void transpose4(const float* x, int64_t stride, float* y) {
  const auto load = [&](int64_t row) { return *reinterpret_cast<const Float4*>(x + row * stride); };
  const Float4 a = load(0), b = load(1), c = load(2), d = load(3);
  const Float4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Float4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Float4 ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Float4 cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const auto store = [&](int64_t row, Float4 v) {
    *reinterpret_cast<Float4*>(y + row * kLanesMax) = v;
  };
  store(0, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
  store(1, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
  store(2, __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5));
  store(3, __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7));
}

// Columns [16 panel, 16 panel + 16) of opB(b), zeros past the last: panel[l][j].
void pack_panel(const MatmulArgs& args, int64_t first, float* panel) {
  const int64_t count = std::min(kLanesMax, args.n - first);
  if (count < kLanesMax)
    std::memset(panel, 0, static_cast<size_t>(args.k * kLanesMax) * sizeof(float));
  if (!args.transpose_b) {
    for (int64_t l = 0; l < args.k; ++l)
      std::copy_n(args.b + l * args.ldb + first, count, panel + l * kLanesMax);
    return;
  }
  const float* b = args.b + first * args.ldb;
  int64_t j = 0;
  for (; j + 4 <= count; j += 4) {
    int64_t l = 0;
    for (; l + 4 <= args.k; l += 4)
      transpose4(b + j * args.ldb + l, args.ldb, panel + l * kLanesMax + j);
    for (; l < args.k; ++l)
      for (int64_t i = j; i < j + 4; ++i) panel[l * kLanesMax + i] = b[i * args.ldb + l];
  }
  for (; j < count; ++j)
    for (int64_t l = 0; l < args.k; ++l) panel[l * kLanesMax + j] = b[j * args.ldb + l];
}

// The block of c at (row, column), slice after slice of k: the first one starts from bias and
// residual, the others from c itself.
void multiply_block(const MatmulArgs& args, const float* panels, int64_t row, int64_t column) {
  const auto& product = *leaves(chosen_isa()).product;
  const int64_t at = row * args.ldc + column;
  for (int64_t l = 0; l < std::max<int64_t>(1, args.k); l += kDepth) {
    Product p{};
    p.a = args.transpose_a ? args.a + l * args.lda + row : args.a + row * args.lda + l;
    p.a_row = args.transpose_a ? 1 : args.lda;
    p.a_step = args.transpose_a ? args.lda : 1;
    p.b = panels + column * args.k + l * kLanesMax;
    p.b_panel = args.k * kLanesMax;
    p.b_row = kLanesMax;
    p.taps = 1;
    p.length = std::min(kDepth, args.k - l);
    p.rows = std::min(kTaskRows, args.m - row);
    p.columns = std::min(kTaskColumns, args.n - column);
    p.out = args.c + at;
    p.out_row = args.ldc;
    p.bias = l == 0 && args.bias ? args.bias + column : nullptr;
    p.residual = l > 0 ? p.out : args.residual ? args.residual + at : nullptr;
    product(p);
  }
}

DIFFSCM_INLINE void sum_rows_leaf(int64_t rows, int64_t columns, const float* x, float* y) {
  for (int64_t i = 0; i < columns; ++i) y[i] = 0.0f;
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * columns;
#pragma GCC ivdep
    for (int64_t i = 0; i < columns; ++i) y[i] += row[i];
  }
}
constexpr Clones<sum_rows_leaf> sum_rows;

}  // namespace

void matmul(const MatmulArgs& args, Stream) {
  const int64_t m = args.m, n = args.n, k = args.k;
  if (m * n == 0) return;

  thread_local Scratch<float> scratch;
  const int64_t panel_count = (n + kLanesMax - 1) / kLanesMax;
  float* panels = scratch.get((panel_count + 1) * kLanesMax * k);
  parallel_tasks(panel_count, n * k, [&](int64_t panel) {
    pack_panel(args, panel * kLanesMax, panels + panel * kLanesMax * k);
  });
  const int64_t row_tasks = (m + kTaskRows - 1) / kTaskRows;
  const int64_t column_tasks = (n + kTaskColumns - 1) / kTaskColumns;
  parallel_tasks(row_tasks * column_tasks, m * n * k / 8, [&](int64_t task) {
    multiply_block(args, panels, task / column_tasks * kTaskRows,
                   task % column_tasks * kTaskColumns);
  });
}

// Chunks of rows are summed on their own and the chunks then in order, so that many rows lose less
// to rounding than in one long sum and threads can share them without changing the result.
void column_sum(const ColumnSumArgs& args, Stream) {
  if (args.columns == 0) return;
  const int64_t chunks = (args.rows + kChunkRows - 1) / kChunkRows;
  if (chunks <= 1) return sum_rows(args.rows, args.columns, args.x, args.y);
  thread_local Scratch<float> scratch;
  float* partial = scratch.get(chunks * args.columns);
  parallel_tasks(chunks, args.rows * args.columns, [&](int64_t chunk) {
    const int64_t row = chunk * kChunkRows;
    sum_rows(std::min(kChunkRows, args.rows - row), args.columns, args.x + row * args.columns,
             partial + chunk * args.columns);
  });
  sum_rows(chunks, args.columns, partial, args.y);
}

}  // namespace diffscm::kernels::cpu
